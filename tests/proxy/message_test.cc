#include "proxy/message.h"

#include <gtest/gtest.h>

#include <string>

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

TEST(List, NamesWholeTokensWithoutCase) {
  EXPECT_TRUE(list_names("a, B ,\tclose", "CLOSE"));
  EXPECT_TRUE(list_names("b", "B"));
  EXPECT_FALSE(list_names("enclosed, close-x", "close"));
  EXPECT_FALSE(list_names("", "close"));
}

}  // namespace
}  // namespace mintfs::proxy
