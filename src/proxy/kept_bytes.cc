#include "proxy/kept_bytes.h"

namespace mintfs::proxy {

bool KeptBytes::Share::grow(uid_t user, std::size_t size) {
  if (user != user_) release();
  user_ = user;
  if (size <= size_) return true;
  const std::size_t more = size - size_;
  auto counts = all_.counts_.lock();
  const auto found = counts->by_user.find(user);
  const std::size_t of_user = found == counts->by_user.end() ? 0 : found->second;
  if (counts->total + more > kMost || of_user + more > kMostPerUser) return false;
  counts->total += more;
  counts->by_user[user] = of_user + more;
  size_ = size;
  return true;
}

void KeptBytes::Share::release() {
  if (size_ == 0) return;
  auto counts = all_.counts_.lock();
  counts->total -= size_;
  const auto found = counts->by_user.find(user_);
  if ((found->second -= size_) == 0) counts->by_user.erase(found);
  size_ = 0;
}

}  // namespace mintfs::proxy
