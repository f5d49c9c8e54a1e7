#include "fs/handles.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mintfs::fs {
namespace {

TEST(Handles, KeepTheirBytesApart) {
  const auto state = SharedState::make();
  Handles handles(*state, 7);
  const auto first = handles.take(1000, 1, 4).value();
  const auto second = handles.take(1001, 2, 4).value();
  std::memcpy(handles.find(first)->content.data(), "aaaa", 4);
  std::memcpy(handles.find(second)->content.data(), "bbbb", 4);
  EXPECT_EQ(std::memcmp(handles.find(first)->content.data(), "aaaa", 4), 0);
  EXPECT_EQ(handles.find(second)->uid, 1001u);
  EXPECT_EQ(handles.find(second)->serial, 2u);
}

TEST(Handles, AreUnknownOnceReleased) {
  const auto state = SharedState::make();
  Handles handles(*state, 0);
  const auto old = handles.take(0, 1, 4).value();
  handles.release(old);
  EXPECT_FALSE(handles.find(old));
  const auto reused = handles.take(0, 1, 4).value();
  EXPECT_NE(reused, old) << "the slot is the same, the generation is not";
  EXPECT_FALSE(handles.find(old));
  handles.release(old);  // a second release must not close somebody else's
  EXPECT_TRUE(handles.find(reused));
  EXPECT_EQ(handles.size(), 1u);
}

TEST(Handles, WhoseStateWasLostAreUnknown) {
  const auto lost = SharedState::make(), state = SharedState::make();
  Handles earlier(*lost, 41), handles(*state, 42);
  const auto theirs = earlier.take(0, 1, 4).value();
  ASSERT_TRUE(handles.take(0, 1, 4));
  EXPECT_FALSE(handles.find(theirs));
  handles.release(theirs);
  EXPECT_EQ(handles.size(), 1u);
}

TEST(Handles, AreWipedWhenReleasedAndReuseTheirMemory) {
  const auto state = SharedState::make();
  Handles handles(*state, 0);
  const auto handle = handles.take(0, 1, 64).value();
  const auto content = handles.find(handle)->content;
  std::fill(content.begin(), content.end(), 'x');
  handles.release(handle);
  EXPECT_EQ(std::count(content.begin(), content.end(), 'x'), 0) << "the slot keeps its buffer, emptied";
  EXPECT_EQ(handles.find(handles.take(0, 1, 64).value())->content.data(), content.data());
}

TEST(Handles, AreBoundedInAll) {
  const auto state = SharedState::make();
  Handles handles(*state, 0);
  std::vector<std::uint64_t> open;
  for (std::size_t i = 0; i < Handles::kMaxHandles; ++i) open.push_back(handles.take(i % 8, 1, 1).value());
  EXPECT_EQ(handles.take(9, 1, 1).error(), std::errc::too_many_files_open_in_system);
  handles.release(open.back());
  EXPECT_TRUE(handles.take(9, 1, 1));
}

TEST(Handles, OfOneUserLeaveOthersTheirNumber) {
  const auto state = SharedState::make();
  Handles handles(*state, 0);
  std::vector<std::uint64_t> open;
  for (std::size_t i = 0; i < Handles::kMaxHandlesPerUser; ++i) open.push_back(handles.take(1000, 1, 1).value());
  EXPECT_EQ(handles.take(1000, 1, 1).error(), std::errc::too_many_files_open);
  EXPECT_TRUE(handles.take(1001, 2, 1));
  handles.release(open.front());
  EXPECT_TRUE(handles.take(1000, 1, 1));
}

TEST(Handles, KeepNothingOfAUserWhoHasNoneOpen) {
  const auto state = SharedState::make();
  Handles handles(*state, 0);
  for (uid_t uid = 1; uid <= 1000; ++uid) handles.release(handles.take(uid, 1, 1).value());
  EXPECT_EQ(handles.take(5000, 1, SharedState::kMaxView + 1).error(), std::errc::file_too_large);
  EXPECT_EQ(handles.users(), 0u);
  const auto first = handles.take(7, 1, 2).value();
  const auto second = handles.take(7, 1, 3).value();
  handles.release(first);
  EXPECT_EQ(handles.users(), 1u);
  handles.release(second);
  EXPECT_EQ(handles.users(), 0u);
}

TEST(Handles, OfOneUserLeaveRoomForOthers) {
  const auto state = SharedState::make();
  Handles handles(*state, 0);
  constexpr std::size_t big = SharedState::kMaxView;
  std::vector<std::uint64_t> open;
  for (std::size_t i = 0; i < Handles::kMaxBytesPerUser / big; ++i) open.push_back(handles.take(1000, 1, big).value());
  EXPECT_EQ(handles.take(1000, 1, 1).error(), std::errc::too_many_files_open);
  EXPECT_TRUE(handles.take(1001, 2, 1));
  handles.release(open.front());
  EXPECT_TRUE(handles.take(1000, 1, 1));
  for (uid_t uid = 2000; handles.bytes() + big <= Handles::kMaxBytes; ++uid) ASSERT_TRUE(handles.take(uid, 1, big));
  EXPECT_EQ(handles.take(3000, 1, big).error(), std::errc::too_many_files_open_in_system);
}

TEST(Handles, AreBoundedInSize) {
  const auto state = SharedState::make();
  Handles handles(*state, 0);
  EXPECT_EQ(handles.take(0, 1, SharedState::kMaxView + 1).error(), std::errc::file_too_large);
}

TEST(Handles, CountThoseOfALease) {
  const auto state = SharedState::make();
  Handles handles(*state, 0);
  const auto first = handles.take(0, 7, 4).value();
  handles.take(0, 7, 4).value();
  handles.take(0, 8, 4).value();
  EXPECT_EQ(handles.count_of(7), 2u);
  handles.release(first);
  EXPECT_EQ(handles.count_of(7), 1u);
  EXPECT_EQ(handles.count_of(9), 0u);
}

std::unique_ptr<SharedState> adopted(const SharedState& state) { return SharedState::adopt(dup(state.descriptor())); }

TEST(Handles, AreKnownToASuccessor) {
  const auto state = SharedState::make();
  std::uint64_t kept = 0, released = 0;
  {
    Handles handles(*state, 7);
    kept = handles.take(1000, 3, 5).value();
    std::memcpy(handles.find(kept)->content.data(), "token", 5);
    handles.commit(kept);
    released = handles.take(1000, 3, 5).value();
    handles.commit(released);
    handles.release(released);
  }
  const auto again = adopted(*state);
  ASSERT_TRUE(again);
  Handles successor(*again, 99);
  successor.reload();
  const auto found = successor.find(kept);
  ASSERT_TRUE(found);
  EXPECT_EQ(std::string_view(found->content.data(), found->content.size()), "token");
  EXPECT_EQ(found->uid, 1000u);
  EXPECT_EQ(successor.count_of(3), 1u);
  EXPECT_EQ(successor.bytes(), 5u);
  EXPECT_FALSE(successor.find(released));
  EXPECT_NE(successor.take(1000, 3, 5).value(), released) << "a number is not used again";
  successor.release(kept);
  EXPECT_FALSE(successor.find(kept));
}

TEST(Handles, ThatWereBeingFilledAreNotTakenOver) {
  const auto state = SharedState::make();
  std::uint64_t half = 0;
  {
    Handles handles(*state, 7);
    half = handles.take(1000, 3, 6).value();
    std::memcpy(handles.find(half)->content.data(), "secret", 6);
  }
  const auto again = adopted(*state);
  Handles successor(*again, 99);
  successor.reload();
  EXPECT_FALSE(successor.find(half));
  EXPECT_EQ(successor.size(), 0u);
  EXPECT_EQ(std::string_view(again->content(0), 6).find("secret"), std::string_view::npos);
}

TEST(Handles, OfADamagedStateAreNotTakenOver) {
  const auto state = SharedState::make();
  Handles handles(*state, 7);
  const auto handle = handles.take(1000, 3, 6).value();
  handles.commit(handle);
  state->handle(0).size = SharedState::kMaxView + 1;
  const auto again = adopted(*state);
  Handles successor(*again, 99);
  successor.reload();
  EXPECT_EQ(successor.size(), 0u);
}

TEST(Handles, OfABurstGiveTheirMemoryBack) {
  const auto state = SharedState::make();
  Handles handles(*state, 0);
  std::vector<std::uint64_t> open;
  for (int i = 0; i < 3000; ++i) {
    open.push_back(handles.take(0, 1, 4000).value());
    handles.find(open.back())->content[0] = 'x';
  }
  for (const auto handle : open) handles.release(handle);
  struct stat status {};
  ASSERT_EQ(fstat(state->descriptor(), &status), 0);
  EXPECT_LT(status.st_blocks * 512, 8 << 20) << "what stays is for the next opens";
}

TEST(SharedState, IsOnlyTakenOverWhereTheLayoutIsKnown) {
  const auto state = SharedState::make();
  EXPECT_TRUE(adopted(*state));
  EXPECT_EQ(SharedState::adopt(open("/dev/null", O_RDWR | O_CLOEXEC)), nullptr);
  std::uint64_t other = ~std::uint64_t{0};
  ASSERT_EQ(pwrite(state->descriptor(), &other, sizeof other, kMaxInit), 8);
  EXPECT_EQ(adopted(*state), nullptr) << "another version's";
}

TEST(SharedState, CannotBeCutOffByWhoHoldsIt) {
  const auto state = SharedState::make();
  EXPECT_NE(ftruncate(state->descriptor(), 0), 0);
}

}  // namespace
}  // namespace mintfs::fs
