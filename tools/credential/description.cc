#include "credential/description.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace mintfs::credential {
namespace {

bool is_no(std::string_view value) {
  return value.empty() || value == "0" || value == "false" || value == "no" || value == "off";
}

std::optional<std::int64_t> number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value <= 0) return std::nullopt;
  return value;
}

struct Key {
  std::string_view name;
  std::optional<std::string_view> Description::*member;
};

constexpr std::array kKeys = {
    Key{"protocol", &Description::protocol}, Key{"host", &Description::host},
    Key{"path", &Description::path},         Key{"username", &Description::username},
    Key{"password", &Description::password}, Key{"oauth_refresh_token", &Description::oauth_refresh_token},
    Key{"authtype", &Description::authtype}, Key{"credential", &Description::credential},
};

void take(std::string_view key, std::string_view value, Description& description) {
  const auto* const known = std::find_if(kKeys.begin(), kKeys.end(), [&](const Key& each) { return each.name == key; });
  if (known != kKeys.end())
    description.*(known->member) = value;
  else if (key == "password_expiry_utc")
    description.password_expiry_utc = number(value);
  else if (key == "ephemeral")
    description.ephemeral = !is_no(value);
  else if (key == "capability[]")  // an empty one empties the list
    description.can_authtype = value == "authtype" || (description.can_authtype && !value.empty());
}

// The next line without its end; `rest` begins behind it.
std::string_view take_line(std::string_view& rest) {
  const std::size_t end = rest.find('\n');
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return line;
}

}  // namespace

bool Description::is_answerable() const {
  const auto is_there = [](const auto& value) { return !value || !value->empty(); };
  return is_there(protocol) && is_there(host);
}

std::optional<Description> parse_description(std::string_view input, std::string& problem) {
  Description description;
  if (input.size() > kMaxInput) {
    problem = "the description is longer than 262144 bytes";
    return std::nullopt;
  }
  const std::size_t first_end = input.find('\n');
  const bool crlf = first_end != std::string_view::npos && first_end != 0 && input[first_end - 1] == '\r';
  while (!input.empty()) {
    const bool ends = input.find('\n') != std::string_view::npos;
    std::string_view line = take_line(input);
    if (crlf && ends) {
      if (!line.ends_with('\r')) {
        problem = "some lines end in CRLF and some do not";
        return std::nullopt;
      }
      line.remove_suffix(1);
    }
    if (line.empty()) break;
    const std::size_t equals = line.find('=');
    if (line.size() > kMaxLine)
      problem = "a line is longer than 65535 bytes";
    else if (line.find_first_of(std::string_view("\r\0", 2)) != std::string_view::npos)
      problem = "a line holds a carriage return or NUL";
    else if (equals == std::string_view::npos)
      problem = "a line has no '='";
    if (!problem.empty()) return std::nullopt;
    take(line.substr(0, equals), line.substr(equals + 1), description);
  }
  return description;
}

}  // namespace mintfs::credential
