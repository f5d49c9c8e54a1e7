#include "broker/error.h"

#include <gtest/gtest.h>

#include <cctype>
#include <set>
#include <string>

namespace mintfs::broker {
namespace {

// The last enumerator; this test walks all before it.
constexpr int kLast = static_cast<int>(Errc::internal);

TEST(Error, HasOneReasonWordAndOneSentenceForEachCode) {
  std::set<std::string> words;
  for (int value = 1; value <= kLast; ++value) {
    const auto code = static_cast<Errc>(value);
    const std::string word(reason_word(code));
    EXPECT_TRUE(words.insert(word).second) << word << " stands for two codes";
    EXPECT_EQ(word.find_first_not_of("abcdefghijklmnopqrstuvwxyz-"), std::string::npos) << word;
    EXPECT_TRUE(advice(code).ends_with('.')) << word;
    EXPECT_TRUE(std::isupper(static_cast<unsigned char>(advice(code).front()))) << word;
  }
}

TEST(Error, TravelsThroughAnErrorCodeAndBack) {
  for (int value = 1; value <= kLast; ++value) {
    const boost::system::error_code error = static_cast<Errc>(value);
    EXPECT_TRUE(error.failed());
    EXPECT_EQ(static_cast<int>(to_errc(error)), value);
    EXPECT_EQ(error.message(), advice(static_cast<Errc>(value)));
  }
}

TEST(Error, OfAnotherCategoryIsInternal) {
  const auto foreign = make_error_code(boost::system::errc::no_space_on_device);
  EXPECT_EQ(to_errc(foreign), Errc::internal);
}

TEST(Error, IsAbsentInACodeWithoutFailure) { EXPECT_FALSE(make_error_code(Errc{}).failed()); }

}  // namespace
}  // namespace mintfs::broker
