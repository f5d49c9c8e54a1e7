#include "broker/system_helper.h"

#include <algorithm>

namespace mintfs::broker {
namespace {

constexpr std::array<std::string_view, 5> kNames = {"cache", "store", "libsecret", "manager", "osxkeychain"};
constexpr std::size_t kMaxPath = 1024;

}  // namespace

bool is_system_helper(std::string_view text) {
  if (std::find(kNames.begin(), kNames.end(), text) != kNames.end()) return true;
  return text.size() > 1 && text.size() <= kMaxPath && text.front() == '/' && text.back() != '/' &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

bool is_credential_store(std::string_view text) { return text == kOwnMemory || is_system_helper(text); }

std::vector<std::string> helper_command(std::string_view helper, std::string_view operation,
                                        std::chrono::seconds lifetime) {
  if (helper.starts_with('/')) return {std::string(helper), std::string(operation)};
  std::vector<std::string> command = {"git", "credential-" + std::string(helper)};
  if (helper == "cache" && operation == "store")
    command.push_back("--timeout=" + std::to_string(std::max<std::int64_t>(lifetime.count(), 1)));
  command.emplace_back(operation);
  return command;
}

bool is_helper_variable(std::string_view name) {
  return std::find(kHelperVariables.begin(), kHelperVariables.end(), name) != kHelperVariables.end();
}

std::string to_lines(const CredentialPattern& place) {
  std::string lines;
  const auto add = [&](std::string_view key, const std::optional<std::string>& value) {
    if (value) lines.append(key).append("=").append(*value).append("\n");
  };
  add("protocol", place.protocol);
  add("host", place.host);
  add("path", place.path);
  add("username", place.username);
  return lines;
}

}  // namespace mintfs::broker
