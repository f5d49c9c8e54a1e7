#include "kube/strangers.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <utility>

namespace mintfs::kube {
namespace {

std::string digest_of(const broker::Secret& bearer) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  EVP_Digest(bearer.reveal().data(), bearer.size(), digest.data(), &size, EVP_sha256(), nullptr);
  return {digest.data(), digest.data() + size};
}

}  // namespace

Strangers::Strangers(Settings settings)
    : settings_(std::move(settings)), in_all_{.count = settings_.in_all.at_once, .when = settings_.now()} {}

Strangers::Left Strangers::refilled(const Left& left, const Bound& bound, Monotonic now) {
  const std::chrono::duration<double> since = now - left.when;
  return {.count = std::min(left.count + since.count() * bound.each_second, bound.at_once), .when = now};
}

// Null: there are too many.
Strangers::Left* Strangers::left_of(const std::string& address, Monotonic now) {
  if (of_address_.size() >= kMostAddresses && !of_address_.contains(address)) {
    std::erase_if(of_address_, [&](const auto& each) {
      return refilled(each.second, settings_.of_address, now).count == settings_.of_address.at_once;
    });
    if (of_address_.size() >= kMostAddresses) return nullptr;
  }
  return &of_address_.try_emplace(address, Left{.count = settings_.of_address.at_once, .when = now}).first->second;
}

std::optional<Strangers::Question> Strangers::ask(const broker::Secret& bearer, const std::string& address) {
  Question question{.digest = digest_of(bearer), .address = address, .counted = false};
  if (known_.contains(question.digest) || known_before_.contains(question.digest)) return question;
  const Monotonic now = settings_.now();
  Left* const own = left_of(address, now);
  in_all_ = refilled(in_all_, settings_.in_all, now);
  if (own != nullptr) *own = refilled(*own, settings_.of_address, now);
  if (in_all_.count < 1 || (own != nullptr && own->count < 1)) return std::nullopt;
  --in_all_.count;
  if (own != nullptr) --own->count;
  question.counted = true;
  return question;
}

void Strangers::is_node(const Question& question) {
  if (known_.size() >= kMostKnown / 2) known_before_ = std::exchange(known_, {});
  known_.insert(question.digest);
  if (!question.counted) return;
  in_all_.count = std::min(in_all_.count + 1, settings_.in_all.at_once);
  const auto own = of_address_.find(question.address);
  if (own != of_address_.end()) own->second.count = std::min(own->second.count + 1, settings_.of_address.at_once);
}

void Strangers::is_nobody(const Question& question) {
  known_.erase(question.digest);
  known_before_.erase(question.digest);
}

}  // namespace mintfs::kube
