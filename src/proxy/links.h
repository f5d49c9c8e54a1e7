// Points the links of an upstream's answer to the proxy, so that a client's next request comes here.
//
// A link that leads to the connector's address is replaced by the same path below the proxy's; any other, or
// one in a form that is in doubt, stays as it is: the client then goes there without a credential, since it
// has none. Documents are scanned and not parsed, whatever their size: at most kMaxLink bytes are held.
#pragma once

#include "broker/config.h"
#include "proxy/body_filter.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace mintfs::proxy {

inline constexpr std::size_t kMaxLink = 8 * 1024;

class LinkMap {
 public:
  // `page` is the path of the document, relative to `upstream`; `base` is what stands in place of the
  // address: "http://proxy/namespaces/default/connectors/npm". `upstream` outlives this.
  LinkMap(const broker::Address& upstream, std::string page, std::string base)
      : upstream_(upstream), page_(std::move(page)), base_(std::move(base)) {}

  // What stands in place of `link`; nothing where it stays. No character of it needs to be quoted in JSON.
  std::optional<std::string> moved(std::string_view link) const;

 private:
  const broker::Address& upstream_;
  std::string page_;
  std::string base_;
};

// In a JSON document: the string values of all members called `key`. One that is written with other escapes
// than "\/" stays.
class JsonLinks final : public BodyFilter {
 public:
  JsonLinks(LinkMap map, std::string key) : map_(std::move(map)), wanted_(std::move(key)) {}
  void feed(std::string_view in, std::string& out) override;
  void finish(std::string& out) override;

 private:
  enum class Where : std::uint8_t { between, passing, holding };
  void begin_string(std::string& out);
  bool end_string(std::string& out);

  LinkMap map_;
  std::string wanted_;
  Where where_ = Where::between;
  bool escaped_ = false;  // the next character of a string
  char previous_ = '\0';  // the last significant one between strings; '"' for a string
  std::string key_;       // the last string that may be a key, or its beginning
  bool is_key_ = false;   // of the string under way
  std::string held_;      // of a link under way, its quote in front
};

// In an HTML document: the quoted values of all attributes called "href".
class HtmlLinks final : public BodyFilter {
 public:
  explicit HtmlLinks(LinkMap map) : map_(std::move(map)) {}
  void feed(std::string_view in, std::string& out) override;
  void finish(std::string& out) override;

 private:
  enum class Where : std::uint8_t { text, tag, value, link };
  void feed(char c, std::string& out);
  void end_link(std::string& out);

  LinkMap map_;
  Where where_ = Where::text;
  char quote_ = '\0';
  std::string name_;  // of the attribute, lower case; '=' behind it once that was seen
  std::string held_;  // of a link under way, its quote in front
};

}  // namespace mintfs::proxy
