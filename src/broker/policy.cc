#include "broker/policy.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

namespace mintfs::broker {
namespace {

// Takes the first segment off `path`.
std::string_view take_segment(std::string_view& path) {
  const std::size_t slash = path.find('/');
  const std::string_view segment = path.substr(0, slash);
  path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
  return segment;
}

// `*` within one segment; iterative, so that a pattern cannot make it exponential.
bool segment_matches(std::string_view pattern, std::string_view text, LetterCase letters) {
  std::size_t p = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && equal(pattern[p], text[t], letters)) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

// The same idea one level up: `**` is to segments what `*` is to characters. A segment `**` of the
// path (it is a pattern itself then, see covers) stands for several and is matched by `**` only.
bool path_matches(std::string_view pattern, std::string_view path, LetterCase letters) {
  std::optional<std::string_view> after_stars;
  std::string_view resume;
  while (!path.empty()) {
    std::string_view rest = pattern;
    const std::string_view segment_pattern = pattern.empty() ? std::string_view() : take_segment(rest);
    if (segment_pattern == "**") {
      after_stars = pattern = rest;
      resume = path;
      continue;
    }
    std::string_view path_rest = path;
    const std::string_view segment = take_segment(path_rest);
    if (!pattern.empty() && segment != "**" && segment_matches(segment_pattern, segment, letters)) {
      pattern = rest;
      path = path_rest;
    } else if (after_stars) {
      take_segment(resume);
      path = resume;
      pattern = *after_stars;
    } else {
      return false;
    }
  }
  while (!pattern.empty())
    if (take_segment(pattern) != "**") return false;
  return true;
}

std::optional<unsigned> number(std::string_view text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<uid_t> user_id(const std::string& name) {
  if (const auto id = number(name)) return *id;
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 4096> buffer;
  if (getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
    return std::nullopt;
  return found->pw_uid;
}

std::optional<gid_t> group_id(const std::string& name) {
  if (const auto id = number(name)) return *id;
  group entry{};
  group* found = nullptr;
  std::string buffer(64 * 1024, '\0');  // a group with many members is long
  if (getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
    return std::nullopt;
  return found->gr_gid;
}

}  // namespace

std::string_view to_string(Operation operation) noexcept {
  switch (operation) {
    case Operation::fetch:
      return "fetch";
    case Operation::push:
      return "push";
  }
  return "unknown";
}

std::vector<std::string_view> Operations::names() const {
  std::vector<std::string_view> names;
  for (const Operation one : {Operation::fetch, Operation::push})
    if (contains(one)) names.push_back(to_string(one));
  return names;
}

std::string_view canonical_repository(std::string_view path) {
  while (path.starts_with('/')) path.remove_prefix(1);
  while (path.ends_with('/')) path.remove_suffix(1);
  if (path.size() > 4 && path.ends_with(".git") && path[path.size() - 5] != '/') path.remove_suffix(4);
  return path;
}

RepositoryPattern::RepositoryPattern(std::string_view text) : text_(canonical_repository(text)) {}

bool RepositoryPattern::is_valid(std::string_view text) {
  if (text.size() > 255) return false;
  for (const char c : text)
    if (c <= 0x20 || c > 0x7e || c == '"' || c == '\\' || c == '%' || c == ';' || c == '#' || c == '?') return false;
  std::string_view rest = canonical_repository(text);
  // "app.git.git" would read back as another repository than it was written for.
  if (rest.empty() || canonical_repository(rest) != rest) return false;
  while (!rest.empty()) {
    const std::string_view segment = take_segment(rest);
    if (segment.empty() || segment == "." || segment == "..") return false;
    if (segment != "**" && segment.find("**") != std::string_view::npos) return false;
  }
  return true;
}

bool RepositoryPattern::matches(std::string_view repository, LetterCase letters) const {
  return path_matches(text_, repository, letters);
}

bool RepositoryPattern::covers(const RepositoryPattern& other, LetterCase letters) const {
  // Read as a path, the other's wildcards are characters that only a wildcard of ours can match;
  // that wildcard then matches whatever the other's may stand for.
  return path_matches(text_, other.text_, letters);
}

std::string RepositoryPattern::literal_prefix() const {
  const std::size_t star = text_.find('*');
  if (star == std::string::npos) return text_;
  const std::size_t slash = text_.rfind('/', star);
  if (slash == std::string::npos) return {};
  const std::string_view rest = std::string_view(text_).substr(slash + 1);
  return rest == "*" || rest == "**" ? text_.substr(0, slash + 1) : std::string();
}

const RepositoryPattern* Rights::giving(std::string_view repository, LetterCase letters) const {
  const auto found = std::find_if(repositories.begin(), repositories.end(),
                                  [&](const auto& pattern) { return pattern.matches(repository, letters); });
  return found == repositories.end() ? nullptr : &*found;
}

bool is_administrator(uid_t uid) { return uid == 0 || uid == geteuid(); }

std::optional<uid_t> Names::user(const std::string& name) {
  const auto [entry, missing] = users_.try_emplace(name);
  if (missing) entry->second = user_id(name);
  return entry->second;
}

std::optional<gid_t> Names::group(const std::string& name) {
  const auto [entry, missing] = groups_.try_emplace(name);
  if (missing) entry->second = group_id(name);
  return entry->second;
}

bool admits(const Allow& allow, const Caller& caller) {
  Names names;
  return admits(allow, caller, names);
}

bool admits(const Allow& allow, const Caller& caller, Names& names) {
  if (is_administrator(caller.uid)) return true;
  for (const auto& name : allow.users)
    if (names.user(name) == caller.uid) return true;
  for (const auto& name : allow.groups) {
    const auto id = names.group(name);
    if (!id) continue;
    if (*id == caller.gid || std::find(caller.groups.begin(), caller.groups.end(), *id) != caller.groups.end())
      return true;
  }
  return false;
}

}  // namespace mintfs::broker
