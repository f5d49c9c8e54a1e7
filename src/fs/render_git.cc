#include "fs/render.h"

#include <optional>

namespace mintfs::fs {
namespace {

bool needs_quotes(std::string_view value) {
  if (value.empty()) return false;
  if (value.front() == ' ' || value.back() == ' ') return true;
  return std::any_of(value.begin(), value.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\' || c == '#' || c == ';';
  });
}

// Writes the syntax of git-config(1), which has two kinds of quoting.
class Writer {
 public:
  void comment(std::string_view text) {
    refuse_if(text.find_first_of(std::string_view("\n\0", 2)) != std::string_view::npos);
    text_.append("# ").append(text).append("\n");
  }

  // Subsections know no escape but \" and \\; a newline or NUL cannot be written at all.
  void section(std::string_view name, std::string_view subsection) {
    refuse_if(subsection.find_first_of(std::string_view("\n\0", 2)) != std::string_view::npos);
    text_.append("[").append(name).append(" \"");
    for (const char c : subsection) {
      if (c == '"' || c == '\\') text_ += '\\';
      text_ += c;
    }
    text_.append("\"]\n");
  }

  void entry(std::string_view key, std::string_view value) {
    refuse_if(value.find('\0') != std::string_view::npos);
    text_.append("\t").append(key).append(value.empty() ? " =" : " = ");
    if (needs_quotes(value))
      quoted(value);
    else
      text_.append(value);
    text_ += '\n';
  }

  // An entry whose value ends with something that is filled in later; returns where.
  std::uint32_t open_entry(std::string_view key, std::string_view beginning) {
    text_.append("\t").append(key).append(" = ").append(beginning);
    const std::size_t at = text_.size();
    text_ += '\n';
    return static_cast<std::uint32_t>(at);
  }

  // Nothing when something could not be written.
  std::optional<std::string> take() {
    if (refused_) return std::nullopt;
    return std::move(text_);
  }

 private:
  void refuse_if(bool condition) { refused_ = refused_ || condition; }

  void quoted(std::string_view value) {
    text_ += '"';
    for (const char c : value) {
      if (c == '\n')
        text_ += "\\n";
      else if (c == '\t')
        text_ += "\\t";
      else if (c == '\b')
        text_ += "\\b";
      else if (c == '"' || c == '\\')
        text_.append("\\").push_back(c);
      else
        text_ += c;  // CR too: only one that ends a line would be dropped, and the quote ends this one
    }
    text_ += '"';
  }

  std::string text_;
  bool refused_ = false;
};

struct Target {
  std::uint32_t index;  // in Lease::connectors
  const broker::ConnectorConfig& connector;
  std::string url;                    // of the connector at the proxy
  std::vector<std::string> prefixes;  // empty: the whole host
};

// The prefixes that hold all repositories of these rights; nothing when there are none such.
std::vector<std::string> prefixes_of(const broker::Rights& rights) {
  std::vector<std::string> prefixes;
  for (const auto& pattern : rights.repositories) {
    std::string prefix = pattern.literal_prefix();
    if (prefix.empty()) return {};
    if (std::find(prefixes.begin(), prefixes.end(), prefix) == prefixes.end()) prefixes.push_back(std::move(prefix));
  }
  return prefixes;
}

void rewrite(Writer& out, const Target& target, std::string_view prefix) {
  const broker::Address& address = target.connector.address;
  const std::string path = address.authority() + address.prefix + "/";
  // ssh has its own port and knows nothing of the path under which HTTP is served.
  const std::string host = address.host.find(':') == std::string::npos ? address.host : "[" + address.host + "]";
  out.section("url", target.url + std::string(prefix));
  for (const std::string& spelling :
       {"https://" + path, "http://" + path, "git@" + host + ":", "ssh://git@" + host + "/"})
    out.entry("insteadOf", spelling + std::string(prefix));
}

// In the filled text. The id is random: what looks like it is it.
std::vector<std::uint32_t> places_of(std::string_view id, const Template& view) {
  std::vector<std::uint32_t> places;
  auto hole = view.holes.begin();
  std::size_t filled = 0;
  for (std::size_t at = view.text.find(id); at != std::string::npos; at = view.text.find(id, at + id.size())) {
    for (; hole != view.holes.end() && hole->at <= at; ++hole) filled += broker::base64_size(1 + hole->token_size);
    places.push_back(static_cast<std::uint32_t>(at + filled));
  }
  return places;
}

}  // namespace

std::size_t Template::size() const {
  std::size_t size = text.size();
  for (const auto& hole : holes) size += broker::base64_size(1 + hole.token_size);
  return size;
}

broker::Result<Template> render(const broker::Lease& lease, const broker::Connectors& connectors,
                                std::string_view proxy_url, const TokenSize& token_size, std::string_view authorities) {
  while (proxy_url.ends_with('/')) proxy_url.remove_suffix(1);
  std::vector<Target> targets;
  std::size_t text_by_prefix = 0;
  for (std::uint32_t index = 0; index < lease.connectors.size(); ++index) {
    const broker::ConnectorName& name = lease.connectors[index];
    const auto found = connectors.find(name);
    if (found == connectors.end()) continue;
    const broker::ConnectorConfig& connector = found->second;
    const auto& rights = lease.rights.restricts_repositories() ? lease.rights : connector.rights;
    targets.push_back({index, connector,
                       std::string(proxy_url) + "/namespaces/" + name.space + "/connectors/" + name.name + "/",
                       prefixes_of(rights)});
    for (const auto& prefix : targets.back().prefixes)
      text_by_prefix += targets.back().url.size() + 4 * connector.address.text().size() + 5 * prefix.size() + 100;
  }
  if (text_by_prefix > kMaxTextByPrefix)
    for (Target& target : targets) target.prefixes.clear();

  Writer out;
  Template view;
  out.comment("mintfs lease " + lease.id + ": generated at each open, do not copy.");
  for (const Target& target : targets) {
    out.section("http", target.url);
    out.entry("extraHeader", "");
    view.holes.push_back({out.open_entry("extraHeader", "Authorization: Basic "), target.index,
                          static_cast<std::uint32_t>(token_size(target.connector.name))});
    out.entry("followRedirects", "false");
    // Neither http.proxy nor http_proxy, ALL_PROXY and the like: the token goes to our proxy alone.
    out.entry("proxy", "");
  }
  if (!authorities.empty()) {
    out.section("http", proxy_url);
    out.entry("sslCAInfo", authorities);
  }
  out.section("credential", proxy_url);
  out.entry("helper", "");
  for (const Target& target : targets) {
    if (target.prefixes.empty()) rewrite(out, target, "");
    for (const auto& prefix : target.prefixes) rewrite(out, target, prefix);
  }
  auto text = out.take();
  if (!text) return broker::Errc::internal;
  view.text = std::move(*text);
  view.text.shrink_to_fit();
  view.ids = places_of(lease.id, view);
  return view;
}

}  // namespace mintfs::fs
