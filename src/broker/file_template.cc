#include "broker/file_template.h"

#include "broker/configuration.h"

#include <kainjow/mustache.hpp>

#include <algorithm>
#include <array>
#include <exception>

namespace mintfs::broker {
namespace {

namespace mustache = kainjow::mustache;

constexpr std::size_t kMaxNames = 7;      // of a path
constexpr std::size_t kMaxNameSize = 64;  // of each
constexpr std::array<std::string_view, 5> kEverywhere = {"proxy_url", "proxy_host", "lease", "authorities",
                                                         "connectors"};
constexpr std::array<std::string_view, 10> kOfConnector = {"name",    "namespace", "label", "class", "url",
                                                           "address", "host",      "token", "basic", "last"};

class TooLong : public std::exception {};

template <class All, class One>
bool contains(const All& all, const One& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kSpace);
  return begin == std::string_view::npos ? std::string_view()
                                         : text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

// One tag after another, with the sections that are open.
class TagCheck {
 public:
  std::optional<std::string> read(std::string_view tag) {
    if (tag.empty()) return "has an empty tag";
    const char kind = tag.front();
    if (kind == '!') return std::nullopt;
    if (kind == '>' || kind == '=') return "may not include others (>) nor change what tags look like (=)";
    const bool section = kind == '#' || kind == '^' || kind == '/';
    const std::string_view name = section || kind == '&' || kind == '{' ? trimmed(tag.substr(1)) : tag;
    if (kind == '/') {
      if (open_.empty() || open_.back() != name) return "closes '" + std::string(name) + "', which is not open";
      open_.pop_back();
      return std::nullopt;
    }
    const bool inside = contains(open_, "connectors");
    if (!contains(kEverywhere, name) && !(inside && contains(kOfConnector, name))) return unknown(name, inside);
    if (!section) {
      if (name == "connectors" || name == "last") return "uses '" + std::string(name) + "' as a text; it is a section";
      return std::nullopt;
    }
    if (contains(open_, name)) return "opens '" + std::string(name) + "' within itself";
    open_.emplace_back(name);
    return std::nullopt;
  }

  bool is_closed() const { return open_.empty(); }

 private:
  static std::string unknown(std::string_view name, bool inside) {
    std::string known;
    const auto add = [&](std::string_view each) { known.append(known.empty() ? "" : ", ").append(each); };
    std::for_each(kEverywhere.begin(), kEverywhere.end(), add);
    if (inside) std::for_each(kOfConnector.begin(), kOfConnector.end(), add);
    return "knows no '" + std::string(name.substr(0, kMaxNameSize)) + "'; known here are " + known;
  }

  std::vector<std::string> open_;
};

std::string escaped(Escape escape, const std::string& text) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (escape == Escape::json && (c == '"' || c == '\\'))
      out.append("\\").push_back(c);
    else if (escape == Escape::json && byte < 0x20)
      out.append("\\u00").append({kDigits[byte >> 4], kDigits[byte & 0xf]});
    else if (escape == Escape::xml && c == '&')
      out += "&amp;";
    else if (escape == Escape::xml && c == '<')
      out += "&lt;";
    else if (escape == Escape::xml && c == '>')
      out += "&gt;";
    else if (escape == Escape::xml && c == '"')
      out += "&quot;";
    else if (escape == Escape::xml && c == '\'')
      out += "&apos;";
    else
      out += c;
  }
  return out;
}

mustache::data to_data(const FileScene& scene) {
  mustache::data list{mustache::data::type::list};
  for (const auto& each : scene.connectors) {
    mustache::data connector;
    connector.set("name", each.name);
    connector.set("namespace", each.space);
    connector.set("label", each.label);
    connector.set("class", each.class_name);
    connector.set("url", each.url);
    connector.set("address", each.address);
    connector.set("host", each.host);
    connector.set("token", each.token);
    connector.set("basic", each.basic);
    connector.set("last", mustache::data(&each == &scene.connectors.back()));
    list << connector;
  }
  mustache::data data;
  data.set("proxy_url", scene.proxy_url);
  data.set("proxy_host", scene.proxy_host);
  data.set("lease", scene.lease);
  // A section of it is there where the file is.
  data.set("authorities", scene.authorities.empty() ? mustache::data(false) : mustache::data(scene.authorities));
  data.set("connectors", list);
  return data;
}

}  // namespace

bool FileConfig::is_for(ConnectorClass connector_class) const {
  return classes.empty() || contains(classes, connector_class);
}

std::optional<std::string> find_fault(std::string_view text) {
  if (text.size() > kMaxTemplate) return "is over 64 KiB";
  const auto is_text = [](char c) { return (c >= 0x20 && c <= 0x7e) || c == '\n' || c == '\t'; };
  if (!std::all_of(text.begin(), text.end(), is_text)) return "must be printable ASCII, tabs and newlines";
  TagCheck check;
  for (std::size_t at = text.find("{{"); at != std::string_view::npos; at = text.find("{{", at)) {
    const bool raw = text.substr(at + 2).starts_with('{');
    const std::size_t begin = at + (raw ? 3 : 2);
    const std::size_t end = text.find(raw ? "}}}" : "}}", begin);
    if (end == std::string_view::npos)
      return "has a tag that is not closed: '" + std::string(text.substr(at, 20)) + "'";
    if (auto fault = check.read(trimmed(text.substr(begin, end - begin)))) return fault;
    at = end + (raw ? 3 : 2);
  }
  if (!check.is_closed()) return "has a section that is not closed";
  try {  // the library is the judge
    if (const mustache::mustache parsed{std::string(text)}; !parsed.is_valid())
      return "is malformed: " + parsed.error_message();
  } catch (const std::exception&) {
    return "is malformed";
  }
  return std::nullopt;
}

bool are_in_each_others_way(std::string_view path, std::string_view other) {
  const auto is_below = [](std::string_view file, std::string_view folder) {
    return file.size() > folder.size() && file.starts_with(folder) && file[folder.size()] == '/';
  };
  return path == other || is_below(path, other) || is_below(other, path);
}

std::optional<std::string> find_fault_in_path(std::string_view path) {
  std::size_t names = 0;
  for (std::size_t at = 0; at <= path.size(); ++names) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view name = path.substr(at, end - at);
    const auto is_good = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
             c == '-';
    };
    if (name.empty() || name == "." || name == ".." || name.size() > kMaxNameSize ||
        !std::all_of(name.begin(), name.end(), is_good))
      return "must be a path in the view such as \"dir/file\", of letters, digits, '.', '_' and '-'";
    at = end + 1;
  }
  if (names > kMaxNames) return "must be a path of at most 7 names";
  for (const std::string_view taken : kOwnPaths)
    if (are_in_each_others_way(path, taken)) return "is in the way of '" + std::string(taken) + "'";
  return std::nullopt;
}

Result<std::string> expand(const FileConfig& file, const FileScene& scene,
                           const std::function<bool(std::string_view)>& is_mark) {
  try {
    mustache::mustache parsed{file.text};
    parsed.set_custom_escape(
        [&](const std::string& value) { return is_mark(value) ? value : escaped(file.escape, value); });
    std::string out;
    parsed.render(to_data(scene), [&](const std::string& part) {
      if (out.size() + part.size() > kMaxExpanded) throw TooLong();
      out += part;
    });
    if (!parsed.is_valid()) return Errc::internal;
    return out;
  } catch (const TooLong&) {
    return Errc::too_many;
  } catch (const std::exception&) {
    return Errc::internal;
  }
}

}  // namespace mintfs::broker
