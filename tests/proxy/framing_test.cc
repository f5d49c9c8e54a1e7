#include "proxy/framing.h"

#include <gtest/gtest.h>

#include <string>

namespace mintfs::proxy {
namespace {

using broker::Errc;
using Side = ChunkedDecoder::Side;

struct Decoded {
  boost::system::error_code error;
  std::string payload;
  std::size_t consumed = 0;
  bool done = false;
};

// Feeds `body` in pieces of `step` bytes.
Decoded decode(std::string body, Side side = Side::request, std::size_t step = std::string::npos) {
  ChunkedDecoder decoder(side);
  Decoded all;
  while (all.consumed < body.size() && !all.done) {
    const std::size_t size = std::min(step, body.size() - all.consumed);
    ChunkedDecoder::Payload payload;
    all.error = decoder.decode({body.data() + all.consumed, size}, payload);
    if (all.error) return all;
    all.payload.append(payload.bytes.data(), payload.bytes.size());
    all.consumed += payload.consumed;
    all.done = payload.done;
    if (!all.done && payload.consumed != size) ADD_FAILURE() << "left bytes behind";
  }
  return all;
}

TEST(Chunks, AreTakenOffWhereverTheBytesAreCut) {
  const std::string body = "4\r\nWiki\r\n6\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n00\r\nX-T: 1\r\nY: 2\r\n\r\n";
  for (std::size_t step = 1; step <= body.size() + 4; ++step) {
    const auto all = decode(body + "next", Side::request, step);
    EXPECT_FALSE(all.error) << step;
    EXPECT_TRUE(all.done) << step;
    EXPECT_EQ(all.payload, "Wikipedia in \r\n\r\nchunks.") << step;
    EXPECT_EQ(all.consumed, body.size()) << step;
  }
}

TEST(Chunks, WithoutTheLastOneAreNotDone) {
  for (const char* body : {"", "4\r\nWiki\r\n", "0\r\n", "0\r\n\r", "0\r\nX: 1\r\n", "4\r\nWi"}) {
    const auto all = decode(body);
    EXPECT_FALSE(all.error) << body;
    EXPECT_FALSE(all.done) << body;
  }
}

TEST(Chunks, OfOneBufferAreNotMovedWhenThereIsOne) {
  std::string body = "5\r\nhello\r\n";
  ChunkedDecoder decoder(Side::request);
  ChunkedDecoder::Payload payload;
  ASSERT_FALSE(decoder.decode(body, payload));
  EXPECT_EQ(payload.bytes.data(), body.data() + 3);
  EXPECT_EQ(body, "5\r\nhello\r\n");
}

TEST(Chunks, MalformedAreRefusedByBothSides) {
  for (const std::string body : {"\r\n",
                                 "x\r\n",
                                 "-1\r\n",
                                 "+1\r\na",
                                 "0x1\r\na",
                                 " 1\r\na",
                                 "1\na\n",
                                 "1\r\na\n",
                                 "1\r\nab\r\n",
                                 "1\r\na0\r\n",
                                 "1\r\na\r0",
                                 "1\rxa",
                                 "11111111111111111\r\n",
                                 "0\n\n",
                                 "0\r\n\n",
                                 "0\r\nX: 1\n\r\n",
                                 "0\r\nX: \x01\r\n\r\n",
                                 "0\r\n\rx",
                                 "0\r\n folded\r\n\r\n",
                                 "0\r\nX: a\rb\r\n\r\n",
                                 ";a\r\n"}) {
    EXPECT_EQ(decode(body, Side::request).error, Errc::request_malformed) << body;
    EXPECT_EQ(decode(body, Side::response).error, Errc::upstream_malformed) << body;
    EXPECT_EQ(decode(body, Side::request, 1).error, Errc::request_malformed) << body;
  }
  EXPECT_EQ(decode(std::string("0\r\nX: \0\r\n\r\n", 11)).error, Errc::request_malformed);
}

TEST(Chunks, WithExtensionsAreRefusedInRequestsAndReadInResponses) {
  for (const std::string body : {"1;a\r\nx\r\n0\r\n\r\n", "1 \r\nx\r\n0\r\n\r\n", "1\t;a=\"b\"\r\nx\r\n0;q\r\n\r\n"}) {
    EXPECT_EQ(decode(body, Side::request).error, Errc::request_malformed) << body;
    const auto all = decode(body, Side::response);
    EXPECT_TRUE(all.done) << body;
    EXPECT_EQ(all.payload, "x") << body;
  }
  EXPECT_EQ(decode("1;a\nx\r\n", Side::response).error, Errc::upstream_malformed);
  EXPECT_TRUE(decode("0;" + std::string(kMaxChunkExtension - 1, 'a') + "\r\n\r\n", Side::response).done);
  EXPECT_TRUE(decode("0;" + std::string(kMaxChunkExtension, 'a') + "\r\n\r\n", Side::response).error);
}

TEST(Chunks, HaveBoundedTrailers) {
  const std::string trailer = "X: " + std::string(1000, 'a') + "\r\n";
  std::string body = "0\r\n";
  for (std::size_t size = 0; size <= kMaxTrailers; size += 1000) body += trailer;
  EXPECT_EQ(decode(body + "\r\n").error, Errc::request_malformed);
  EXPECT_TRUE(decode("0\r\n" + trailer + "\r\n").done);
}

TEST(Chunks, SizesMayHave16Digits) {
  EXPECT_EQ(decode("0000000000000001\r\nx\r\n0\r\n\r\n").payload, "x");
  EXPECT_FALSE(decode("ffffffffffffffff\r\nx").error);
  EXPECT_TRUE(decode("00000000000000001\r\nx").error);
}

TEST(ChunkHeader, IsWhatTheDecoderReads) {
  for (const std::size_t size :
       {std::size_t{1}, std::size_t{15}, std::size_t{16}, std::size_t{65536}, ~std::size_t{0}}) {
    char header[kMaxChunkHeader];
    const std::size_t written = write_chunk_header(size, header);
    EXPECT_LE(written, kMaxChunkHeader);
    EXPECT_FALSE(decode(std::string(header, written) + "x").error);
  }
  char header[kMaxChunkHeader];
  EXPECT_EQ(std::string(header, write_chunk_header(0xabc, header)), "abc\r\n");
}

}  // namespace
}  // namespace mintfs::proxy
