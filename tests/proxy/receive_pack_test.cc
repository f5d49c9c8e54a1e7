#include "proxy/receive_pack.h"

#include "proxy/pkt_line.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mintfs::proxy {
namespace {

using broker::Errc;
using broker::ReferenceChange;
using namespace std::string_literals;

const std::string kNull(40, '0'), kOld(40, 'a'), kNew(40, 'b');
const std::string kCapabilities = "\0 report-status-v2 side-band-64k object-format=sha1 agent=git/2.39"s;

std::string packets(const std::vector<std::string>& lines) {
  std::string bytes;
  for (const auto& line : lines) append_pkt_line(bytes, line);
  return bytes;
}

std::string command(const std::string& name, const std::string& from = kOld, const std::string& to = kNew) {
  return from + " " + to + " " + name;
}

std::string head(const std::vector<std::string>& lines) { return packets(lines).append(kFlushPkt); }

// As send-pack of git writes it; `commands` and what follows are lines of the certificate.
std::string certificate(const std::vector<std::string>& rest) {
  std::vector<std::string> lines = {"push-cert" + kCapabilities, "certificate version 0.1\n",
                                    "pusher A <a@example.org> 1700000000 +0000\n", "nonce 17-abc\n", "\n"};
  lines.insert(lines.end(), rest.begin(), rest.end());
  return head(lines);
}

Errc refusal(const std::string& bytes) {
  PushReader push;
  if (const auto error = push.read(bytes)) return broker::to_errc(error);
  EXPECT_TRUE(push.done()) << bytes;
  return Errc{};
}

TEST(PushReader, FindsWhatIsToBeChanged) {
  const std::string bytes =
      head({"shallow " + kOld, command("refs/heads/main") + kCapabilities, command("refs/heads/new", kNull) + "\n",
            command("refs/tags/old", kOld, kNull), command("refs/tags/none", kNull, kNull)});
  PushReader push;
  ASSERT_FALSE(push.read(bytes + "PACK..."));
  ASSERT_TRUE(push.done());
  EXPECT_EQ(push.size(), bytes.size());
  ASSERT_EQ(push.commands().size(), 4u);
  EXPECT_EQ(push.commands()[0].reference, "refs/heads/main");
  EXPECT_EQ(push.commands()[0].change, ReferenceChange::update);
  EXPECT_EQ(push.commands()[1].reference, "refs/heads/new");
  EXPECT_EQ(push.commands()[1].change, ReferenceChange::create);
  EXPECT_EQ(push.commands()[2].change, ReferenceChange::remove);
  EXPECT_EQ(push.commands()[3].change, ReferenceChange::remove) << "git deletes, whatever the old id is";
  EXPECT_TRUE(push.wants_report());
  EXPECT_TRUE(push.side_band());
}

TEST(PushReader, GoesOnWhereTheBytesHadEnded) {
  const std::string bytes = head({command("refs/heads/a") + kCapabilities, command("refs/heads/b")});
  PushReader push;
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    ASSERT_FALSE(push.read(std::string_view(bytes).substr(0, size)));
    ASSERT_FALSE(push.done()) << size;
  }
  ASSERT_FALSE(push.read(bytes));
  EXPECT_TRUE(push.done());
  EXPECT_EQ(push.commands().size(), 2u);
}

TEST(PushReader, KnowsALoneFlushAndAListOfShallowCommits) {
  for (const auto& bytes : {head({}), head({"shallow " + kOld, "shallow " + kNew})}) {
    PushReader push;
    EXPECT_FALSE(push.read(bytes));
    EXPECT_TRUE(push.done() && push.commands().empty());
  }
}

TEST(PushReader, ReadsIdsOfBothKinds) {
  const std::string from(64, '1'), to(64, '2');
  EXPECT_EQ(refusal(head({command("refs/heads/a", from, to) + "\0object-format=sha256"s})), Errc{});
  EXPECT_EQ(refusal(head({command("refs/heads/a", from, kNew)})), Errc::request_malformed);
}

TEST(PushReader, TellsCapabilitiesByWholeWords) {
  struct Case {
    std::string capabilities;
    bool report, side_band;
  };
  for (const auto& each :
       {Case{"", false, false}, Case{"\0"s, false, false}, Case{"\0report-status"s, true, false},
        Case{"\0 report-status-v2\n"s, true, false}, Case{"\0xreport-status report-status-v3"s, false, false},
        Case{"\0atomic side-band-64k push-options"s, false, true},
        Case{"\0agent=report-status side-band"s, false, false}}) {
    PushReader push;
    ASSERT_FALSE(push.read(head({command("refs/heads/a") + each.capabilities})));
    EXPECT_EQ(push.wants_report(), each.report) << each.capabilities;
    EXPECT_EQ(push.side_band(), each.side_band) << each.capabilities;
  }
}

TEST(PushReader, RefusesWhatAnotherReaderMightReadOtherwise) {
  const std::string main = command("refs/heads/main");
  for (const auto& bytes : {
           "zzzz"s,
           "0003"s,
           packets({main}) + "0001",  // git ends the list there
           packets({main}) + "0002",
           head({""}),
           head({"x"}),
           head({"ERR no"}),
           head({"version 1"}),
           head({kOld + " " + kNew}),
           head({kOld + " " + kNew + " "}),
           head({kOld + "  " + kNew + " refs/heads/main"}),
           head({" " + main}),
           head({command("refs/heads/main x")}),
           head({command("refs/heads/main\tx")}),
           head({command("refs/heads/main\n\n")}),
           head({command("refs/heads/a\nrefs/heads/b")}),
           head({command("refs/heads/\x7f")}),
           head({command("refs/heads/main", kOld.substr(1))}),
           head({command("refs/heads/main", std::string(40, 'g'))}),
           head({command(std::string(4097, 'a'))}),
           head({main, command("refs/heads/b") + kCapabilities}),  // git takes these too
           head({main + kCapabilities + "\0x"s}),
           head({"shallow x"}),
           head({"shallow " + kOld + "\0report-status"s}),
           head({"shallow " + kOld.substr(1)}),
           head({"push-cert-end"}),
       })
    EXPECT_EQ(refusal(bytes), Errc::request_malformed) << bytes;
}

TEST(PushReader, FindsTheCommandsOfACertificate) {
  const std::string bytes = certificate({command("refs/heads/main") + "\n", command("refs/tags/v1", kNull) + "\n",
                                         "-----BEGIN PGP SIGNATURE-----\n", "\n", "iQEz\n",
                                         "-----END PGP SIGNATURE-----\n", "push-cert-end\n"});
  PushReader push;
  ASSERT_FALSE(push.read(bytes));
  ASSERT_TRUE(push.done());
  ASSERT_EQ(push.commands().size(), 2u);
  EXPECT_EQ(push.commands()[0].reference, "refs/heads/main");
  EXPECT_EQ(push.commands()[1].change, ReferenceChange::create);
  EXPECT_TRUE(push.wants_report());
}

TEST(PushReader, RefusesACertificateThatCouldHideACommand) {
  const std::string main = command("refs/heads/main") + "\n";
  const std::string begin = "-----BEGIN SSH SIGNATURE-----\n", end = "push-cert-end\n";
  for (const auto& bytes : {
           certificate({main, begin, main, begin, end}),  // git has them end at the last signature
           certificate({main, "-----BEGIN OTHER SIGNATURE-----\n", end}),
           certificate({main + main, begin, end}),  // two lines in one packet, or one in two
           certificate({main.substr(0, 50), main.substr(50), begin, end}),
           certificate({"", main, begin, end}),
           certificate({main, "\0"s + main, begin, end}),
           certificate({main, begin, "push-cert-end"}),
           certificate({main, begin}),                                    // a flush ends it in git
           certificate({main, begin, end, command("refs/heads/other")}),  // git carries out both
           certificate({main, begin, end, "push-cert" + kCapabilities}),
           certificate({main, "\n", begin, end}),
           head({command("refs/heads/other"), "push-cert", "certificate version 0.1\n", "\n", end}),
           head({"push-cert", "\n", "\n", main, end}),
           head({"push-cert", "certificate version 0.2\n", "\n", main, end}),
           head({"push-cert", "certificate version 0.1\n", end}),
           head({"push-cert", "certificate version 0.1\n", begin, "\n", main, end}),
           head({"push-cert", "certificate version 0.1\n"}),
       })
    EXPECT_EQ(refusal(bytes), Errc::request_malformed) << bytes;
}

TEST(PushReader, HasABoundOfBytesAndOfCommands) {
  std::vector<std::string> lines(PushReader::kMaxCommands, command("refs/heads/a", kNull));
  lines.resize(9'000);  // a mirror of many
  EXPECT_EQ(refusal(head(lines)), Errc{});
  lines.assign(PushReader::kMaxCommands, kNull + " " + kNew + " a");
  EXPECT_EQ(refusal(head(lines)), Errc{});
  lines.push_back(lines.back());
  EXPECT_EQ(refusal(head(lines)), Errc::body_too_large);
  lines.assign(300, command("refs/" + std::string(4000, 'a')));
  EXPECT_EQ(refusal(head(lines)), Errc::body_too_large);
  lines.assign(100'000, "shallow " + kOld);
  EXPECT_EQ(refusal(head(lines)), Errc::body_too_large);
}

TEST(ReportStatus, FailsEachCommand) {
  PushReader push;
  const auto body = [&](const std::string& capabilities) {
    push = {};
    EXPECT_FALSE(push.read(head({command("refs/heads/a") + capabilities, command("refs/b")})));
    return report_status(push, {"no", "not either"});
  };
  const std::string report = head({"unpack ok\n", "ng refs/heads/a no\n", "ng refs/b not either\n"});
  EXPECT_EQ(body("\0report-status"s), report);
  std::string framed;
  append_pkt_line(framed, "\x01" + report);
  EXPECT_EQ(body("\0report-status side-band-64k"s), framed.append(kFlushPkt));
}

}  // namespace
}  // namespace mintfs::proxy
