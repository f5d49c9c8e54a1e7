#include "proxy/message.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <string_view>

namespace mintfs::proxy {
namespace {

using broker::Errc;

// What the parser behind it would refuse as well, asked of the scan alone.
TEST(Section, WithControlCharactersIsRefused) {
  for (int byte = 0; byte < 0x100; ++byte) {
    const std::string section = std::string("A\r\nX: a") + static_cast<char>(byte) + "b\r\n\r\n";
    const bool text = byte == '\t' || (byte >= 0x20 && byte < 0x7f);
    EXPECT_EQ(!scan_section(section, false).failed(), text) << byte;
    EXPECT_EQ(!scan_section(section, true).failed(), text || byte >= 0x80) << byte;
  }
}

TEST(Section, HasObsTextOnlyInValues) {
  EXPECT_EQ(scan_section("A\r\nX\xe9: a\r\n\r\n", true), Errc::request_malformed);
  EXPECT_FALSE(scan_section("A\r\nX: \xe9\r\n\r\n", true));
}

TEST(Section, ThatIsFoldedEmptyOrCutIsRefused) {
  for (const char* section :
       {"", "\r\n\r\n", "\r\nA\r\n\r\n", "A\r\n b\r\n\r\n", "A\r\n\tb\r\n\r\n", " A\r\n\r\n", "A\r\n",
        "A\nB: c\r\n\r\n", "A\r\nB: c\n\r\n\r\n", "A\r\nB: c\r\r\n\r\n", "A\r\n\r\nB: c\r\n\r\n"})
    EXPECT_EQ(scan_section(section, false), Errc::request_malformed) << section;
}

TEST(Section, BeginsWithAPrintableCharacter) {
  for (int byte = 0; byte < 0x100; ++byte) {
    const std::string section = std::string(1, static_cast<char>(byte)) + " HTTP/1.1\r\nX: a\r\n\r\n";
    EXPECT_EQ(!scan_section(section, false).failed(), byte > 0x20 && byte < 0x7f) << byte;
    EXPECT_EQ(!scan_section(section, true).failed(), byte > 0x20 && byte < 0x7f) << byte;
  }
}

// The rules one by one, line by line.
bool is_good(std::string_view section, bool obs_text) {
  if (!section.ends_with("\r\n\r\n")) return false;
  section.remove_suffix(2);
  while (!section.empty()) {
    const auto line = section.substr(0, section.find("\r\n"));
    if (line.empty() || line.front() == ' ' || line.front() == '\t') return false;
    const std::size_t colon = std::min(line.find(':'), line.size());
    for (std::size_t i = 0; i < line.size(); ++i) {
      const auto byte = static_cast<unsigned char>(line[i]);
      const bool high = byte >= 0x80 && obs_text && i > colon;
      if (!high && byte != '\t' && (byte < 0x20 || byte >= 0x7f)) return false;
    }
    section.remove_prefix(line.size() + 2);
  }
  return true;
}

// Longer than the vectors that the scan is made of, so that each place in one is met.
TEST(Section, IsJudgedAsItsLinesAreOneByOne) {
  std::mt19937 random(1);
  constexpr std::string_view kBytes = "\r\n\t :\x01\x7f\x80\xff";
  int good = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string section =
        "GET / HTTP/1.1\r\nHost: example.org\r\nAccept: text/plain\r\nX-Long: aaaaaaaaaaaaaaaaaa\r\n\r\n";
    for (auto changes = random() % 3; changes > 0; --changes) {
      const std::size_t at = random() % section.size();
      const char byte = kBytes[random() % kBytes.size()];
      if (random() % 2 == 0)
        section[at] = byte;
      else
        section.insert(at, random() % 4 == 0 ? "\r\n" : std::string(1, byte));
    }
    for (const bool obs_text : {false, true}) {
      const bool expected = is_good(section, obs_text);
      good += expected ? 1 : 0;
      ASSERT_EQ(!scan_section(section, obs_text).failed(), expected) << section;
    }
  }
  EXPECT_GT(good, 10000);
  EXPECT_LT(good, 30000);
}

TEST(List, NamesWholeTokensWithoutCase) {
  EXPECT_TRUE(list_names("a, B ,\tclose", "CLOSE"));
  EXPECT_TRUE(list_names("b", "B"));
  EXPECT_FALSE(list_names("enclosed, close-x", "close"));
  EXPECT_FALSE(list_names("", "close"));
}

}  // namespace
}  // namespace mintfs::proxy
