#include "fs/handles.h"

#include "broker/secret.h"

#include <algorithm>
#include <atomic>

namespace mintfs::fs {
namespace {

// What a released slot keeps for the next open; the rest of a burst is given back.
constexpr std::uint32_t kWarmSlots = 1024;
constexpr std::size_t kWarmBytes = 8 * 1024;

using Use = SharedState::Use;

constexpr std::uint64_t join(std::uint32_t generation, std::uint32_t index) {
  return std::uint64_t{generation} << 32 | index;
}

// After all that was written before, also for who looks at it after this process was killed.
void set_use(SharedState::Handle& slot, Use use) { std::atomic_ref(slot.use).store(use, std::memory_order_release); }

}  // namespace

void Handles::reload() {
  forget_counts();
  for (std::uint32_t index = 0; index < state_.used(); ++index) {
    const auto& slot = state_.handle(index);
    if (slot.use == Use::open && slot.size <= SharedState::kMaxView) {
      count(slot);
    } else {
      free(index);
    }
  }
}

void Handles::count(const SharedState::Handle& slot) {
  ++open_;
  bytes_ += slot.size;
  auto& user = of_user_[slot.uid];
  ++user.handles;
  user.bytes += slot.size;
  ++of_lease_[slot.serial];
}

Answer<std::uint64_t> Handles::take(uid_t uid, std::uint64_t serial, std::size_t size) {
  if (size > SharedState::kMaxView) return std::errc::file_too_large;
  if (open_ >= kMaxHandles || bytes_ + size > kMaxBytes) return std::errc::too_many_files_open_in_system;
  if (const auto user = of_user_.find(uid); user != of_user_.end() && (user->second.handles >= kMaxHandlesPerUser ||
                                                                       user->second.bytes + size > kMaxBytesPerUser))
    return std::errc::too_many_files_open;
  if (free_.empty()) {
    const std::uint32_t index = state_.used();
    state_.handle(index).generation = first_generation_;
    state_.set_used(index + 1);
    free_.push_back(index);
  }
  const std::uint32_t index = free_.back();
  free_.pop_back();
  auto& slot = state_.handle(index);
  slot.uid = uid;
  slot.serial = serial;
  slot.size = static_cast<std::uint32_t>(size);
  set_use(slot, Use::filling);
  count(slot);
  return join(slot.generation, index);
}

void Handles::commit(std::uint64_t handle) {
  if (is_open(handle)) set_use(state_.handle(static_cast<std::uint32_t>(handle)), Use::open);
}

bool Handles::is_open(std::uint64_t handle) const {
  const auto index = static_cast<std::uint32_t>(handle);
  if (index >= state_.used()) return false;
  const auto& slot = state_.handle(index);
  return slot.use != Use::free && slot.generation == handle >> 32;
}

std::optional<Handles::Handle> Handles::find(std::uint64_t handle) {
  if (!is_open(handle)) return std::nullopt;
  const auto index = static_cast<std::uint32_t>(handle);
  const auto& slot = state_.handle(index);
  return Handle{slot.uid, slot.serial, {state_.content(index), slot.size}};
}

void Handles::release(std::uint64_t handle) {
  if (!is_open(handle)) return;
  const auto index = static_cast<std::uint32_t>(handle);
  const auto& slot = state_.handle(index);
  --open_;
  bytes_ -= slot.size;
  if (const auto user = of_user_.find(slot.uid); --user->second.handles == 0)
    of_user_.erase(user);
  else
    user->second.bytes -= slot.size;
  if (const auto of = of_lease_.find(slot.serial); --of->second == 0) of_lease_.erase(of);
  free(index);
}

void Handles::free(std::uint32_t index) {
  auto& slot = state_.handle(index);
  const std::size_t size = std::min<std::size_t>(slot.size, SharedState::kMaxView);
  if (slot.use != Use::free) broker::wipe({state_.content(index), size});
  if (slot.use != Use::free && (index >= kWarmSlots || size > kWarmBytes)) state_.discard(index);
  slot.size = 0;
  ++slot.generation;
  set_use(slot, Use::free);
  free_.push_back(index);
}

void Handles::clear() {
  forget_counts();
  for (std::uint32_t index = 0; index < state_.used(); ++index) free(index);
}

void Handles::forget_counts() {
  free_.clear();
  open_ = bytes_ = 0;
  of_user_.clear();
  of_lease_.clear();
}

std::uint32_t Handles::count_of(std::uint64_t serial) const {
  const auto found = of_lease_.find(serial);
  return found == of_lease_.end() ? 0 : found->second;
}

}  // namespace mintfs::fs
