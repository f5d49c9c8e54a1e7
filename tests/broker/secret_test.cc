#include "broker/secret.h"

#include "broker/keys.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <new>
#include <ostream>
#include <type_traits>

namespace mintfs::broker {
namespace {

template <class T>
concept Printable = requires(std::ostream& out, const T& value) { out << value; };

static_assert(!std::is_copy_constructible_v<Secret>);
static_assert(!std::is_copy_assignable_v<Secret>);
static_assert(!std::is_convertible_v<Secret, std::string_view>);
static_assert(!Printable<Secret>);

TEST(Secret, HoldsItsContentAndGivesItWithItsOwner) {
  Secret first("hunter2");
  EXPECT_EQ(first.reveal(), "hunter2");
  Secret second = std::move(first);
  EXPECT_EQ(second.reveal(), "hunter2");
  EXPECT_TRUE(first.empty());
  EXPECT_EQ(second.clone().reveal(), "hunter2");
}

TEST(Secret, IsComparedAsAWhole) {
  const Secret secret("hunter2");
  EXPECT_TRUE(secret.equals("hunter2"));
  for (const std::string_view other : {"", "hunter", "hunter22", "hunter3", "Hunter2"})
    EXPECT_FALSE(secret.equals(other)) << other;
  EXPECT_TRUE(Secret().equals(""));
}

TEST(Secret, AssignmentLeavesTheNewContentOnly) {
  Secret secret("old");
  secret = Secret("new one");
  EXPECT_EQ(secret.reveal(), "new one");
  Secret& same = secret;
  secret = std::move(same);
  EXPECT_EQ(secret.reveal(), "new one");
}

TEST(Secret, IsWipedFromAllMemoryThatWasHandedToIt) {
  std::string bytes = "canary";
  wipe(bytes);
  EXPECT_EQ(bytes, std::string(6, '\0'));
}

TEST(Secret, LeavesAKeyWipedWhereItStood) {
  alignas(LeaseKey) std::array<char, sizeof(LeaseKey)> place{};
  auto* key = new (place.data()) LeaseKey;
  std::fill(key->bytes().begin(), key->bytes().end(), 'k');
  const auto look = [&] { asm volatile("" : : "r"(place.data()) : "memory"); };  // else both are dead stores
  look();
  key->~LeaseKey();
  look();
  EXPECT_TRUE(std::all_of(place.begin(), place.end(), [](char c) { return c == '\0'; }));
}

}  // namespace
}  // namespace mintfs::broker
