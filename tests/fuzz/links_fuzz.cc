// A document keeps all but its links: what comes out of a document without any is what went in, how it was cut
// into buffers does not matter, and pointing links a second time changes nothing.
#include "proxy/links.h"
#include "require.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

using namespace mintfs::proxy;
using mintfs::require;
namespace broker = mintfs::broker;

namespace {

constexpr std::string_view kBase = "http://proxy/namespaces/n/connectors/c";

LinkMap map() {
  static const broker::Address upstream{.scheme = "https", .host = "host.example", .port = 443, .prefix = "/base"};
  return {upstream, "/simple/app/", std::string(kBase)};
}

std::string run(BodyFilter& filter, std::string_view text, std::size_t step) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += step) filter.feed(text.substr(at, step), out);
  filter.finish(out);
  return out;
}

void check(std::string_view text, BodyFilter& whole, BodyFilter& split, BodyFilter& again) {
  const std::string out = run(whole, text, text.size() + 1);
  require(run(split, text, 1) == out);
  require(run(again, out, 7) == out);
  if (out.find(kBase) == std::string::npos) require(out == text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  JsonLinks json1(map(), "tarball"), json2(map(), "tarball"), json3(map(), "tarball");
  check(text, json1, json2, json3);
  HtmlLinks html1(map()), html2(map()), html3(map());
  check(text, html1, html2, html3);
  return 0;
}
