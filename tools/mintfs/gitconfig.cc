#include "mintfs/gitconfig.h"

namespace mintfs::cli {
namespace {

// What stands between `before` and `after` at the start and the end of a line.
std::optional<std::string_view> between(std::string_view line, std::string_view before, std::string_view after) {
  if (!line.starts_with(before) || !line.ends_with(after) || line.size() < before.size() + after.size())
    return std::nullopt;
  return line.substr(before.size(), line.size() - before.size() - after.size());
}

std::string_view trimmed(std::string_view line) {
  while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
  while (!line.empty() && (line.back() == ' ' || line.back() == '\r')) line.remove_suffix(1);
  return line;
}

}  // namespace

std::optional<ProxyAccess> find_proxy_access(std::string_view gitconfig) {
  std::string_view url;
  while (!gitconfig.empty()) {
    const std::size_t end = gitconfig.find('\n');
    const std::string_view line = trimmed(gitconfig.substr(0, end));
    gitconfig.remove_prefix(end == std::string_view::npos ? gitconfig.size() : end + 1);
    if (line.starts_with('[')) url = between(line, "[http \"", "\"]").value_or("");
    auto value = between(line, "extraHeader = Authorization: ", "");
    if (!value) value = between(line, "extraHeader = \"Authorization: ", "\"");
    if (value && !url.empty()) return ProxyAccess{std::string(url), std::string(*value)};
  }
  return std::nullopt;
}

}  // namespace mintfs::cli
