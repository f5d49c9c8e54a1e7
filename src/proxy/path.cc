#include "proxy/path.h"

#include <algorithm>

namespace mintfs::proxy {
namespace {

using boost::system::error_code;
using broker::Errc;

constexpr std::string_view kHex = "0123456789ABCDEF";

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// The byte that "%XX" at `text` stands for; -1 when it is no such thing.
int decode(std::string_view text) {
  if (text.size() < 3) return -1;
  const int high = hex_value(text[1]), low = hex_value(text[2]);
  return high < 0 || low < 0 ? -1 : high << 4 | low;
}

bool is_alnum(int byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9');
}

// pchar of RFC 3986 section 3.3 without ';'.
bool stands_as_it_is(int byte) {
  if (is_alnum(byte)) return true;
  return byte < 0x7f && std::string_view("-._~!$&'()*+,=:@").find(static_cast<char>(byte)) != std::string_view::npos;
}

// What one server decodes, splits at or cuts at, and another does not.
bool ambiguous(int byte) {
  return byte <= 0x20 || byte > 0x7e ||
         std::string_view("\\#;%?").find(static_cast<char>(byte)) != std::string_view::npos;
}

bool is_dot_segment(std::string_view segment) { return segment == "." || segment == ".."; }

void append(std::string& out, int byte) {
  if (stands_as_it_is(byte)) {
    out += static_cast<char>(byte);
    return;
  }
  out += '%';
  out += kHex[static_cast<std::size_t>(byte >> 4)];
  out += kHex[static_cast<std::size_t>(byte & 15)];
}

// As received, but nothing that ends a line, a quoted string or the target further on.
bool valid_query(std::string_view query) {
  if (query.size() > kMaxQuery) return false;
  for (std::size_t i = 0; i < query.size(); ++i) {
    const auto byte = static_cast<unsigned char>(query[i]);
    if (byte <= 0x20 || byte > 0x7e || std::string_view("#\\\"<>").find(query[i]) != std::string_view::npos)
      return false;
    if (byte != '%') continue;
    const int decoded = decode(query.substr(i));
    if (decoded < 0x20 || decoded == 0x7f) return false;
  }
  return true;
}

// Takes "<segment>/" off `rest`, keeping the slash.
std::string_view take_segment(std::string_view& rest) {
  const std::size_t slash = rest.find('/');
  if (slash == std::string_view::npos) return {};
  const auto segment = rest.substr(0, slash);
  rest.remove_prefix(slash);
  return segment;
}

bool skip(std::string_view& rest, std::string_view prefix) {
  if (!rest.starts_with(prefix)) return false;
  rest.remove_prefix(prefix.size());
  return true;
}

// The rule of broker::ConnectorName without its copies: 1 to 63 of [a-z0-9._-], a letter or digit at
// both ends.
bool valid_name(std::string_view name) {
  const auto inner = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  };
  const auto outer = [&](char c) { return inner(c) && c != '.' && c != '_' && c != '-'; };
  return !name.empty() && name.size() <= 63 && std::all_of(name.begin(), name.end(), inner) && outer(name.front()) &&
         outer(name.back());
}

}  // namespace

error_code normalise(std::string_view raw, std::string& out) {
  out.clear();
  if (!raw.starts_with('/') || raw.size() > kMaxPath) return Errc::request_malformed;
  std::size_t segment = 1;  // where the last one begins in `out`
  out += '/';
  for (std::size_t i = 1; i < raw.size(); ++i) {
    if (raw[i] == '/') {
      const auto last = std::string_view(out).substr(segment);
      if (last.empty() || is_dot_segment(last)) return Errc::request_malformed;
      out += '/';
      segment = out.size();
      continue;
    }
    int byte = static_cast<unsigned char>(raw[i]);
    if (byte == '%') {
      byte = decode(raw.substr(i));
      if (byte == '/') return Errc::request_malformed;
      i += 2;
    }
    if (ambiguous(byte)) return Errc::request_malformed;
    append(out, byte);
  }
  if (is_dot_segment(std::string_view(out).substr(segment)) || out.size() > kMaxPath) return Errc::request_malformed;
  return {};
}

error_code parse_target(std::string_view target, Target& out) {
  out.folded = {};
  const std::size_t question = target.find('?');
  out.has_query = question != std::string_view::npos;
  out.query = out.has_query ? target.substr(question + 1) : std::string_view();
  if (!valid_query(out.query)) return Errc::request_malformed;
  return normalise(target.substr(0, question), out.path);
}

namespace {

constexpr std::string_view kProjects = "/api/v4/projects/";
constexpr std::size_t kEncoded = 3;  // of "%2f"

// What GitLab lets a group or project be called, less what Grape, its router, would take for a format.
bool is_project_word(std::string_view word) {
  const auto good = [](char c) { return c == '-' || c == '.' || c == '_' || is_alnum(c); };
  for (const std::string_view end : {".", ".git", ".atom", ".json"})
    if (word.ends_with(end)) return false;
  return !word.empty() && word.size() <= 255 && word.front() != '-' && std::all_of(word.begin(), word.end(), good);
}

// Where in `path` a folded segment stands as it was received; kind none where there is none.
Folded find_scope(std::string_view path) {
  const std::size_t percent = path.find('%');
  if (percent == std::string_view::npos || path.find('%', percent + 1) != std::string_view::npos) return {};
  const std::size_t segment = path.rfind('/', percent);
  const bool good = decode(path.substr(percent)) == '/' && segment + 2 < percent && path[segment + 1] == '@' &&
                    percent + kEncoded < path.size() && path[percent + kEncoded] != '/';
  if (!good) return {};
  return {Folded::Kind::scope, segment + 1, std::min(path.find('/', percent), path.size())};
}

Folded find_project(std::string_view path) {
  if (!path.starts_with(kProjects)) return {};
  const Folded found{Folded::Kind::project, kProjects.size(), std::min(path.find('/', kProjects.size()), path.size())};
  std::string_view rest = path.substr(found.begin, found.end - found.begin);
  bool folded = false;
  for (std::size_t percent; (percent = rest.find('%')) != std::string_view::npos; folded = true) {
    if (decode(rest.substr(percent)) != '/' || !is_project_word(rest.substr(0, percent))) return {};
    rest.remove_prefix(percent + kEncoded);
  }
  return folded && is_project_word(rest) ? found : Folded{};
}

// The same with plain slashes.
std::string unfold(std::string_view segment) {
  std::string out;
  for (std::size_t percent; (percent = segment.find('%')) != std::string_view::npos;) {
    out.append(segment.substr(0, percent)).append("/");
    segment.remove_prefix(percent + kEncoded);
  }
  return out.append(segment);
}

std::size_t count_slashes(std::string_view path) {
  return static_cast<std::size_t>(std::count(path.begin(), path.end(), '/'));
}

// Where what stands behind the slash of this number begins; the path's end where it has fewer.
std::size_t behind_slash(std::string_view path, std::size_t number) {
  std::size_t at = 0;
  for (; number > 0 && at < path.size(); ++at)
    if (path[at] == '/') --number;
  return at;
}

// parse_target(), with the one segment that may be folded.
error_code parse_rest(std::string_view rest, Target& out) {
  const std::string_view path = rest.substr(0, rest.find('?'));
  Folded found = find_scope(path);
  if (found.kind == Folded::Kind::none) found = find_project(path);
  if (found.kind == Folded::Kind::none) return parse_target(rest, out);
  // The query of what was received, the path of what is meant.
  out.has_query = path.size() != rest.size();
  out.query = out.has_query ? rest.substr(path.size() + 1) : std::string_view();
  if (!valid_query(out.query)) return Errc::request_malformed;
  const std::string_view front = path.substr(0, found.begin);
  const std::string meant = unfold(path.substr(found.begin, found.end - found.begin));
  std::string whole(front);
  whole.append(meant).append(path.substr(found.end));
  if (const auto error = normalise(whole, out.path)) return error;
  // The canonical path has the same slashes, but other characters may be longer in it: '"' is "%22" there.
  const std::size_t before = count_slashes(front);
  out.folded.kind = found.kind;
  out.folded.begin = behind_slash(out.path, before);
  out.folded.end = behind_slash(out.path, before + count_slashes(meant) + 1);
  if (found.end < path.size()) out.folded.end -= 1;
  return {};
}

}  // namespace

error_code route(std::string_view target, Routed& out) {
  std::string_view rest = target;
  out.registry = skip(rest, "/v2") && rest.starts_with('/');
  if (!out.registry) rest = target;
  if (out.registry && rest == "/") {
    out.space = out.name = {};
    return parse_target(target, out.target);
  }
  bool good = skip(rest, "/namespaces/");
  if (good) out.space = take_segment(rest);
  good = good && valid_name(out.space) && skip(rest, "/connectors/");
  if (good) out.name = take_segment(rest);
  if (good && valid_name(out.name)) {
    if (!out.registry) return parse_rest(rest, out.target);
    const auto error = parse_target(rest, out.target);  // images have no scopes
    if (!error) out.target.path.insert(0, "/v2");
    return error;
  }
  out.registry = false;
  if (const auto error = parse_target(target, out.target)) return error;
  return Errc::connector_unknown;
}

}  // namespace mintfs::proxy
