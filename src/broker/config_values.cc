// The words of the configuration that mean something by themselves: names, addresses, durations.
#include "broker/config.h"

#include <boost/asio/ip/address.hpp>
#include <boost/url/parse.hpp>

#include <algorithm>
#include <cctype>
#include <charconv>

namespace mintfs::broker {
namespace {

bool is_name(std::string_view text) {
  const auto alphanumeric = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !text.empty() && text.size() <= 63 && alphanumeric(text.front()) && alphanumeric(text.back()) &&
         std::all_of(text.begin(), text.end(),
                     [&](char c) { return alphanumeric(c) || c == '-' || c == '.' || c == '_'; });
}

}  // namespace

std::optional<ConnectorName> ConnectorName::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  ConnectorName name;
  name.space = slash == std::string_view::npos ? "default" : text.substr(0, slash);
  name.name = slash == std::string_view::npos ? text : text.substr(slash + 1);
  if (!is_name(name.space) || !is_name(name.name)) return std::nullopt;
  return name;
}

std::optional<Address> Address::parse(std::string_view text) {
  const auto url = boost::urls::parse_uri(boost::urls::string_view(text.data(), text.size()));
  if (!url) return std::nullopt;
  Address address;
  address.scheme = std::string(url->scheme());
  std::transform(address.scheme.begin(), address.scheme.end(), address.scheme.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (address.scheme != "http" && address.scheme != "https") return std::nullopt;
  if (url->has_userinfo() || url->has_query() || url->has_fragment() || text.size() > 512) return std::nullopt;
  address.host = url->host_address();
  std::transform(address.host.begin(), address.host.end(), address.host.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const bool host_ok = std::all_of(address.host.begin(), address.host.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == ':';
  });
  if (address.host.empty() || !host_ok) return std::nullopt;
  address.port = address.tls() ? 443 : 80;
  if (url->has_port()) {
    if (url->port_number() == 0) return std::nullopt;
    address.port = url->port_number();
  }
  address.prefix = std::string(url->encoded_path());
  // Boost.URL takes what stands behind the digits of a port for a path: "http://host:80.example".
  if (!address.prefix.empty() && address.prefix.front() != '/') return std::nullopt;
  while (address.prefix.ends_with('/')) address.prefix.pop_back();
  for (const char c : address.prefix)
    if (c == '"' || c == '\\' || c == '%' || c == ';' || c == '#') return std::nullopt;
  if (address.prefix.find("//") != std::string::npos || (address.prefix + "/").find("/./") != std::string::npos ||
      (address.prefix + "/").find("/../") != std::string::npos)
    return std::nullopt;
  return address;
}

std::string Address::authority() const {
  std::string text = host.find(':') == std::string::npos ? host : "[" + host + "]";
  if (port != (tls() ? 443 : 80)) text += ":" + std::to_string(port);
  return text;
}

std::optional<ListenAddress> ListenAddress::parse(std::string_view text, bool tls) {
  constexpr std::size_t kLongestPath = 107;  // sun_path, unix(7)
  constexpr std::string_view kHttp = "http://", kHttps = "https://", kUnix = "unix:";
  ListenAddress address{.tls = tls};
  if (text.starts_with(kUnix)) {
    text.remove_prefix(kUnix.size());
    if (!text.starts_with('/') || text.ends_with('/') || text.size() > kLongestPath) return std::nullopt;
    address.socket = std::filesystem::path(text).lexically_normal();
    address.tls = false;  // nobody listens in there
    return address;
  }
  if (text.starts_with(kHttp) || text.starts_with(kHttps)) {
    address.tls = text.starts_with(kHttps);
    text.remove_prefix(address.tls ? kHttps.size() : kHttp.size());
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  boost::system::error_code error;
  boost::asio::ip::make_address(std::string(host), error);
  const auto number = std::from_chars(digits.data(), digits.data() + digits.size(), address.port);
  if (error || number.ec != std::errc() || number.ptr != digits.data() + digits.size()) return std::nullopt;
  address.host = host;
  return address;
}

std::string ListenAddress::text() const {
  if (is_unix()) return "unix:" + socket.string();
  const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return (tls ? "https://" : "http://") + name + ":" + std::to_string(port);
}

std::optional<std::chrono::seconds> parse_duration(std::string_view text) {
  constexpr std::int64_t kMost = 10LL * 365 * 86'400;
  std::int64_t total = 0;
  bool first = true;
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc()) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    std::int64_t unit = 1;
    if (!text.empty()) {
      switch (text.front()) {
        case 's':
          unit = 1;
          break;
        case 'm':
          unit = 60;
          break;
        case 'h':
          unit = 3600;
          break;
        case 'd':
          unit = 86'400;
          break;
        default:
          return std::nullopt;
      }
      text.remove_prefix(1);
    } else if (!first) {
      return std::nullopt;  // "1h30": minutes or seconds?
    }
    first = false;
    total += value * unit;
    if (total > kMost) return std::nullopt;
  }
  if (total == 0) return std::nullopt;
  return std::chrono::seconds(total);
}

}  // namespace mintfs::broker
