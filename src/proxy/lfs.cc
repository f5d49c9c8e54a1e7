#include "proxy/lfs.h"

#include "proxy/message.h"
#include "proxy/redirect.h"

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace mintfs::proxy {
namespace {

namespace json = boost::json;
using boost::system::error_code;
using broker::Errc;
using broker::Operation;

constexpr std::size_t kMaxDepth = 16;

// Finds the value of the one `operation` of the outermost object. A tree would hide that there were two.
class OperationHandler {
 public:
  static constexpr std::size_t max_object_size = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_array_size = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_key_size = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_string_size = std::numeric_limits<std::size_t>::max();

  bool on_document_begin(error_code&) { return true; }
  bool on_document_end(error_code&) { return true; }
  bool on_object_begin(error_code& error) { return scalar(error) && ++depth_ != 0; }
  bool on_object_end(std::size_t, error_code&) { return depth_-- != 0; }
  bool on_array_begin(error_code& error) { return depth_ != 0 ? scalar(error) && ++depth_ != 0 : fail(error); }
  bool on_array_end(std::size_t, error_code&) { return depth_-- != 0; }
  bool on_key_part(json::string_view part, std::size_t, error_code&) {
    if (depth_ == 1) key_.append(part.data(), part.size());
    return true;
  }
  bool on_key(json::string_view part, std::size_t, error_code& error) {
    if (depth_ != 1) return true;
    key_.append(part.data(), part.size());
    expecting_ = key_ == "operation";
    const bool counts = iequals(key_, "operation");
    key_.clear();
    return !counts || (expecting_ && ++found_ == 1) || fail(error);
  }
  bool on_string_part(json::string_view part, std::size_t, error_code&) {
    if (expecting_) value_.append(part.data(), part.size());
    return true;
  }
  bool on_string(json::string_view part, std::size_t, error_code&) {
    if (expecting_) value_.append(part.data(), part.size());
    expecting_ = false;
    return true;
  }
  bool on_number_part(json::string_view, error_code&) { return true; }
  bool on_int64(std::int64_t, json::string_view, error_code& error) { return scalar(error); }
  bool on_uint64(std::uint64_t, json::string_view, error_code& error) { return scalar(error); }
  bool on_double(double, json::string_view, error_code& error) { return scalar(error); }
  bool on_bool(bool, error_code& error) { return scalar(error); }
  bool on_null(error_code& error) { return scalar(error); }
  bool on_comment_part(json::string_view, error_code&) { return true; }
  bool on_comment(json::string_view, error_code&) { return true; }

  std::string_view value() const { return value_; }

 private:
  static bool fail(error_code& error) {
    error = Errc::request_malformed;
    return false;
  }
  // A value that is no string, where a string was expected.
  bool scalar(error_code& error) { return !expecting_ || fail(error); }

  std::size_t depth_ = 0;
  std::size_t found_ = 0;
  bool expecting_ = false;
  std::string key_;
  std::string value_;
};

// The header of an action; `trusted` when the administrator lets the place it leads to have its own
// credential for the job.
void clean_header(json::value& header, bool trusted, const ScrubPatterns& credential) {
  if (!header.is_object()) return;
  auto& fields = header.as_object();
  for (auto field = fields.begin(); field != fields.end();) {
    const std::string_view name(field->key());
    const bool identifies =
        iequals(name, "Authorization") || iequals(name, "Cookie") || iequals(name, "Proxy-Authorization");
    const bool leaks = !field->value().is_string() || credential.contains(std::string_view(field->value().as_string()));
    field = (!trusted && identifies) || leaks ? fields.erase(field) : field + 1;
  }
}

struct Rewriter {
  const broker::Address& upstream;
  std::span<const broker::Address> origins;
  std::string_view proxy_base;
  const ScrubPatterns& credential;

  // Every object with an `href`, wherever it stands: `actions` of today, `_links` of old servers.
  bool rewrite(json::value& value) const {
    if (auto* array = value.if_array()) {
      for (auto& one : *array)
        if (!rewrite(one)) return false;
    } else if (auto* object = value.if_object()) {
      if (object->contains("href") && !rewrite_action(*object)) return false;
      for (auto& member : *object)
        if (!rewrite(member.value())) return false;
    } else if (const auto* number = value.if_double()) {
      return std::isfinite(*number);  // 1e999 would be written as Infinity, which is no JSON
    }
    return true;
  }

  bool rewrite_action(json::object& action) const {
    auto* href = action.at("href").if_string();
    if (href == nullptr) return false;
    bool trusted = false;
    if (const auto local = resolve_redirect(upstream, "/", std::string_view(*href))) {
      *href = std::string(proxy_base) + *local;
    } else {
      const auto origin = foreign_origin(upstream, std::string_view(*href));
      if (!origin) return false;
      trusted = std::find(origins.begin(), origins.end(), *origin) != origins.end();
    }
    if (auto* header = action.if_contains("header")) clean_header(*header, trusted, credential);
    return true;
  }
};

}  // namespace

broker::Result<Operation> batch_operation(std::string_view text) {
  if (text.size() > kMaxBatch) return Errc::body_too_large;
  json::parse_options options;
  options.max_depth = kMaxDepth;
  json::basic_parser<OperationHandler> parser(options);
  error_code error;
  const std::size_t read = parser.write_some(false, text.data(), text.size(), error);
  if (error || read != text.size()) return Errc::request_malformed;
  if (parser.handler().value() == "download") return Operation::fetch;
  if (parser.handler().value() == "upload") return Operation::push;
  return Errc::request_malformed;
}

error_code rewrite_batch(std::string_view text, const broker::Address& upstream,
                         std::span<const broker::Address> origins, std::string_view proxy_base,
                         const ScrubPatterns& credential, std::string& out) {
  out.clear();
  if (text.size() > kMaxBatch) return Errc::upstream_malformed;
  json::parse_options options;
  options.max_depth = kMaxDepth;
  error_code error;
  json::value document = json::parse(text, error, {}, options);
  if (error || !document.is_object()) return Errc::upstream_malformed;
  if (!Rewriter{upstream, origins, proxy_base, credential}.rewrite(document)) return Errc::upstream_malformed;
  out = json::serialize(document);
  credential.scrub(out);  // wherever else it stands: a message, a link
  return {};
}

}  // namespace mintfs::proxy
