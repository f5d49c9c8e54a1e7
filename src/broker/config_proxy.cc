// Reads [proxy] and [admin]: where the daemon listens.
#include "broker/config_section.h"

#include <algorithm>
#include <string>
#include <vector>

namespace mintfs::broker {

namespace {

constexpr std::size_t kMaxListeners = 16;
constexpr std::size_t kMaxOtherUrls = 64;

void read_tls(Section& section, Config& config) {
  auto& proxy = config.proxy;
  section.path("tls_certificate", proxy.tls_certificate);
  section.path("tls_key", proxy.tls_key);
  section.path("tls_ca", proxy.tls_ca);
  if (!proxy.tls_certificate.empty() && proxy.tls_key.empty())
    section.fail_at("tls_certificate", "needs its tls_key too");
  if (proxy.tls_certificate.empty() && section.has("tls_key")) section.fail_at("tls_key", "needs tls_certificate too");
  if (proxy.tls_certificate.empty() && section.has("tls_ca")) section.fail_at("tls_ca", "needs tls_certificate too");
}

void read_listen(Section& section, Config& config) {
  auto& proxy = config.proxy;
  const bool tls = !proxy.tls_certificate.empty();
  std::vector<ListenAddress> listen;
  section.text_or_texts("listen", [&](const std::string& text, const toml::node& node) {
    const auto address = ListenAddress::parse(text, tls);
    if (!address)
      section.fail(node, "listen",
                   "'" + text +
                       "' must be ADDRESS:PORT such as \"127.0.0.1:8418\" or \"[::1]:8418\", "
                       "with http:// or https:// before it, or \"unix:/PATH\"");
    if (address->tls && !tls) section.fail(node, "listen", "'" + text + "' needs tls_certificate and tls_key");
    if (std::find(listen.begin(), listen.end(), *address) != listen.end())
      section.fail(node, "listen", "'" + text + "' is there twice");
    listen.push_back(*address);
  });
  if (!section.has("listen")) {
    listen = proxy.listen;
    listen.front().tls = tls;
  }
  if (listen.empty() || listen.size() > kMaxListeners)
    section.fail_at("listen", "must name 1 to " + std::to_string(kMaxListeners) + " addresses");
  proxy.listen = std::move(listen);
  const auto speaks_tls = [](const ListenAddress& address) { return address.tls; };
  if (tls && std::none_of(proxy.listen.begin(), proxy.listen.end(), speaks_tls))
    section.fail_at("tls_certificate", "is of no use: no 'listen' is https");
}

}  // namespace

void read_proxy(Section& section, Config& config) {
  auto& proxy = config.proxy;
  read_tls(section, config);
  read_listen(section, config);
  if (std::string text; section.text("url", text)) {
    const auto url = Address::parse(text);
    if (!url) section.fail_at("url", "must be an http or https URL without user name, query and fragment");
    proxy.url = url->text();
  }
  section.texts("other_urls", [&](const std::string& text, const toml::node& node) {
    const auto url = Address::parse(text);
    if (!url)
      section.fail(node, "other_urls",
                   "'" + text + "' must be an http or https URL without user name, query and fragment");
    if (proxy.other_urls.size() >= kMaxOtherUrls)
      section.fail(node, "other_urls", "is one too many; there may be " + std::to_string(kMaxOtherUrls));
    proxy.other_urls.push_back(url->text());
  });
  const auto is_unix = [](const ListenAddress& address) { return address.is_unix(); };
  if (proxy.url.empty() && std::all_of(proxy.listen.begin(), proxy.listen.end(), is_unix))
    section.fail_at("listen", "is a Unix socket only; say what git is told by 'url'");
  if (section.text("egress", proxy.egress) && proxy.egress != "none" && proxy.egress != "environment") {
    const auto egress = Address::parse(proxy.egress);
    if (!egress || egress->tls() || !egress->prefix.empty())
      section.fail_at("egress", "must be \"environment\", \"none\" or an http URL without user name and path");
  }
  section.count("threads", proxy.threads, 1, 64);
  section.count("max_connections", proxy.max_connections, 1, 1'000'000);
  section.count("max_per_lease", proxy.max_per_lease, 1, 1'000'000);
  section.duration("header_timeout", proxy.header_timeout);
  section.duration("idle_timeout", proxy.idle_timeout);
  section.duration("body_timeout", proxy.body_timeout);
  section.duration("upstream_timeout", proxy.upstream_timeout);
  section.duration("connect_timeout", proxy.connect_timeout);
  section.duration("drain_timeout", proxy.drain_timeout);
}

void read_admin(Section& section, Config& config) {
  std::string text;
  auto& admin = config.admin;
  if (!section.text("listen", text)) return;
  admin.socket.clear();
  if (text == "none") return;
  const auto address = text.find("://") == std::string::npos ? ListenAddress::parse(text, false) : std::nullopt;
  if (address && address->is_unix()) {
    admin.socket = address->socket;
  } else if (address) {
    admin.host = address->host;
    admin.port = address->port;
  } else {
    section.fail_at("listen", "must be \"unix:/PATH\", ADDRESS:PORT such as \"127.0.0.1:9418\", or \"none\"");
  }
}

}  // namespace mintfs::broker
