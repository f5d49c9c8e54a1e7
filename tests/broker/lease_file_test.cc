#include "broker/lease_file.h"

#include "parts.h"

#include <gmock/gmock.h>

namespace mintfs::broker {
namespace {

using testing::HasSubstr;

class LeaseFile : public testing::Test {
 protected:
  LeaseFile() {
    std::fill(lease.key.bytes().begin(), lease.key.bytes().end(), 'K');
    write_lease_file(file, lease);
  }
  std::string refusal(std::string_view content) {
    test::write_file(file, content);
    try {
      read_lease_file(file);
    } catch (const std::exception& error) {
      return error.what();
    }
    return {};
  }

  test::TempDir directory;
  const std::filesystem::path file = directory.path() / "lease.json";
  Lease lease{.id = "abcdefghijklmnopqrstuvwxyz",
              .serial = kMaxSerial,
              .uid = 4'294'967'294u,
              .opener = 4001,
              .kid = 3,
              .subject = "uid:4294967294",
              .labels = {{"build", "17"}, {"job", "\"a\\b\" & more"}},
              .connectors = {*ConnectorName::parse("github"), *ConnectorName::parse("team/gitlab")},
              .rights = {Operations::only(Operation::fetch), {RepositoryPattern("acme/*"), RepositoryPattern("x/**")}},
              .opened = Time(std::chrono::milliseconds(1'767'225'600'123)),
              .expires = Time(std::chrono::milliseconds(1'767'229'200'456)),
              .process = {4242, 987'654'321},
              .key = {}};
};

TEST_F(LeaseFile, GivesEverythingBackButTheKey) {
  const Lease read = read_lease_file(file);
  EXPECT_EQ(read.id, lease.id);
  EXPECT_EQ(read.serial, lease.serial);
  EXPECT_EQ(read.uid, lease.uid);
  EXPECT_EQ(read.opener, lease.opener);
  EXPECT_EQ(read.subject, lease.subject);
  EXPECT_EQ(read.labels, lease.labels);
  EXPECT_EQ(read.connectors, lease.connectors);
  EXPECT_EQ(read.rights.operations, lease.rights.operations);
  ASSERT_EQ(read.rights.repositories.size(), 2u);
  EXPECT_EQ(read.rights.repositories[0].text(), "acme/*");
  EXPECT_EQ(read.rights.repositories[1].text(), "x/**");
  EXPECT_EQ(read.opened, lease.opened);
  EXPECT_EQ(read.expires, lease.expires);
  EXPECT_EQ(read.kid, lease.kid);
  EXPECT_EQ(read.process.pid, lease.process.pid);
  EXPECT_EQ(read.process.start_time, lease.process.start_time);
  EXPECT_EQ(read.key.reveal(), LeaseKey().reveal());
}

// Where the key comes from is not on this machine.
TEST_F(LeaseFile, KeepsTheKeyOfALeaseThatGatewaysGranted) {
  namespace json = boost::json;
  Connectors connectors;
  for (const auto& each : {test::connector("github", "https://github.com"),
                           test::connector_of(ConnectorClass::gitlab, "team/gitlab", "https://gitlab.example.org/git")})
    connectors.emplace(each.name, each);
  std::fill(lease.key.bytes().begin(), lease.key.bytes().end(), 'k');
  lease.grant = std::make_shared<const Lease::Grant>(Lease::Grant{"http://proxy.svc", connectors});
  write_lease_file(file, lease);
  EXPECT_EQ(test::mode_of(file), 0600u);
  const Lease read = read_lease_file(file);
  EXPECT_EQ(read.key.reveal(), lease.key.reveal());
  ASSERT_TRUE(read.grant);
  EXPECT_EQ(read.grant->audience, "http://proxy.svc");
  ASSERT_EQ(read.grant->connectors.size(), 2u);
  const auto& gitlab = read.grant->connectors.at(*ConnectorName::parse("team/gitlab"));
  EXPECT_EQ(gitlab.address.text(), "https://gitlab.example.org/git");
  EXPECT_EQ(gitlab.connector_class, ConnectorClass::gitlab);

  const auto whole = json::parse(test::read_file(file)).as_object();
  EXPECT_EQ(whole.at("version"), 6);
  for (const auto& [member, value] : std::vector<std::pair<std::string, json::value>>{
           {"audience", "nowhere"}, {"key", "a2s="}, {"key", "?"}, {"key", 7}, {"connectors", json::array()}}) {
    auto object = whole;
    object["grant"].as_object()[member] = value;
    EXPECT_NE(refusal(json::serialize(object)), "") << member << ' ' << value;
  }
}

// An older mintfsd knows version 1 alone and would give a lease without its references every one of them.
TEST_F(LeaseFile, HasAnotherVersionWhereReferencesAreRestricted) {
  namespace json = boost::json;
  EXPECT_EQ(json::parse(test::read_file(file)).at("version"), 1);
  lease.rights.references.allow = {ReferencePattern("refs/heads/bot/*"), ReferencePattern("refs/tags/v1")};
  write_lease_file(file, lease);
  const auto whole = json::parse(test::read_file(file)).as_object();
  EXPECT_EQ(whole.at("version"), 2);
  const Lease read = read_lease_file(file);
  ASSERT_EQ(read.rights.references.allow.size(), 2u);
  EXPECT_EQ(read.rights.references.allow[0].text(), "refs/heads/bot/*");
  for (const auto& value : {json::value(json::array()), json::value(nullptr), json::value(json::array{"main"})}) {
    auto object = whole;
    object["refs"] = value;
    EXPECT_NE(refusal(json::serialize(object)), "") << value;
  }
  auto object = whole;
  object["version"] = 1;
  EXPECT_THAT(refusal(json::serialize(object)), HasSubstr("its version does not fit"));
}

TEST_F(LeaseFile, HasAThirdVersionWhereOriginsAreRestricted) {
  namespace json = boost::json;
  lease.origins = std::make_shared<const OriginPatterns>(OriginPatterns{*OriginPattern::parse("10.88.0.0/16")});
  for (const bool with_references : {false, true}) {
    if (with_references) lease.rights.references.allow = {ReferencePattern("refs/tags/*")};
    write_lease_file(file, lease);
    const auto whole = json::parse(test::read_file(file)).as_object();
    EXPECT_EQ(whole.at("version"), 3);
    const Lease read = read_lease_file(file);
    ASSERT_TRUE(read.origins && read.origins->size() == 1);
    EXPECT_EQ(read.origins->front().text(), "10.88.0.0/16");
    EXPECT_EQ(read.rights.references.allow.size(), with_references ? 1u : 0u);
    for (const auto& value :
         {json::value(json::array()), json::value(nullptr), json::value(json::array{"10.0.0.0/33"})}) {
      auto object = whole;
      object["origins"] = value;
      EXPECT_NE(refusal(json::serialize(object)), "") << value;
    }
    auto object = whole;
    object.erase("origins");
    EXPECT_THAT(refusal(json::serialize(object)), HasSubstr("its version does not fit"));
  }
}

TEST_F(LeaseFile, HasAFourthVersionWhereTokensAreShorter) {
  namespace json = boost::json;
  lease.token_ttl = std::chrono::minutes(5);
  lease.pod = true;
  write_lease_file(file, lease);
  auto object = json::parse(test::read_file(file)).as_object();
  EXPECT_EQ(object.at("version"), 4);
  const Lease read = read_lease_file(file);
  EXPECT_EQ(read.token_ttl, lease.token_ttl);
  EXPECT_TRUE(read.pod);
  object["token_ttl"] = -1;
  EXPECT_NE(refusal(json::serialize(object)), "");
  object.erase("token_ttl");
  EXPECT_THAT(refusal(json::serialize(object)), HasSubstr("its version does not fit"));
}

TEST_F(LeaseFile, HoldsTheConfigurationsUnderAVersionOfTheirOwn) {
  lease.configurations = {"gitconfig", "npmrc", "own.file"};
  write_lease_file(file, lease);
  EXPECT_EQ(read_lease_file(file).configurations, lease.configurations);
  const auto whole = boost::json::parse(test::read_file(file)).as_object();
  EXPECT_EQ(whole.at("version").as_int64(), 5) << "an older mintfsd must not take it for its own";
  for (const boost::json::value& bad :
       {boost::json::value(boost::json::array()), boost::json::value("npmrc"), boost::json::value{"../npmrc"},
        boost::json::value(boost::json::array(33, "npmrc"))}) {
    auto object = whole;
    object["configurations"] = bad;
    EXPECT_NE(refusal(boost::json::serialize(object)), "") << bad;
  }
  auto object = whole;
  object.erase("configurations");
  EXPECT_THAT(refusal(boost::json::serialize(object)), HasSubstr("its version does not fit"));
}

TEST_F(LeaseFile, HoldsWhereTheJobFindsThingsUnderAVersionOfItsOwn) {
  namespace json = boost::json;
  lease.proxy_url = std::string("http://10.88.0.1:8418");
  lease.seen_at = std::string("/run/git");
  write_lease_file(file, lease);
  EXPECT_EQ(read_lease_file(file).proxy_url.text(), "http://10.88.0.1:8418");
  EXPECT_EQ(read_lease_file(file).seen_at.text(), "/run/git");
  const auto whole = json::parse(test::read_file(file)).as_object();
  EXPECT_EQ(whole.at("version"), 7) << "an older mintfsd would tell the job another place";
  for (const char* bad : {"", "relative", "/a/../b"}) {
    auto object = whole;
    object["seen_at"] = bad;
    EXPECT_THAT(refusal(json::serialize(object)), HasSubstr("its seen_at is malformed")) << bad;
  }
  auto object = whole;
  object["proxy_url"] = "elsewhere";
  EXPECT_THAT(refusal(json::serialize(object)), HasSubstr("its proxy_url is malformed"));
  object = whole;
  object.erase("proxy_url");
  EXPECT_EQ(refusal(json::serialize(object)), "");
  object.erase("seen_at");
  EXPECT_THAT(refusal(json::serialize(object)), HasSubstr("its version does not fit"));
}

TEST_F(LeaseFile, HoldsNoKey) {
  const std::string content = test::read_file(file);
  EXPECT_EQ(content.find("KKKK"), std::string::npos);
  EXPECT_EQ(content.find("4b4b"), std::string::npos);
  EXPECT_EQ(content.find("S0tL"), std::string::npos);
}

TEST_F(LeaseFile, IsRefusedWhenCutOffAnywhere) {
  const std::string content = test::read_file(file);
  for (std::size_t size = 0; size < content.size() - 1; ++size)
    ASSERT_NE(refusal(content.substr(0, size)), "") << "the first " << size << " bytes";
}

TEST_F(LeaseFile, IsRefusedWithoutAnyMember) {
  const auto whole = boost::json::parse(test::read_file(file)).as_object();
  for (const auto& member : whole) {
    auto object = whole;
    object.erase(member.key());
    EXPECT_NE(refusal(boost::json::serialize(object)), "") << member.key();
    object[member.key()] = true;
    EXPECT_NE(refusal(boost::json::serialize(object)), "") << member.key();
    object[member.key()] = nullptr;
    EXPECT_NE(refusal(boost::json::serialize(object)), "") << member.key();
  }
}

TEST_F(LeaseFile, IsRefusedWithAValueThatIsNotOurs) {
  namespace json = boost::json;
  struct Case {
    std::string member;
    json::value value;
    std::string reason;
  };
  const auto list = [](json::value only) { return json::value(json::array{std::move(only)}); };
  const auto whole = json::parse(test::read_file(file)).as_object();
  for (const auto& each : std::vector<Case>{
           {"version", 2, "its version does not fit"},
           {"version", 3, "its version does not fit"},
           {"version", 4, "its version does not fit"},
           {"version", 5, "its version does not fit"},
           {"version", 7, "its version does not fit"},
           {"version", 8, "another version"},
           {"configurations", list("npmrc"), "its version does not fit"},
           {"origins", list("10.0.0.1"), "its version does not fit"},
           {"refs", list("refs/*"), "its version does not fit"},
           {"version", 0, "another version"},
           {"version", 1.0, "another version"},
           {"id", "abc", "its id is malformed"},
           {"id", "../../etc/passwd/../../../", "its id is malformed"},
           {"id", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "its id is malformed"},
           {"uid", -1, "wrong type"},
           {"uid", 4'294'967'296, "wrong type"},
           {"uid", 1.5, "wrong type"},
           {"serial", -1, "wrong type"},
           {"serial", 0, "its serial is out of range"},
           {"serial", kMaxSerial + 1, "its serial is out of range"},
           {"kid", 4'294'967'296, "wrong type"},
           {"connectors", json::array(0, nullptr), "names no connector"},
           {"connectors", list("A/B"), "malformed connector name"},
           {"connectors", list(1), "wrong type"},
           {"operations", list("delete"), "unknown operation"},
           {"repositories", list("../x"), "malformed pattern"},
           {"subject", "", "its subject is malformed"},
           {"subject", "uid:1\",\"lease\":\"other", "its subject is malformed"},
           {"subject", "uid 1", "its subject is malformed"},
           {"subject", "uid:1\\", "its subject is malformed"},
           {"subject", json::string(513, 's'), "its subject is malformed"},
           {"labels", json::parse(R"({"a":1})"), "wrong type"},
           {"pid", -1, "its process is malformed"},
       }) {
    auto object = whole;
    object[each.member] = each.value;
    EXPECT_THAT(refusal(json::serialize(object)), HasSubstr(each.reason)) << each.member << ' ' << each.value;
  }
}

TEST_F(LeaseFile, IsBoundedAndNotADeepMaze) {
  EXPECT_THAT(refusal(std::string(64 * 1024 + 1, ' ')), HasSubstr("over 64 KiB"));
  EXPECT_THAT(refusal(std::string(60'000, '[')), HasSubstr("not a JSON object"));
}

// The bounds of a lease (32 connectors, 64 patterns, 32 labels) must fit what is read back.
TEST_F(LeaseFile, TakesTheLargestLease) {
  lease.connectors.clear();
  for (int i = 10; i < 42; ++i)
    lease.connectors.push_back({std::string(63, 'n'), std::string(61, 'c') + std::to_string(i)});
  lease.rights.references.allow.assign(64, ReferencePattern("refs/" + std::string(250, 'r')));
  lease.rights.repositories.assign(64, RepositoryPattern(std::string(255, 'r')));
  lease.labels.clear();
  for (int i = 10; i < 42; ++i) lease.labels[std::string(126, '"') + std::to_string(i)] = std::string(128, '\\');
  lease.configurations.assign(kMaxConfigurations, std::string(63, 'c'));
  write_lease_file(file, lease);
  const Lease read = read_lease_file(file);
  EXPECT_EQ(read.labels, lease.labels);
  EXPECT_EQ(read.connectors, lease.connectors);
}

}  // namespace
}  // namespace mintfs::broker
