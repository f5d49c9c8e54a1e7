#include "broker/config.h"

#include "parts.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <fstream>

namespace mintfs::broker {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

// What parse_config says against `text`, without the file's name; empty when it says nothing.
std::string refusal(std::string_view text) {
  try {
    parse_config(text, "mintfs.toml");
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), StartsWith("mintfs.toml:"));
    return std::string(error.what()).substr(12);
  }
  return {};
}

// Four lines, of which each case changes one or adds a fifth.
constexpr std::string_view kConnector = R"([[connector]]
name = "github"
address = "https://github.com"
auth = { type = "basic", username = "bot", password_file = "/secrets/github" }
)";

std::string connector_with(std::string_view line) { return std::string(kConnector) + std::string(line) + "\n"; }

std::string connector_where(std::string_view from, std::string_view to) {
  std::string text(kConnector);
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(Config, ReadsEverythingThatTheDesignShows) {
  const Config config = parse_config(R"(
[daemon]
runtime_dir = "/run/x/../mintfs"
state_dir   = "/var/lib/mintfs"
[token]
ttl = "45m"
[lease]
default_ttl = "2h"
max_ttl = "1d"
max_per_user = 7
[proxy]
listen = "[::1]:8419"
url = "http://Proxy.example.org:8419/"
threads = 2
max_connections = 10
max_per_lease = 3
header_timeout = "1s"
idle_timeout = "2s"
body_timeout = "3s"
upstream_timeout = "4s"
connect_timeout = "5s"
drain_timeout = "6s"
[admin]
listen = "unix:/run/admin/here.sock"
[audit]
file = "/var/log/mintfs.log"
[log]
level = "debug"
[[connector]]
name = "github"
class = "git"
address = "https://GitHub.com/"
auth = { type = "basic", username = "bot", password_file = "/etc/mintfs/secrets/github" }
repositories = ["acme/*", "open/app.git"]
operations = ["fetch"]
allow = { users = ["gitlab-runner"], groups = ["ci", "1000"] }
ca_file = "/etc/ca.pem"
allow_addresses = ["169.254.1.1", "FE80::1"]
plain_get = true
lfs = false
refs = { allow = ["refs/heads/bot/*", "refs/tags/*"], deny = ["refs/tags/v*"], deny_delete = true, deny_force = false }
lfs_origins = ["https://LFS.github.com", "http://10.0.0.2:8080/"]
[[connector]]
name = "team-a/gitlab"
address = "http://10.0.0.1:8080/git"
auth = { type = "bearer", token_file = "/etc/mintfs/secrets/gitlab" }
)",
                                     "mintfs.toml");
  EXPECT_EQ(config.daemon.runtime_dir, "/run/mintfs");
  EXPECT_EQ(config.daemon.state_dir, "/var/lib/mintfs");
  EXPECT_EQ(config.token.ttl, 45min);
  EXPECT_EQ(config.lease.default_ttl, 2h);
  EXPECT_EQ(config.lease.max_ttl, 24h);
  EXPECT_EQ(config.lease.max_per_user, 7u);
  ASSERT_EQ(config.proxy.listen.size(), 1u);
  EXPECT_EQ(config.proxy.listen[0].text(), "http://[::1]:8419");
  EXPECT_EQ(config.proxy.url, "http://proxy.example.org:8419");
  EXPECT_EQ(config.proxy.threads, 2u);
  EXPECT_EQ(config.proxy.max_connections, 10u);
  EXPECT_EQ(config.proxy.max_per_lease, 3u);
  EXPECT_EQ(config.proxy.header_timeout, 1s);
  EXPECT_EQ(config.proxy.idle_timeout, 2s);
  EXPECT_EQ(config.proxy.body_timeout, 3s);
  EXPECT_EQ(config.proxy.upstream_timeout, 4s);
  EXPECT_EQ(config.proxy.connect_timeout, 5s);
  EXPECT_EQ(config.proxy.drain_timeout, 6s);
  EXPECT_EQ(config.admin.socket, "/run/admin/here.sock");
  EXPECT_EQ(config.audit.file, "/var/log/mintfs.log");
  EXPECT_EQ(config.log.level, "debug");
  ASSERT_EQ(config.connectors.size(), 2u);
  const auto& github = config.connectors[0];
  EXPECT_EQ(github.name.text(), "default/github");
  EXPECT_EQ(github.address.text(), "https://github.com");
  EXPECT_EQ(github.auth.type, AuthConfig::Type::basic);
  EXPECT_EQ(github.auth.username, "bot");
  EXPECT_EQ(github.auth.secret_file, "/etc/mintfs/secrets/github");
  ASSERT_EQ(github.rights.repositories.size(), 2u);
  EXPECT_EQ(github.rights.repositories[1].text(), "open/app");
  EXPECT_EQ(github.rights.operations, Operations::only(Operation::fetch));
  EXPECT_THAT(github.allow.users, ElementsAre("gitlab-runner"));
  EXPECT_THAT(github.allow.groups, ElementsAre("ci", "1000"));
  EXPECT_EQ(github.ca_file, "/etc/ca.pem");
  EXPECT_THAT(github.allow_addresses, ElementsAre("169.254.1.1", "fe80::1"));
  EXPECT_TRUE(github.plain_get);
  EXPECT_FALSE(github.lfs);
  ASSERT_EQ(github.rights.references.allow.size(), 2u);
  EXPECT_EQ(github.rights.references.allow[1].text(), "refs/tags/*");
  EXPECT_EQ(github.rights.references.deny.at(0).text(), "refs/tags/v*");
  EXPECT_FALSE(github.rights.references.deny_create);
  EXPECT_TRUE(github.rights.references.deny_delete);
  ASSERT_EQ(github.lfs_origins.size(), 2u);
  EXPECT_EQ(github.lfs_origins[0].text(), "https://lfs.github.com");
  EXPECT_EQ(github.lfs_origins[1].text(), "http://10.0.0.2:8080");
  const auto& gitlab = config.connectors[1];
  EXPECT_EQ(gitlab.name.text(), "team-a/gitlab");
  EXPECT_EQ(gitlab.address.text(), "http://10.0.0.1:8080/git");
  EXPECT_EQ(gitlab.auth.type, AuthConfig::Type::bearer);
  EXPECT_EQ(gitlab.auth.secret_file, "/etc/mintfs/secrets/gitlab");
  EXPECT_FALSE(gitlab.rights.restricts_repositories());
  EXPECT_EQ(gitlab.rights.operations, Operations::all());
  EXPECT_FALSE(gitlab.plain_get);
  EXPECT_TRUE(gitlab.lfs);
  EXPECT_FALSE(gitlab.rights.references.restrict());
}

TEST(Config, NamesTheRepositoryOfEachFormatOfAServer) {
  const std::string all =
      "class = \"nexus\"\nformats = { npm = \"npm-group\", pypi = \"p.y_1\", maven = \"M\", cargo = \"c\" }";
  const auto connector = parse_config(connector_with(all), "x").connectors.at(0);
  const std::map<PackageFormat, std::string> named = {{PackageFormat::npm, "npm-group"},
                                                      {PackageFormat::pypi, "p.y_1"},
                                                      {PackageFormat::maven, "M"},
                                                      {PackageFormat::cargo, "c"}};
  EXPECT_EQ(connector.formats, named);
  EXPECT_TRUE(parse_config(connector_with("class = \"jfrog\""), "x").connectors.at(0).formats.empty());
}

TEST(Config, MayBeEmpty) {
  const Config config = parse_config("", "mintfs.toml");
  EXPECT_EQ(config.daemon.runtime_dir, default_runtime_dir());
  EXPECT_EQ(config.audit.file, config.daemon.state_dir / "audit.log");
  EXPECT_EQ(config.admin.socket, config.daemon.runtime_dir / "admin.sock");
  EXPECT_EQ(config.token.ttl, 30min);
  ASSERT_EQ(config.proxy.listen.size(), 1u);
  EXPECT_EQ(config.proxy.listen[0].text(), "http://127.0.0.1:8418");
  EXPECT_TRUE(config.connectors.empty());
}

TEST(Config, ListensInSeveralPlaces) {
  const Config config = parse_config(R"([proxy]
listen = ["127.0.0.1:8418", "http://[::1]:0", "unix:/run/mintfs/../p.sock", "https://0.0.0.0:8443"]
tls_certificate = "/c"
tls_key = "/k"
)",
                                     "x");
  std::vector<std::string> texts;
  for (const auto& address : config.proxy.listen) texts.push_back(address.text());
  // Where a certificate is given, an address without a scheme is https.
  EXPECT_EQ(texts, (std::vector<std::string>{"https://127.0.0.1:8418", "http://[::1]:0", "unix:/run/p.sock",
                                             "https://0.0.0.0:8443"}));
}

TEST(Config, PutsTheAuditLogIntoTheStateDirectory) {
  EXPECT_EQ(parse_config("[daemon]\nstate_dir = \"/srv/state\"", "x").audit.file, "/srv/state/audit.log");
}

TEST(Config, NamesLineColumnAndKeyOfWhatIsWrong) {
  struct Case {
    std::string text, says;
  };
  for (const auto& each : std::vector<Case>{
           // The form of the file.
           {"[daemon", "1:8: syntax: "},
           {"[daemon]\nruntime_dir = /run", "2:15: syntax: "},
           {"[daemon]\n[daemon]", "2:1: syntax: "},
           {"[%", "1:2: syntax: "},  // an assertion of toml++ 3.3 where it is used from its header alone
           {"a = \"\xff\"", "1:5: syntax: "},
           // Unknown keys, at each level.
           {"colour = 1",
            "1:1: colour: unknown key; known here: admin, audit, connector, daemon, file, kubernetes, lease, log, "
            "node, proxy, token"},
           {"[deamon]", "1:2: deamon: unknown key"},
           {"[daemon]\n  state = \"/x\"", "2:3: daemon.state: unknown key; known here: runtime_dir, state_dir"},
           {"[token]\nlife = \"1m\"", "2:1: token.life: unknown key; known here: ttl"},
           {"[lease]\nttl = \"1m\"", "2:1: lease.ttl: unknown key"},
           {"[proxy]\nport = 1", "2:1: proxy.port: unknown key"},
           {"[audit]\npath = \"/x\"", "2:1: audit.path: unknown key"},
           {"[log]\nfile = \"/x\"", "2:1: log.file: unknown key"},
           {connector_with("alow = {}"), "5:1: connector.alow: unknown key"},
           {connector_with("allow = { user = [\"x\"] }"),
            "5:11: connector.allow.user: unknown key; known here: groups, users"},
           {connector_with("operation = [\"fetch\"]"),
            "5:1: connector.operation: unknown key; known here: address, allow, allow_addresses, auth, ca_file, "
            "case_insensitive, class, formats, lfs, lfs_origins, name, operations, plain_get, priority, "
            "redirect_origins, refs, "
            "repositories, token_origins"},
           {connector_where("username", "password = \"hunter2\", username"),
            "4:26: connector.auth.password: unknown key"},
           {connector_where("username", "token_file = \"/x\", username"),
            "4:26: connector.auth.token_file: unknown key"},
           // Types.
           {"daemon = 1", "1:10: daemon: must be a table"},
           {"connector = 1", "1:13: connector: must be written as [[connector]]"},
           {"[connector]\nname = \"x\"", "1:1: connector: must be written as [[connector]]"},
           {"connector = [1]", "1:14: connector: must be written as [[connector]]"},
           {"[daemon]\nruntime_dir = 1", "2:15: daemon.runtime_dir: must be a string"},
           {"[daemon]\nruntime_dir = \"\"", "2:15: daemon.runtime_dir: must not be empty"},
           {"[daemon]\nruntime_dir = \"run\"", "2:15: daemon.runtime_dir: must be an absolute path"},
           {"[daemon]\nstate_dir = \"/a\\nb\"", "2:13: daemon.state_dir: must be printable ASCII"},
           {"[audit]\nfile = \"audit.log\"", "2:8: audit.file: must be an absolute path"},
           {"[token]\nttl = 30", "2:7: token.ttl: must be a duration such as"},
           {"[token]\nttl = \"0s\"", "2:7: token.ttl: must be a duration such as"},
           {"[lease]\nmax_ttl = \"1w\"", "2:11: lease.max_ttl: must be a duration such as"},
           {"[lease]\nmax_per_user = 0", "2:16: lease.max_per_user: must be a number from 1 to 1000000"},
           {"[lease]\nmax_per_user = -1", "2:16: lease.max_per_user: must be a number"},
           {"[lease]\nmax_per_user = 4294967297", "2:16: lease.max_per_user: must be a number"},
           {"[lease]\nmax_per_user = \"1\"", "2:16: lease.max_per_user: must be a number"},
           {"[lease]\nmax_per_user = 1.5", "2:16: lease.max_per_user: must be a number"},
           {"[proxy]\nthreads = 65", "2:11: proxy.threads: must be a number from 1 to 64"},
           {"[log]\nlevel = \"loud\"", "2:9: log.level: must be trace, debug, info, warn or error"},
           // The proxy.
           {"[proxy]\nlisten = \"8418\"", "2:10: proxy.listen: '8418' must be ADDRESS:PORT"},
           {"[proxy]\nlisten = \":8418\"", "2:10: proxy.listen: ':8418' must be"},
           {"[proxy]\nlisten = \"localhost:8418\"", "2:10: proxy.listen: 'localhost:8418' must be"},
           {"[proxy]\nlisten = \"127.0.0.1:\"", "2:10: proxy.listen: '127.0.0.1:' must be"},
           {"[proxy]\nlisten = \"127.0.0.1:99999\"", "2:10: proxy.listen: '127.0.0.1:99999' must be"},
           {"[proxy]\nlisten = \"127.0.0.1:-1\"", "2:10: proxy.listen: '127.0.0.1:-1' must be"},
           {"[proxy]\nlisten = \"127.0.0.1:80x\"", "2:10: proxy.listen: '127.0.0.1:80x' must be"},
           {"[proxy]\nlisten = \"unix:relative\"", "2:10: proxy.listen: 'unix:relative' must be"},
           {"[proxy]\nlisten = \"unix:/run/p.sock\"", "2:10: proxy.listen: is a Unix socket only; say what git is"},
           {"[proxy]\nlisten = \"https://127.0.0.1:1\"",
            "2:10: proxy.listen: 'https://127.0.0.1:1' needs tls_certificate and tls_key"},
           {"[proxy]\nlisten = [\"127.0.0.1:1\", \"http://127.0.0.1:1\"]",
            "2:26: proxy.listen: 'http://127.0.0.1:1' is there twice"},
           {"[proxy]\nlisten = []", "2:10: proxy.listen: must name 1 to 16 addresses"},
           {"[proxy]\nlisten = 8418", "2:10: proxy.listen: must be a list of strings"},
           {"[proxy]\ntls_certificate = \"/c\"", "2:19: proxy.tls_certificate: needs its tls_key too"},
           {"[proxy]\ntls_key = \"/k\"", "2:11: proxy.tls_key: needs tls_certificate too"},
           {"[proxy]\ntls_ca = \"/k\"", "2:10: proxy.tls_ca: needs tls_certificate too"},
           {"[proxy]\nlisten = \"http://127.0.0.1:1\"\ntls_certificate = \"/c\"\ntls_key = \"/k\"",
            "3:19: proxy.tls_certificate: is of no use"},
           {"[proxy]\nurl = \"proxy:8418\"", "2:7: proxy.url: must be an http or https URL"},
           {"[admin]\nlisten = \"unix:here.sock\"", "2:10: admin.listen: must be \"unix:/PATH\", ADDRESS:PORT"},
           {"[admin]\nlisten = \"unix:127.0.0.1:80\"", "2:10: admin.listen: must be"},
           {"[admin]\nlisten = \"/run/admin.sock\"", "2:10: admin.listen: must be"},
           {"[admin]\nlisten = \"localhost:80\"", "2:10: admin.listen: must be"},
           {"[admin]\nlisten = \"\"", "2:10: admin.listen: must"},
           {"[admin]\nport = 1", "2:1: admin.port: unknown key"},
           // A connector.
           {"[[connector]]\naddress = \"https://x\"", "1:1: connector.name: is missing"},
           {"[[connector]]\nname = \"x\"", "1:1: connector.address: is missing"},
           {"[[connector]]\nname = \"x\"\naddress = \"https://x\"", "1:1: connector.auth: is missing"},
           {connector_where("\"github\"", "\"GitHub\""), "2:8: connector.name: must be \"name\" or \"namespace/name\""},
           {connector_where("\"github\"", "\"a/b/c\""), "2:8: connector.name: must be"},
           {connector_where("https://github.com", "ftp://github.com"),
            "3:11: connector.address: must be an http or https"},
           {connector_where("https://github.com", "https://u:hunter2@github.com"), "3:11: connector.address: must be"},
           {connector_with("class = \"svn\""), "5:9: connector.class: 'svn' is not known; known here: git, github, "},
           {connector_with("repositories = \"acme/*\""), "5:16: connector.repositories: must be a list of strings"},
           {connector_with("repositories = [1]"), "5:17: connector.repositories: must be a list of strings"},
           {connector_with("repositories = []"), "5:16: connector.repositories: is empty"},
           {connector_with("repositories = [\"a\", \"a/../b\"]"),
            "5:22: connector.repositories: 'a/../b' is not a pattern"},
           {connector_with("operations = []"), "5:14: connector.operations: is empty"},
           {connector_with("operations = [\"fetch\", \"delete\"]"), "5:24: connector.operations: 'delete' is neither"},
           {connector_with("allow = []"), "5:9: connector.allow: must be a table"},
           {connector_with("allow = { users = \"x\" }"), "5:19: connector.allow.users: must be a list of strings"},
           {connector_with("allow = { groups = [\"\"] }"), "5:21: connector.allow.groups: must be a list of strings"},
           {connector_with("ca_file = \"ca.pem\""), "5:11: connector.ca_file: must be an absolute path"},
           {connector_where("https", "http") + "ca_file = \"/ca.pem\"", "5:11: connector.ca_file: is of no use"},
           {connector_with("allow_addresses = [\"localhost\"]"),
            "5:20: connector.allow_addresses: 'localhost' is not an IP"},
           {connector_with("lfs_origins = [\"https://x.example/path\"]"),
            "5:16: connector.lfs_origins: 'https://x.example/path' is not an origin"},
           {connector_with("redirect_origins = [\"files.example\"]"),
            "5:21: connector.redirect_origins: 'files.example' is not an origin"},
           {connector_with("token_origins = [\"https://auth.example\"]"),
            "5:17: connector.token_origins: is of no use"},
           {connector_with("priority = 1001"), "5:12: connector.priority: must be a number from -1000 to 1000"},
           {connector_with("class = \"nexus\"\nformats = \"npm\""), "6:11: connector.formats: must be a table"},
           {connector_with("class = \"nexus\"\nformats = {}"), "6:11: connector.formats: is empty"},
           {connector_with("class = \"nexus\"\nformats = { deb = \"x\" }"),
            "6:13: connector.formats.deb: unknown key; known here: cargo, maven, npm, pypi"},
           {connector_with("class = \"jfrog\"\nformats = { npm = [\"x\"] }"),
            "6:19: connector.formats.npm: must be a string"},
           {connector_with("class = \"jfrog\"\nformats = { npm = \"a\", pypi = \"../b\" }"),
            "6:31: connector.formats.pypi: '../b' is not the name of a repository"},
           {connector_with(
                "class = \"nexus\"\nrepositories = [\"pypi-*\"]\nformats = { pypi = \"pypi-all\", cargo = \"c\" }"),
            "7:40: connector.formats.cargo: 'c' is none of the connector's repositories"},
           {connector_with("class = \"npm\"\nformats = { npm = \"x\" }"),
            "6:11: connector.formats: is of no use with this class"},
           {connector_with("plain_get = 1"), "5:13: connector.plain_get: must be true or false"},
           {connector_with("refs = [\"refs/heads/*\"]"), "5:8: connector.refs: must be a table"},
           {connector_with("refs = { allow = [] }"), "5:18: connector.refs.allow: is empty"},
           {connector_with("refs = { deny = [\"main\"] }"), "5:18: connector.refs.deny: 'main' is not a full name"},
           {connector_with("refs = { allow = [\"refs/**\"] }"), "5:19: connector.refs.allow: 'refs/**' is not a full"},
           {connector_with("refs = { alow = [\"refs/*\"] }"), "5:10: connector.refs.alow: unknown key"},
           {connector_with("refs = { deny_create = 1 }"), "5:24: connector.refs.deny_create: must be true or false"},
           {connector_with("refs = { deny_force = true }"),
            "5:23: connector.refs.deny_force: cannot be held by a proxy"},
           {connector_with("lfs = 0"), "5:7: connector.lfs: must be true or false"},
           {connector_with("case_insensitive = \"yes\""), "5:20: connector.case_insensitive: must be true or false"},
           {std::string(kConnector) + std::string(kConnector), "6:8: connector.name: 'default/github' is there twice"},
           {connector_where("\"github\"", "\"default/github\"") + std::string(kConnector),
            "6:8: connector.name: 'default/gith"},
           // Its credential.
           {connector_where("type = \"basic\", ", ""), "4:8: connector.auth.type: is missing"},
           {connector_where("\"basic\"", "\"digest\""),
            "4:17: connector.auth.type: must be \"basic\", \"bearer\", \"token\" or \"header\""},
           {connector_where("username = \"bot\", ", ""), "4:8: connector.auth.username: is missing"},
           {connector_where("\"bot\"", "\"b:ot\""), "4:37: connector.auth.username: must not hold a colon"},
           {connector_where(", password_file = \"/secrets/github\"", ""),
            "4:8: connector.auth.password_file: is missing"},
           {connector_where("/secrets/github", "secrets/github"),
            "4:60: connector.auth.password_file: must be an absolute"},
           {connector_where("\"basic\", username = \"bot\"", "\"bearer\""),
            "4:8: connector.auth.token_file: is missing"},
           {connector_where("\"basic\", username = \"bot\", password_file", "\"token\", token_file"),
            "4:17: connector.auth.type: \"token\" needs a class"},
           {connector_where("\"basic\", username = \"bot\", password_file", "\"header\", value_file"),
            "4:8: connector.auth.name: is missing"},
           {connector_where("\"basic\", username = \"bot\"", "\"header\", name = \"X-Api-Key\""),
            "4:8: connector.auth.value_file: is missing"},
       })
    EXPECT_THAT(refusal(each.text), StartsWith(each.says)) << each.text;
}

TEST(Config, KnowsOfOneHostThatItIgnoresLetterCase) {
  const auto letter_case = [](const std::string& text) { return parse_config(text, "f").connectors[0].letter_case; };
  const std::string elsewhere = connector_where("github.com", "gitlab.com");
  EXPECT_EQ(letter_case(std::string(kConnector)), LetterCase::ignored);
  EXPECT_EQ(letter_case(connector_with("case_insensitive = false")), LetterCase::counts);
  EXPECT_EQ(letter_case(elsewhere), LetterCase::counts);
  EXPECT_EQ(letter_case(elsewhere + "case_insensitive = true"), LetterCase::ignored);
  EXPECT_EQ(letter_case(connector_where("github.com", "github.com.example.org")), LetterCase::counts);
}

TEST(Config, KnowsEveryClassByItsName) {
  EXPECT_EQ(parse_config(kConnector, "f").connectors[0].connector_class, ConnectorClass::git);
  for (const ConnectorClass each : kConnectorClasses) {
    const std::string line = "class = \"" + std::string(to_string(each)) + "\"";
    EXPECT_EQ(parse_config(connector_with(line), "f").connectors[0].connector_class, each) << line;
  }
}

TEST(Config, SendsNoCredentialInAFieldThatAMessageOrAClientNeeds) {
  const auto with_name = [](std::string_view name) {
    return connector_where("\"basic\", username = \"bot\", password_file",
                           "\"header\", name = \"" + std::string(name) + "\", value_file");
  };
  for (const auto* name : {"X-Api-Key", "Authorization", "X-JFrog-Art-Api", "x-nuget-apikey", "Cookie"})
    EXPECT_EQ(parse_config(with_name(name), "f").connectors[0].auth.header_name, name);
  for (const auto* name : {"Host",
                           "content-length",
                           "Transfer-Encoding",
                           "CONNECTION",
                           "TE",
                           "Upgrade",
                           "Keep-Alive",
                           "Trailer",
                           "Proxy-Authorization",
                           "Expect",
                           "Accept",
                           "Accept-Encoding",
                           "If-None-Match",
                           "X-Forwarded-For",
                           "Forwarded",
                           "User-Agent",
                           "Git-Protocol",
                           "X Api",
                           "X_Api",
                           "X-Api:",
                           "-X"})
    EXPECT_THAT(refusal(with_name(name)), HasSubstr("connector.auth.name: ")) << name;
}

TEST(Config, NeverRepeatsAPasswordThatStandsInTheWrongPlace) {
  for (const auto& text : {connector_where("username", "password = \"hunter2\", username"),
                           connector_where("https://github.com", "https://bot:hunter2@github.com")})
    EXPECT_THAT(refusal(text), testing::Not(HasSubstr("hunter2")));
}

TEST(Config, SaysWhatIsWrongInOneLine) {
  for (const char* text : {"a = t\n", "\"two\\nlines\" = 1\n", "[\"\\u001b[2J\"]\n"}) {
    const std::string said = refusal(text);
    EXPECT_FALSE(said.empty()) << text;
    EXPECT_EQ(said.find_first_of("\n\x1b"), std::string::npos) << said;
  }
}

TEST(Config, HasABoundOfItsConnectors) {
  std::string text;
  for (int i = 0; i <= 10'000; ++i) text += connector_where("\"github\"", "\"c" + std::to_string(i) + "\"");
  EXPECT_THAT(refusal(text), HasSubstr(": connector: must be at most 10000, not 10001; share them among daemons"));
  text.erase(text.rfind("[[connector]]"));
  EXPECT_EQ(refusal(text), "");
}

TEST(Config, IsReadFromAFileAndNamesIt) {
  const test::TempDir directory;
  const auto file = directory.path() / "mintfs.toml";
  test::write_file(file, "[token]\nttl = \"5m\"\n", 0644);
  EXPECT_EQ(load_config(file).token.ttl, 5min);
  const auto says = [&] {
    try {
      load_config(file);
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  test::write_file(file, "x = 1");
  EXPECT_THAT(says(), StartsWith(file.string() + ":1:1: x: unknown key"));
  test::write_file(file, std::string(4 * 1024 * 1024 + 1, '#'));
  EXPECT_EQ(says(), file.string() + ": is over 4 MiB; share its connectors among daemons");
  std::filesystem::remove(file);
  EXPECT_THAT(says(), StartsWith(file.string() + ": cannot be read: No such file or directory; name the "));
  std::filesystem::create_directory(file);
  EXPECT_THAT(says(), StartsWith(file.string() + ": cannot be read: Is a directory; name the "));
}

TEST(Config, PutsTheAdminListenerWhereItIsWanted) {
  EXPECT_EQ(parse_config("[daemon]\nruntime_dir = \"/run/x\"", "x").admin.socket, "/run/x/admin.sock");
  const auto tcp = parse_config("[admin]\nlisten = \"[::1]:9418\"", "x").admin;
  EXPECT_TRUE(tcp.socket.empty());
  EXPECT_EQ(tcp.host, "::1");
  EXPECT_EQ(tcp.port, 9418);
  const auto none = parse_config("[admin]\nlisten = \"none\"", "x").admin;
  EXPECT_TRUE(none.socket.empty() && none.host.empty());
}

TEST(Config, BoundsTheDefaultLifeOfALeaseByTheLongest) {
  EXPECT_EQ(parse_config("[lease]\nmax_ttl = \"1h\"", "x").lease.default_ttl, 1h);
}

TEST(ConnectorName, IsOneOrTwoPlainWords) {
  EXPECT_EQ(ConnectorName::parse("github")->text(), "default/github");
  EXPECT_EQ(ConnectorName::parse("default/github"), ConnectorName::parse("github"));
  EXPECT_EQ(ConnectorName::parse("team-a/g1t.hub_x")->text(), "team-a/g1t.hub_x");
  EXPECT_TRUE(ConnectorName::parse(std::string(63, 'a') + "/" + std::string(63, 'b')));
  for (const std::string& text :
       {std::string(), std::string("/"), std::string("a/"), std::string("/a"), std::string("a/b/c"), std::string("A"),
        std::string(".a"), std::string("a."), std::string("-a"), std::string(".."), std::string("../a"),
        std::string("a b"), std::string("a\n"), std::string("a\"b"), std::string("a]"), std::string("a%2fb"),
        std::string("a\0b", 3), std::string("\xc3\xa4"), std::string(64, 'a')})
    EXPECT_FALSE(ConnectorName::parse(text)) << text;
}

TEST(Address, IsReadIntoItsParts) {
  struct Case {
    std::string_view url, text, host;
    std::uint16_t port;
    std::string_view prefix;
  };
  for (const auto& each : {
           Case{"https://github.com", "https://github.com", "github.com", 443, ""},
           Case{"HTTPS://GitHub.COM:443/", "https://github.com", "github.com", 443, ""},
           Case{"http://git:80/x/y/", "http://git/x/y", "git", 80, "/x/y"},
           Case{"https://git:80", "https://git:80", "git", 80, ""},
           Case{"http://[2001:DB8::1]:8080/g", "http://[2001:db8::1]:8080/g", "2001:db8::1", 8080, "/g"},
           Case{"http://127.0.0.1", "http://127.0.0.1", "127.0.0.1", 80, ""},
       }) {
    const auto address = Address::parse(each.url);
    ASSERT_TRUE(address) << each.url;
    EXPECT_EQ(address->text(), each.text);
    EXPECT_EQ(address->host, each.host);
    EXPECT_EQ(address->port, each.port);
    EXPECT_EQ(address->prefix, each.prefix);
  }
}

TEST(Address, IsNothingThatCouldBeReadInTwoWays) {
  for (const std::string& url : {std::string(),
                                 std::string("github.com"),
                                 std::string("//github.com"),
                                 std::string("https://"),
                                 std::string("https:///x"),
                                 std::string("ftp://x"),
                                 std::string("file:///etc/passwd"),
                                 std::string("https:x"),
                                 std::string("https://u@x"),
                                 std::string("https://u:p@x"),
                                 std::string("https://@x"),
                                 std::string("https://x?q"),
                                 std::string("https://x#f"),
                                 std::string("https://x/?"),
                                 std::string("https://x:0"),
                                 std::string("https://x:"),
                                 std::string("https://x:65536"),
                                 std::string("https://x:-1"),
                                 std::string("https://x:80.example"),
                                 std::string("http://127.0.0.1:8418.evil.example/a"),
                                 std::string("https://x y"),
                                 std::string("https://x/a b"),
                                 std::string("https://x\n"),
                                 std::string("https://x/\n[evil]"),
                                 std::string("https://x/a%2e"),
                                 std::string("https://x/a%2f"),
                                 std::string("https://x/../y"),
                                 std::string("https://x/."),
                                 std::string("https://x//y"),
                                 std::string("https://x/a;b"),
                                 std::string("https://x/a\"b"),
                                 std::string("https://x\\y"),
                                 std::string("https://ex%61mple.org/%"),
                                 std::string("https://x\0y", 11),
                                 "https://x/" + std::string(512, 'a')})
    EXPECT_FALSE(Address::parse(url)) << url;
}

TEST(Duration, IsASumOfUnits) {
  struct Case {
    std::string_view text;
    std::chrono::seconds seconds;
  };
  for (const auto& each : {Case{"90", 90s}, Case{"30s", 30s}, Case{"30m", 30min}, Case{"2h", 2h}, Case{"1d", 24h},
                           Case{"1h30m", 90min}, Case{"1d1h1m1s", 90061s}, Case{"3650d", 87'600h}})
    EXPECT_EQ(parse_duration(each.text), each.seconds) << each.text;
  for (const std::string_view text :
       {"",     "0",    "0s", "s",   "m30",  "-1s",  "+1s",   " 1s",         "1s ",        "1 s",
        "1h30", "0h30", "1w", "1ms", "1.5h", "1e3s", "3651d", "4294967295d", "4294967296", "99999999999999999999s",
        "1H"})
    EXPECT_FALSE(parse_duration(text)) << text;
}

TEST(Config, FindsTheRuntimeDirectoryOfItsUser) {
  if (geteuid() == 0) {
    EXPECT_EQ(default_runtime_dir(), "/run/mintfs");
  } else {
    setenv("XDG_RUNTIME_DIR", "/run/user/4001", 1);
    EXPECT_EQ(default_runtime_dir(), "/run/user/4001/mintfs");
    setenv("XDG_RUNTIME_DIR", "relative", 1);
    EXPECT_TRUE(default_runtime_dir().empty());
    unsetenv("XDG_RUNTIME_DIR");
    EXPECT_TRUE(default_runtime_dir().empty()) << "never a directory that another user could make first";
  }
}

}  // namespace
}  // namespace mintfs::broker
