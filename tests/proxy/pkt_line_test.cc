#include "proxy/pkt_line.h"

#include <gtest/gtest.h>

#include <string>

namespace mintfs::proxy {
namespace {

using Kind = PktLine::Kind;

TEST(PktLine, IsTakenOffTheFront) {
  struct Case {
    std::string_view bytes;
    Kind kind;
    std::string_view payload, rest;
  };
  for (const auto& each : {Case{"0006a\nrest", Kind::data, "a\n", "rest"}, Case{"0004", Kind::data, "", ""},
                           Case{"00000000", Kind::flush, "", "0000"}, Case{"0001x", Kind::delimiter, "", "x"},
                           Case{"0002", Kind::response_end, "", ""}, Case{"000Aabcdef", Kind::data, "abcdef", ""}}) {
    std::string_view bytes = each.bytes;
    PktLine line;
    ASSERT_EQ(take_pkt_line(bytes, line), PktStatus::complete) << each.bytes;
    EXPECT_EQ(line.kind, each.kind) << each.bytes;
    EXPECT_EQ(line.payload, each.payload);
    EXPECT_EQ(bytes, each.rest);
  }
}

TEST(PktLine, StaysWhereItIsUntilThereIsAWholeOne) {
  for (const std::string_view text : {"", "0", "000", "0005", "000babcdef", "fff0"}) {
    std::string_view bytes = text;
    PktLine line;
    EXPECT_EQ(take_pkt_line(bytes, line), PktStatus::incomplete) << text;
    EXPECT_EQ(bytes, text);
  }
}

TEST(PktLine, HasASizeThatGitReads) {
  for (const std::string_view text : {"0003", "000g", "-001", "+001", " 004", "0x04", "fff1", "ffff", "GET "}) {
    std::string_view bytes = text;
    PktLine line;
    EXPECT_EQ(take_pkt_line(bytes, line), PktStatus::malformed) << text;
  }
}

TEST(PktLine, IsWrittenAsItIsRead) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{300}, kMaxPktPayload}) {
    const std::string payload(size, 'x');
    std::string text;
    append_pkt_line(text, payload);
    std::string_view bytes = text;
    PktLine line;
    ASSERT_EQ(take_pkt_line(bytes, line), PktStatus::complete);
    EXPECT_EQ(line.payload, payload);
    EXPECT_TRUE(bytes.empty());
  }
}

TEST(PktLine, CarriesABandOfAnyLength) {
  const std::string sent(2 * kMaxPktPayload + 7, 'y');
  std::string text, read;
  append_side_band(text, 1, sent);
  for (std::string_view bytes = text; !bytes.empty();) {
    PktLine line;
    ASSERT_EQ(take_pkt_line(bytes, line), PktStatus::complete);
    ASSERT_TRUE(line.payload.starts_with('\x01'));
    read += line.payload.substr(1);
  }
  EXPECT_EQ(read, sent);
}

}  // namespace
}  // namespace mintfs::proxy
