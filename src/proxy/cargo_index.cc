#include "proxy/cargo_index.h"

#include "proxy/path.h"
#include "proxy/redirect.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <optional>

namespace mintfs::proxy {
namespace {

namespace json = boost::json;
using boost::system::error_code;
using broker::Errc;

// What cargo fills in: "{crate}/{version}/download". It stands behind the last slash in front of the first marker,
// and is of a path's plain characters.
bool is_plain_template(std::string_view tail) {
  std::string path = "/", canonical;
  path += tail;
  if (std::count(path.begin(), path.end(), '{') != std::count(path.begin(), path.end(), '}')) return false;
  std::replace_if(
      path.begin(), path.end(), [](char c) { return c == '{' || c == '}'; }, 'x');
  return !normalise(path, canonical) && canonical == path;
}

// Without a slash at its end, as cargo appends one.
std::optional<std::string> moved(std::string_view link, const broker::Address& upstream, std::string_view page,
                                 std::string_view base) {
  const std::size_t marker = link.find('{');
  const std::size_t slash = link.substr(0, marker).rfind('/');
  std::string_view tail;
  if (marker != std::string_view::npos) {
    if (slash == std::string_view::npos) return std::nullopt;
    tail = link.substr(slash + 1);
    link = link.substr(0, slash + 1);
    if (!is_plain_template(tail)) return std::nullopt;
  }
  auto local = resolve_redirect(upstream, page, link);
  if (!local || local->find('?') != std::string::npos) return std::nullopt;
  if (tail.empty() && local->ends_with('/')) local->pop_back();
  return std::string(base).append(*local).append(tail);
}

// Whether cargo could take it for an index's all the same: its parser skips what this one refuses, and takes an array
// for the members in their order.
bool could_be_read(std::string_view text, const json::value* document) {
  if (document != nullptr) {
    const json::array* const members = document->if_array();
    return members != nullptr && !members->empty() && members->front().is_string();
  }
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  return begin != std::string_view::npos && (text[begin] == '{' || text[begin] == '[');
}

}  // namespace

error_code rewrite_index_config(std::string_view text, const broker::Address& upstream, std::string_view page,
                                std::string_view base, std::string& out) {
  error_code error;
  const json::value document = json::parse(text, error);
  const json::object* const config = error ? nullptr : document.if_object();
  const json::value* const download = config == nullptr ? nullptr : config->if_contains("dl");
  if (download == nullptr || !download->is_string()) {
    if (could_be_read(text, error ? nullptr : &document)) return Errc::upstream_malformed;
    out = text;
    return {};
  }
  const auto crates = moved(download->get_string(), upstream, page, base);
  if (!crates) return Errc::upstream_redirect;
  json::object known{{"dl", *crates}};
  if (const json::value* const api = config->if_contains("api"); api != nullptr && api->is_string())
    if (const auto place = moved(api->get_string(), upstream, page, base)) known.emplace("api", *place);
  known.emplace("auth-required", true);
  out = json::serialize(known);
  return {};
}

}  // namespace mintfs::proxy
