// No answer carries the credential after the rewrite, no action says who asks for what is not trusted,
// no link leads to the upstream, and rewriting is stable. A request has the operation that a tree parser
// finds as well.
#include "proxy/lfs.h"
#include "proxy/message.h"
#include "require.h"

#include <boost/json/parse.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

using namespace mintfs::proxy;
using mintfs::require;
namespace broker = mintfs::broker;
namespace json = boost::json;

namespace {

constexpr std::string_view kBase = "http://proxy/c";

// Whether a client would ask the upstream, or whom it asked before, for this link. "//host" is another host.
bool leads_to_upstream(std::string_view link) {
  for (const std::string_view begin : {"https://git.example/", "https://git.example:443/", "//git.example/"})
    if (iequals(link.substr(0, begin.size()), begin)) return true;
  return link.find("://") == std::string_view::npos && !link.starts_with("//");
}

// Boost.JSON reads a fraction to within a digit only, so that it is written otherwise the second time.
bool holds_double(const json::value& value) {
  if (const auto* array = value.if_array()) return std::any_of(array->begin(), array->end(), holds_double);
  if (const auto* object = value.if_object())
    return std::any_of(object->begin(), object->end(), [](const auto& member) { return holds_double(member.value()); });
  return value.is_double();
}

// Every link and its header, wherever it stands, with strings as a client reads them.
void check(const json::value& value) {
  if (const auto* array = value.if_array()) {
    for (const auto& one : *array) check(one);
  } else if (const auto* object = value.if_object()) {
    for (const auto& member : *object) check(member.value());
    const auto* href = object->if_contains("href");
    if (href == nullptr) return;
    require(!leads_to_upstream(std::string_view(href->as_string())));
    const auto* header = object->if_contains("header");
    if (header == nullptr || !header->is_object()) return;
    for (const std::string_view name : {"Authorization", "Cookie", "Proxy-Authorization"})
      for (const auto& field : header->as_object()) require(!iequals(std::string_view(field.key()), name));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const broker::Address upstream{.scheme = "https", .host = "git.example", .port = 443, .prefix = ""};
  static const ScrubPatterns credential("bot", "s3cret-token");
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  boost::system::error_code error;

  std::string out, again;
  if (!rewrite_batch(text, upstream, {}, kBase, credential, out)) {
    require(!credential.contains(out));
    const auto document = json::parse(out, error);
    require(!error);
    // A host that held the credential holds stars, and leads nowhere.
    if (rewrite_batch(out, upstream, {}, kBase, credential, again))
      require(out.find('*') != std::string::npos);
    else
      require(again == out || holds_double(document));
    check(document);
  }

  const auto operation = batch_operation(text);
  if (!operation) return 0;
  const auto document = json::parse(text, error);
  require(!error && document.is_object());
  const std::string_view wanted = *operation == broker::Operation::push ? "upload" : "download";
  require(std::string_view(document.as_object().at("operation").as_string()) == wanted);
  return 0;
}
