#include "broker/keys.h"

#include "broker/encoding.h"
#include "broker/state_file.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <new>
#include <stdexcept>

#include <sys/stat.h>

namespace mintfs::broker {
namespace {

constexpr std::size_t kMasterSize = 32;
constexpr std::size_t kMaxLine = 10 + 1 + 20 + 1 + 2 * kMasterSize + 1;

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Mac = std::unique_ptr<EVP_MAC, Deleter<EVP_MAC_free>>;
using MacContext = std::unique_ptr<EVP_MAC_CTX, Deleter<EVP_MAC_CTX_free>>;
using Kdf = std::unique_ptr<EVP_KDF, Deleter<EVP_KDF_free>>;
using KdfContext = std::unique_ptr<EVP_KDF_CTX, Deleter<EVP_KDF_CTX_free>>;

void random_bytes(std::span<char> out) {
  if (RAND_bytes(reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(out.size())) != 1)
    throw std::runtime_error("the system gives no random bytes");
}

Secret random_key() {
  Secret key(kMasterSize);
  random_bytes(key.bytes());
  return key;
}

std::int64_t seconds(Time time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

template <class Number>
bool read_number(std::string_view text, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

std::string_view take_word(std::string_view& line) {
  const std::size_t space = line.find(' ');
  const std::string_view word = line.substr(0, space);
  line.remove_prefix(space == std::string_view::npos ? line.size() : space + 1);
  return word;
}

}  // namespace

MasterKeys::MasterKeys(const std::filesystem::path& state_dir, const Clock& clock, std::chrono::seconds wait)
    : file_(state_dir / "master-keys"), clock_(&clock), wait_(wait) {
  std::error_code error;
  const bool present = std::filesystem::exists(file_, error);
  // Only a file that is surely not there is made: a new key ends all leases.
  if (error)
    throw std::runtime_error("cannot look for the master keys in " + file_.string() + ": " + error.message() +
                             "; correct daemon.state_dir or the permissions");
  Masters masters;
  if (present) read_ = FileVersion::of(file_);
  if (present) {
    masters = read(file_);
  } else {
    if (std::filesystem::create_directories(state_dir, error))
      std::filesystem::permissions(state_dir, std::filesystem::perms::owner_all, error);
    if (error)
      throw std::runtime_error("cannot make the directory " + state_dir.string() + ": " + error.message() +
                               "; correct daemon.state_dir");
    masters.push_back({1, seconds(clock.now()), random_key()});
    store(masters);
  }
  for (Master& master : masters) master.signs_from = master.created + wait_.count();
  masters_.lock()->swap(masters);
}

MasterKeys::Masters MasterKeys::read(const std::filesystem::path& file) {
  Masters masters;
  const Secret content = read_secret_file(file);
  std::string_view rest = content.reveal();
  while (!rest.empty()) {
    const std::size_t newline = rest.find('\n');
    std::string_view line = rest.substr(0, newline);
    rest.remove_prefix(newline == std::string_view::npos ? rest.size() : newline + 1);
    Master master{};
    const bool numbers = read_number(take_word(line), master.kid) && read_number(take_word(line), master.created);
    if (auto key = hex_decode(line)) {
      master.key = Secret(*key);
      wipe(*key);
    }
    if (!numbers || master.key.size() != kMasterSize || master.kid <= (masters.empty() ? 0 : masters.back().kid))
      throw std::runtime_error("the master keys in " + file.string() +
                               " are damaged; restore the file, or remove it (all tokens end then)");
    masters.push_back(std::move(master));
  }
  return masters;
}

bool MasterKeys::refresh() {
  const auto version = FileVersion::of(file_);
  if (version == read_) return false;
  read_ = version;
  Masters masters = read(file_);
  auto known = masters_.lock();
  for (Master& master : masters) {
    const auto same = [&](const Master& each) { return each.kid == master.kid; };
    const auto former = std::find_if(known->begin(), known->end(), same);
    // Its line may name any time; that others have seen it as well, ours alone tells.
    master.signs_from = former != known->end() ? former->signs_from : seconds(clock_->now()) + wait_.count();
  }
  known->swap(masters);
  return true;
}

std::uint32_t MasterKeys::current() const {
  const std::int64_t now = clock_ == nullptr ? 0 : seconds(clock_->now());
  auto masters = masters_.lock();
  if (masters->empty()) return 0;
  const auto newest =
      std::find_if(masters->rbegin(), masters->rend(), [&](const Master& m) { return m.signs_from <= now; });
  return newest == masters->rend() ? masters->front().kid : newest->kid;
}

std::optional<LeaseKey> MasterKeys::derive(std::uint32_t kid, std::string_view lease_id) const {
  auto masters = masters_.lock();
  const auto master = std::find_if(masters->begin(), masters->end(), [kid](const auto& m) { return m.kid == kid; });
  if (master == masters->end()) return std::nullopt;
  const Kdf kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
  const KdfContext context(EVP_KDF_CTX_new(kdf.get()));
  std::string info = "mintfs lease ";
  info += lease_id;
  char digest[] = "SHA256";
  const std::string_view key = master->key.reveal();
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, const_cast<char*>(key.data()), key.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info.data(), info.size()),
      OSSL_PARAM_construct_end(),
  };
  LeaseKey derived;
  if (!context || EVP_KDF_derive(context.get(), reinterpret_cast<unsigned char*>(derived.bytes().data()),
                                 derived.bytes().size(), parameters) != 1)
    throw std::runtime_error("OpenSSL cannot derive keys (HKDF-SHA256)");
  return derived;
}

bool MasterKeys::rotate(Time now, std::chrono::seconds period, std::chrono::seconds overlap) {
  const std::int64_t at = seconds(now);
  Masters next;
  {
    auto masters = masters_.lock();
    if (masters->empty()) return false;
    if (at - masters->back().created < period.count()) return false;
    for (auto each = masters->begin(); each != masters->end(); ++each) {
      // A version signs until the next one is made; after that its leases live for `overlap` at most.
      const auto successor = each + 1;
      if (successor != masters->end() && at - successor->created > overlap.count()) continue;
      next.push_back({each->kid, each->created, each->key.clone(), each->signs_from});
    }
  }
  next.push_back({next.back().kid + 1, at, random_key()});
  store(next);
  masters_.lock()->swap(next);
  return true;
}

void MasterKeys::store(const Masters& masters) const {
  // Room for all at once: growing would leave copies of keys in freed memory.
  Secret room(masters.size() * kMaxLine);
  std::size_t size = 0;
  const auto append = [&](std::string_view text) { size += text.copy(room.bytes().data() + size, text.size()); };
  for (const auto& master : masters) {
    std::string hex = hex_encode(master.key.reveal());
    append(std::to_string(master.kid) + " " + std::to_string(master.created) + " ");
    append(hex);
    append("\n");
    wipe(hex);
  }
  try {
    write_file_atomically(file_, room.reveal().substr(0, size), 0600, true);
  } catch (const std::exception& error) {
    throw std::runtime_error(std::string(error.what()) + "; the master key needs a writable state_dir with room");
  }
}

struct Signer::Context {
  MacContext mac;
  Digest key{};
  bool keyed = false;

  ~Context() { wipe(key); }
};

Signer::Signer() : context_(std::make_unique<Context>()) {
  const Mac mac(EVP_MAC_fetch(nullptr, "HMAC", nullptr));
  context_->mac.reset(mac ? EVP_MAC_CTX_new(mac.get()) : nullptr);
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                   OSSL_PARAM_construct_end()};
  if (!context_->mac || EVP_MAC_CTX_set_params(context_->mac.get(), parameters) != 1)
    throw std::runtime_error("OpenSSL cannot sign (HMAC-SHA256)");
}

Signer::~Signer() = default;

Digest Signer::sign(const LeaseKey& key, std::string_view message) {
  Context& context = *context_;
  const std::string_view bytes = key.reveal();
  // The same key as last time needs no new key schedule; a busy lease asks many times in a row.
  const bool same = context.keyed && CRYPTO_memcmp(bytes.data(), context.key.data(), bytes.size()) == 0;
  context.keyed = same;  // until the new key is in place there is none
  Digest digest;
  std::size_t size = 0;
  const int keyed = same ? EVP_MAC_init(context.mac.get(), nullptr, 0, nullptr)
                         : EVP_MAC_init(context.mac.get(), reinterpret_cast<const unsigned char*>(bytes.data()),
                                        bytes.size(), nullptr);
  if (keyed != 1 ||
      EVP_MAC_update(context.mac.get(), reinterpret_cast<const unsigned char*>(message.data()), message.size()) != 1 ||
      EVP_MAC_final(context.mac.get(), reinterpret_cast<unsigned char*>(digest.data()), &size, digest.size()) != 1)
    throw std::bad_alloc();  // the only way these fail once the context exists
  if (!same) {
    std::memcpy(context.key.data(), bytes.data(), bytes.size());
    context.keyed = true;
  }
  return digest;
}

void Random::fill(std::span<char> out) {
  if (out.size() > block_.size()) return random_bytes(out);
  if (out.size() > left_) {
    random_bytes(block_);
    left_ = block_.size();
  }
  const auto from = block_.end() - static_cast<std::ptrdiff_t>(left_);
  std::copy_n(from, out.size(), out.begin());
  std::fill_n(from, out.size(), '\0');
  left_ -= out.size();
}

}  // namespace mintfs::broker
