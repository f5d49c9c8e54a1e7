// The daemon's configuration: a TOML file read into plain structures.
//
// Everything is checked here, once: unknown keys, types, ranges, names, addresses. What comes out
// can be used without looking again. Secrets are named by file and are not opened here: that is
// done where they are used (src/proxy/credentials), so that `mintfs config check` runs unprivileged.
#pragma once

#include "broker/connector_class.h"
#include "broker/file_template.h"
#include "broker/package_format.h"
#include "broker/policy.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::broker {

// what() is "FILE:LINE:COLUMN: KEY: sentence" (without position where there is none), and one line: control
// characters, which a quoted key may hold, become '?'.
class ConfigError : public std::runtime_error {
 public:
  explicit ConfigError(std::string message);
};

// "namespace/name"; the namespace is "default" where none is given. Both parts are 1 to 63 of
// [a-z0-9._-] and begin and end with a letter or digit, so they need no quoting anywhere.
struct ConnectorName {
  std::string space;
  std::string name;

  static std::optional<ConnectorName> parse(std::string_view text);
  std::string text() const { return space + "/" + name; }
  auto operator<=>(const ConnectorName&) const = default;
};

// The same as views, to look one up by.
struct ConnectorNameView {
  std::string_view space;
  std::string_view name;
  friend auto operator<=>(const ConnectorName& one, const ConnectorNameView& other) {
    return ConnectorNameView{one.space, one.name} <=> other;
  }
  auto operator<=>(const ConnectorNameView&) const = default;
};

// An http or https URL without user, query and fragment.
struct Address {
  std::string scheme;  // "http" or "https"
  std::string host;    // lower case; an IPv6 address without brackets
  std::uint16_t port = 0;
  std::string prefix;  // "" or "/path", never with a trailing slash

  static std::optional<Address> parse(std::string_view url);
  bool tls() const { return scheme == "https"; }
  std::string authority() const;  // host, in brackets for IPv6, and the port where not the default
  std::string origin() const { return scheme + "://" + authority(); }
  std::string text() const { return origin() + prefix; }
  bool operator==(const Address&) const = default;
};

// Where the proxy listens.
struct ListenAddress {
  std::string host = "127.0.0.1";  // an IP address; an IPv6 one without brackets
  std::uint16_t port = 8418;       // 0: any free port
  std::filesystem::path socket{};  // not empty: a Unix socket instead
  bool tls = false;

  // "127.0.0.1:8418", "[::1]:8418", either behind "http://" or "https://", or "unix:/run/mintfs/proxy.sock".
  // Without a scheme `tls` decides.
  static std::optional<ListenAddress> parse(std::string_view text, bool tls);
  bool is_unix() const { return !socket.empty(); }
  std::string text() const;  // as parse() reads it, the scheme included
  bool operator==(const ListenAddress&) const = default;
};

struct AuthConfig {
  // token: as the connector's class sends its own tokens; header: in a header field of the administrator's choice.
  enum class Type { basic, bearer, token, header };
  Type type = Type::basic;
  std::string username{};               // basic only
  std::string header_name{};            // header only
  std::filesystem::path secret_file{};  // password_file, token_file or value_file
  bool operator==(const AuthConfig&) const = default;
};

struct ConnectorConfig {
  ConnectorName name;
  ConnectorClass connector_class = ConnectorClass::git;
  Address address;
  AuthConfig auth;
  Rights rights;                                 // operations and repositories
  LetterCase letter_case = LetterCase::counts;   // in the repositories' names
  std::map<PackageFormat, std::string> formats;  // of nexus and jfrog: the repository for each one's clients
  std::int32_t priority = 0;                     // of two that claim an address the higher has it: broker/claims.h
  Allow allow;
  std::filesystem::path ca_file;             // empty: the system's authorities
  std::vector<std::string> allow_addresses;  // link-local addresses that are meant
  std::vector<Address> lfs_origins;          // where a job may present a credential that the server gave it there
  std::vector<Address> redirect_origins;     // where a job may be sent to for content, without any credential
  std::vector<Address> token_origins;        // of token services that may be given the credential; the server's own may
  bool lfs = true;                           // Git LFS: a download is a fetch, an upload is a push
  bool plain_get = false;                    // pages of the host that belong to no repository may be read
};

// The connectors of one configuration; never changes, replaced as a whole on reload.
using Connectors = std::map<ConnectorName, ConnectorConfig, std::less<>>;
using ConnectorsPtr = std::shared_ptr<const Connectors>;

struct Config {
  struct {
    std::filesystem::path runtime_dir;  // empty, as state_dir: not set, and there is no default
    std::filesystem::path state_dir;
  } daemon;
  struct {
    std::chrono::seconds ttl{30 * 60};
  } token;
  struct {
    std::chrono::seconds default_ttl{12 * 3600};
    std::chrono::seconds max_ttl{24 * 3600};
    std::uint32_t max_per_user = 256;
    bool bind_cgroup = false;  // bind = "cgroup": leases are bound to their opener's cgroup
  } lease;
  struct {
    std::vector<ListenAddress> listen{ListenAddress{}};
    std::string url;                        // empty: the first that is not a Unix socket
    std::vector<std::string> other_urls;    // what a lease may ask to be told in its place
    std::string egress = "environment";     // "none", or the http proxy by which upstreams are reached
    std::filesystem::path tls_certificate;  // PEM, the server's own first, then its issuers
    std::filesystem::path tls_key;
    std::filesystem::path tls_ca;  // PEM: whom clients must trust for it; empty: see docs/configuration.md
    std::uint32_t threads = 1;
    std::uint32_t max_connections = 4096;
    std::uint32_t max_per_lease = 256;           // requests at once
    std::chrono::seconds header_timeout{10};     // from the first byte of a request to its last header byte
    std::chrono::seconds idle_timeout{60};       // between requests
    std::chrono::seconds body_timeout{60};       // for a body to move on by 1 KiB
    std::chrono::seconds upstream_timeout{120};  // until the upstream's header; git servers think long
    std::chrono::seconds connect_timeout{10};
    std::chrono::seconds drain_timeout{30};  // for transfers under way at SIGTERM
  } proxy;
  // Where monitors ask: at a Unix socket or, where that is empty, an address and port; nowhere where that is
  // empty as well.
  struct {
    std::filesystem::path socket;  // default: <runtime_dir>/admin.sock
    std::string host;
    std::uint16_t port = 0;
  } admin;
  struct {
    std::filesystem::path file;  // default: <state_dir>/audit.log
  } audit;
  struct {
    std::string level = "info";
  } log;
  // Of a gateway in a cluster; see docs/kubernetes-design.md.
  struct {
    std::string server;                // https://HOST:PORT; empty, as the next two: as a pod finds it
    std::filesystem::path token_file;  // of our own service account
    std::filesystem::path ca_file;
    ListenAddress listen{.host = "0.0.0.0", .port = 8443, .tls = true};  // where nodes open leases
    std::filesystem::path tls_certificate;
    std::filesystem::path tls_key;
    ConnectorName node_account{"connectors-system", "mintfs-node"};  // of the node daemons
    std::chrono::seconds key_wait{150};  // from when a new master key is seen until it signs
    bool open_own_namespace = false;     // pods need no role for the connectors of their own namespace
  } kubernetes;
  // Of a node in a cluster: whom it asks for the leases of its pods.
  struct {
    Address gateway;                   // https, without a path; no host: not set
    std::filesystem::path ca_file;     // PEM: whom to trust for it
    std::filesystem::path token_file;  // of the node daemon's service account, for the audience of the gateways
  } node;
  std::vector<ConnectorConfig> connectors;
  FileConfigs files;
};

// Reads and checks `file`; throws ConfigError.
Config load_config(const std::filesystem::path& file);
// The same for text that is already here; `name` stands for the file in errors.
Config parse_config(std::string_view text, const std::string& name);

// <runtime_dir> where nothing else is said: /run/mintfs for root, $XDG_RUNTIME_DIR/mintfs otherwise.
// Empty without that variable: a name in /tmp could be made by anybody.
std::filesystem::path default_runtime_dir();

// "90", "30s", "30m", "2h", "1d" or a sum like "1h30m"; nothing when malformed, zero or over 10 years.
std::optional<std::chrono::seconds> parse_duration(std::string_view text);

}  // namespace mintfs::broker
