#include "broker/secret.h"

#include <openssl/crypto.h>

#include <cstring>
#include <utility>

namespace mintfs::broker {

void wipe(std::span<char> bytes) noexcept {
  if (!bytes.empty()) OPENSSL_cleanse(bytes.data(), bytes.size());
}

Secret::Secret(std::string_view bytes) : Secret(bytes.size()) {
  if (!bytes.empty()) std::memcpy(data_.get(), bytes.data(), bytes.size());
}

Secret::Secret(std::size_t size) : data_(size == 0 ? nullptr : new char[size]), size_(size) {}

Secret::~Secret() { wipe(bytes()); }

Secret::Secret(Secret&& other) noexcept : data_(std::move(other.data_)), size_(std::exchange(other.size_, 0)) {}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    wipe(bytes());
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

bool Secret::equals(std::string_view other) const noexcept {
  return other.size() == size_ && CRYPTO_memcmp(other.data(), data_.get(), size_) == 0;
}

}  // namespace mintfs::broker
