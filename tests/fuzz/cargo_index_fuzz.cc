// Whatever an index's configuration says, cargo is sent to the proxy alone and shows its token there: all that
// comes out as one names the proxy. What is none comes out as it went in.
#include "proxy/cargo_index.h"
#include "require.h"

#include <boost/json/parse.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

using mintfs::require;
namespace broker = mintfs::broker;
namespace json = boost::json;

namespace {

constexpr std::string_view kBase = "http://proxy/namespaces/n/connectors/c", kPage = "/repository/crates/config.json";

std::string_view text_of(const json::value* value) {
  return value != nullptr && value->is_string() ? std::string_view(value->get_string()) : std::string_view();
}

// "https://upstream/x" is no place at "http://proxy": the base, and behind it nothing or a path.
bool is_at_proxy(std::string_view link) {
  if (!link.starts_with(kBase)) return false;
  link.remove_prefix(kBase.size());
  return (link.empty() || link.starts_with('/')) && link.find("/../") == std::string_view::npos &&
         !link.ends_with("/..");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const broker::Address upstream{.scheme = "https", .host = "host.example", .port = 443, .prefix = "/base"};
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::string out, again;
  if (mintfs::proxy::rewrite_index_config(text, upstream, kPage, kBase, out)) return 0;
  boost::system::error_code error;
  const json::value document = json::parse(out, error);
  const json::object* const config = error ? nullptr : document.if_object();
  const json::value* const download = config == nullptr ? nullptr : config->if_contains("dl");
  if (download == nullptr || !download->is_string()) {
    require(out == text);
    return 0;
  }
  require(is_at_proxy(text_of(download)));
  const json::value* const api = config->if_contains("api");
  require(api == nullptr || !api->is_string() || is_at_proxy(text_of(api)));
  const json::value* const demands = config->if_contains("auth-required");
  require(demands != nullptr && demands->is_bool() && demands->get_bool());
  require(!mintfs::proxy::rewrite_index_config(text, upstream, kPage, kBase, again) && again == out);
  return 0;
}
