// What the proxy reads in the bytes of a connection, for tests/fuzz/differential.py.
//
// Standard input holds one stream after another, each as its size (4 bytes, little-endian) and its bytes.
// For each the answer says how many requests at its front are let through, and of each the method, the
// canonical path, the query and the payload as size and bytes, then how many bytes of the stream it took
// and 1 where the connection may carry another.
#include "proxy/framing.h"
#include "proxy/path.h"
#include "proxy/request.h"

#include <cstddef>
#include <cstdint>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

using namespace mintfs::proxy;

namespace {

struct Read {
  std::string method;
  std::string path;
  std::string query;
  std::string payload;
  std::size_t size = 0;
  bool keep_alive = false;
};

void write_number(std::size_t number) {
  for (int shift = 0; shift < 32; shift += 8) std::cout.put(static_cast<char>(number >> shift & 0xff));
}

void write_text(std::string_view text) {
  write_number(text.size());
  std::cout.write(text.data(), static_cast<std::streamsize>(text.size()));
}

std::optional<std::size_t> read_number() {
  std::size_t number = 0;
  for (int shift = 0; shift < 32; shift += 8) {
    const int byte = std::cin.get();
    if (byte == std::char_traits<char>::eof()) return std::nullopt;
    number |= static_cast<std::size_t>(byte) << shift;
  }
  return number;
}

// The payload and how many bytes it took; nothing where the body is malformed or not all there.
std::optional<std::size_t> read_body(std::string body, const BodyFraming& framing, std::string& payload) {
  if (framing.kind == BodyFraming::Kind::length) {
    if (framing.length > body.size()) return std::nullopt;
    payload = body.substr(0, framing.length);
    return payload.size();
  }
  if (framing.kind != BodyFraming::Kind::chunked) return 0;
  ChunkedDecoder decoder(ChunkedDecoder::Side::request);
  ChunkedDecoder::Payload decoded;
  if (decoder.decode({body.data(), body.size()}, decoded) || !decoded.done) return std::nullopt;
  payload.assign(decoded.bytes.data(), decoded.bytes.size());
  return decoded.consumed;
}

// The request at the front of `stream`, where there is one that the proxy would go on with.
std::optional<Read> read_request(std::string_view stream) {
  std::size_t from = 0;
  const std::size_t end = find_header_end(stream, from);
  RequestHead head;
  Target target;
  if (end == std::string_view::npos || parse_request(stream.substr(0, end), head)) return std::nullopt;
  // No request of git has another method (git_service.h).
  if (head.method == Method::other || parse_target(head.target, target)) return std::nullopt;
  Read out{.method = std::string(head.method_text),
           .path = target.path,
           .query = std::string(target.query),
           .payload = {},
           .size = end,
           .keep_alive = head.keep_alive};
  const auto body = read_body(std::string(stream.substr(end)), head.framing, out.payload);
  if (!body) return std::nullopt;
  out.size += *body;
  return out;
}

void answer(std::string_view stream) {
  std::vector<Read> all;
  while (const auto one = read_request(stream)) {
    stream.remove_prefix(one->size);
    all.push_back(*one);
    if (!one->keep_alive) break;
  }
  write_number(all.size());
  for (const Read& one : all) {
    for (const std::string* text : {&one.method, &one.path, &one.query, &one.payload}) write_text(*text);
    write_number(one.size);
    write_number(one.keep_alive ? 1 : 0);
  }
  std::cout.flush();
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  while (const auto size = read_number()) {
    std::string stream(*size, '\0');
    if (!std::cin.read(stream.data(), static_cast<std::streamsize>(*size))) return 1;
    answer(stream);
  }
  return 0;
}
