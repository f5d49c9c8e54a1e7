#include "proxy/egress.h"

#include "broker/encoding.h"
#include "proxy/message.h"

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>
#include <boost/url/parse.hpp>

#include <algorithm>
#include <cctype>
#include <initializer_list>
#include <stdexcept>
#include <utility>

namespace mintfs::proxy {
namespace {

namespace ip = boost::asio::ip;

constexpr std::uint16_t kDefaultPort = 1080;  // as curl has it

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

broker::Secret basic_line(std::string_view user, std::string_view password) {
  std::string pair = std::string(user) + ":" + std::string(password);
  std::string encoded(broker::base64_size(pair.size()), '\0');
  broker::base64_encode(pair, encoded.data());
  std::string line = "Proxy-Authorization: Basic " + encoded + "\r\n";
  broker::Secret secret{std::string_view(line)};
  for (auto* each : {&pair, &encoded, &line}) broker::wipe(*each);
  return secret;
}

// "http://user:password@proxy.example:3128", or without the scheme as curl takes it. `name` says where it stood; the
// value is not repeated, since it may hold a password.
std::unique_ptr<EgressProxy> parse_proxy(std::string_view text, const std::string& name) {
  if (text.empty()) return nullptr;
  const std::string whole =
      text.find("://") == std::string_view::npos ? "http://" + std::string(text) : std::string(text);
  const auto url = boost::urls::parse_uri(whole);
  if (!url || lower(std::string_view(url->scheme().data(), url->scheme().size())) != "http" ||
      url->host_address().empty())
    throw std::runtime_error("the proxy in " + name +
                             " is no http:// URL, the only kind that mintfsd can pass through; set proxy.egress to one "
                             "or to \"none\"");
  auto proxy = std::make_unique<EgressProxy>();
  proxy->host = lower(url->host_address());
  proxy->port = url->has_port() && url->port_number() != 0 ? url->port_number() : kDefaultPort;
  if (url->has_userinfo()) proxy->authorization = basic_line(url->user(), url->password());
  return proxy;
}

bool is_loopback(const std::string& host) {
  boost::system::error_code error;
  const auto address = ip::make_address(host, error);
  return error ? host == "localhost" || host.ends_with(".localhost") : address.is_loopback();
}

bool in_network(const ip::address& address, const std::string& network) {
  boost::system::error_code error;
  if (address.is_v4()) {
    const auto range = ip::make_network_v4(network, error);
    if (error) return false;
    const auto canonical = range.canonical();
    return ip::make_network_v4(address.to_v4(), canonical.prefix_length()).canonical() == canonical;
  }
  const auto range = ip::make_network_v6(network, error);
  if (error) return false;
  const auto canonical = range.canonical();
  return ip::make_network_v6(address.to_v6(), canonical.prefix_length()).canonical() == canonical;
}

}  // namespace

Egress::Egress(const std::string& setting, const Environment& environment) {
  // The first that is set, as curl has it: not HTTP_PROXY, which a CGI program would take from a request.
  const auto from_environment = [&](std::initializer_list<const char*> names) -> std::unique_ptr<EgressProxy> {
    for (const char* name : names)
      if (const char* value = environment(name); value != nullptr && *value != '\0') return parse_proxy(value, name);
    return nullptr;
  };
  if (setting == "none") return;
  if (setting == "environment") {
    https_ = from_environment({"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"});
    http_ = from_environment({"http_proxy", "all_proxy", "ALL_PROXY"});
  } else {
    https_ = parse_proxy(setting, "proxy.egress");
    http_ = parse_proxy(setting, "proxy.egress");
  }
  for (const char* name : {"no_proxy", "NO_PROXY"}) {
    const char* value = environment(name);
    if (value == nullptr || *value == '\0') continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find_first_of(", "), rest.size());
      if (end > 0) exceptions_.push_back(lower(rest.substr(0, end)));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    break;
  }
}

const EgressProxy* Egress::find(const broker::Address& address) const {
  const auto& proxy = address.tls() ? https_ : http_;
  return !proxy || is_loopback(address.host) || is_excepted(address) ? nullptr : proxy.get();
}

// "*", a name with or without a leading dot that stands for what is below it too, an address, a network; each
// with ":PORT" where it is meant for that port only.
bool Egress::is_excepted(const broker::Address& address) const {
  boost::system::error_code not_literal;
  const auto literal = ip::make_address(address.host, not_literal);
  for (std::string_view entry : exceptions_) {
    if (entry == "*") return true;
    const std::string port = ":" + std::to_string(address.port);
    if (not_literal && entry.ends_with(port)) entry.remove_suffix(port.size());
    if (!not_literal && (entry == address.host || in_network(literal, std::string(entry)))) return true;
    if (!not_literal) continue;
    while (entry.starts_with('.')) entry.remove_prefix(1);
    if (entry.empty()) continue;
    const std::string_view host = address.host;
    if (host == entry || (host.ends_with(entry) && host[host.size() - entry.size() - 1] == '.')) return true;
  }
  return false;
}

std::string connect_request(const broker::Address& address) {
  const std::string name = address.host.find(':') == std::string::npos ? address.host : "[" + address.host + "]";
  const std::string target = name + ":" + std::to_string(address.port);
  return "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n";
}

std::optional<bool> read_connect_answer(std::string_view head) {
  std::size_t from = 0;
  const std::size_t end = find_header_end(head, from);
  if (end == std::string_view::npos) return std::nullopt;
  const bool is_http = head.starts_with("HTTP/1.1 2") || head.starts_with("HTTP/1.0 2");
  return is_http && end == head.size();
}

}  // namespace mintfs::proxy
