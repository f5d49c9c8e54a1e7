#include "proxy/git_service.h"

#include <gtest/gtest.h>

#include <string>

namespace mintfs::proxy {
namespace {

using broker::Errc;
using broker::Operation;
using enum ServiceRequest::Kind;

const std::string kOid(64, 'a');
const std::string kSha1(40, 'b');

struct Outcome {
  boost::system::error_code error;
  ServiceRequest request;
  Target target;  // what request.repository points into
};

void ask(Method method, const std::string& text, Outcome& out) {
  ASSERT_FALSE(parse_target(text, out.target)) << text;
  out.error = classify(method, out.target, out.request);
}

TEST(GitService, IsRecognised) {
  const struct {
    Method method;
    std::string target;
    ServiceRequest::Kind kind;
    Operation operation;
    const char* repository;
  } cases[] = {
      {Method::get, "/acme/app.git/info/refs?service=git-upload-pack", advertise, Operation::fetch, "acme/app"},
      {Method::get, "/acme/app/info/refs?service=git-upload-pack", advertise, Operation::fetch, "acme/app"},
      {Method::get, "/acme/app.git/info/refs?service=git-receive-pack", advertise, Operation::push, "acme/app"},
      {Method::post, "/acme/app.git/git-upload-pack", upload_pack, Operation::fetch, "acme/app"},
      {Method::post, "/acme/app.git/git-receive-pack", receive_pack, Operation::push, "acme/app"},
      {Method::post, "/a/b/c/d.git/git-receive-pack", receive_pack, Operation::push, "a/b/c/d"},
      {Method::get, "/app/info/refs", dumb, Operation::fetch, "app"},
      {Method::get, "/acme/app.git/HEAD", dumb, Operation::fetch, "acme/app"},
      {Method::head, "/acme/app.git/objects/info/packs", dumb, Operation::fetch, "acme/app"},
      {Method::get, "/acme/app.git/objects/info/alternates", dumb, Operation::fetch, "acme/app"},
      {Method::get, "/acme/app.git/objects/info/http-alternates", dumb, Operation::fetch, "acme/app"},
      {Method::get, "/acme/app.git/objects/ab/" + kSha1.substr(2), dumb, Operation::fetch, "acme/app"},
      {Method::get, "/acme/app.git/objects/ab/" + kOid.substr(2), dumb, Operation::fetch, "acme/app"},
      {Method::get, "/acme/app.git/objects/pack/pack-" + kSha1 + ".idx", dumb, Operation::fetch, "acme/app"},
      {Method::get, "/acme/app.git/objects/pack/pack-" + kOid + ".pack", dumb, Operation::fetch, "acme/app"},
      {Method::post, "/acme/app.git/info/lfs/objects/batch", lfs_batch, Operation::fetch, "acme/app"},
      {Method::get, "/acme/app.git/info/lfs/locks?path=a%20b", lfs_locks, Operation::fetch, "acme/app"},
      {Method::post, "/acme/app.git/info/lfs/locks", lfs_locks, Operation::push, "acme/app"},
      {Method::post, "/acme/app.git/info/lfs/locks/verify", lfs_locks, Operation::push, "acme/app"},
      {Method::post, "/acme/app.git/info/lfs/locks/17/unlock", lfs_locks, Operation::push, "acme/app"},
      {Method::get, "/acme/app.git/gitlab-lfs/objects/" + kOid, lfs_object, Operation::fetch, "acme/app"},
      {Method::put, "/acme/app.git/gitlab-lfs/objects/" + kOid + "/123", lfs_object, Operation::push, "acme/app"},
      {Method::get, "/acme/app.git/info/lfs/objects/" + kOid, lfs_object, Operation::fetch, "acme/app"},
      {Method::put, "/acme/app/objects/" + kOid, lfs_object, Operation::push, "acme/app"},
      {Method::post, "/acme/app.git/gitlab-lfs/objects/" + kOid + "/verify", lfs_object, Operation::push, "acme/app"},
      {Method::post, "/acme/app.git/info/lfs/verify", lfs_object, Operation::push, "acme/app"},
  };
  for (const auto& one : cases) {
    Outcome outcome;
    ask(one.method, one.target, outcome);
    EXPECT_FALSE(outcome.error) << one.target;
    EXPECT_EQ(outcome.request.kind, one.kind) << one.target;
    EXPECT_EQ(outcome.request.operation, one.operation) << one.target;
    EXPECT_EQ(outcome.request.repository, one.repository) << one.target;
    EXPECT_TRUE(outcome.request.repository_known()) << one.target;
  }
}

TEST(GitService, LeavesOtherPagesWithoutARepository) {
  for (const std::string target : {"/", "/acme/app", "/acme/app/archive/main.tar.gz?x=y", "/api/v4/projects",
                                   "/acme/app.git/objects/pack/pack-1.idx", "/acme/app.git/objects/zz/11",
                                   "/acme/app.git/info/refs/", "/acme/app.git/INFO/REFS", "/HEADER"}) {
    Outcome outcome;
    ask(Method::get, target, outcome);
    EXPECT_FALSE(outcome.error) << target;
    EXPECT_EQ(outcome.request.kind, other) << target;
    EXPECT_EQ(outcome.request.operation, Operation::fetch);
    EXPECT_FALSE(outcome.request.repository_known()) << target;
    EXPECT_EQ(outcome.request.repository, "") << target;
  }
}

TEST(GitService, DeniesMethodsThatAResourceDoesNotHave) {
  const struct {
    Method method;
    std::string target;
  } cases[] = {
      {Method::post, "/acme/app.git/info/refs?service=git-upload-pack"},
      {Method::get, "/acme/app.git/git-upload-pack"},
      {Method::get, "/acme/app.git/git-receive-pack"},
      {Method::put, "/acme/app.git/git-receive-pack"},
      {Method::get, "/acme/app.git/info/lfs/objects/batch"},
      {Method::put, "/acme/app.git/info/lfs/locks"},
      {Method::put, "/acme/app.git/HEAD"},
      {Method::post, "/acme/app.git/git-upload-archive"},
      {Method::post, "/acme/app.git/git-receive-pack/"},
      {Method::post, "/api/v4/projects"},
      {Method::put, "/x"},
      {Method::other, "/x"},
      {Method::other, "/acme/app.git/gitlab-lfs/objects/" + kOid},
  };
  for (const auto& one : cases) {
    Outcome outcome;
    ask(one.method, one.target, outcome);
    EXPECT_EQ(outcome.error, Errc::operation_denied) << one.target;
  }
}

TEST(GitService, RefusesAnAdvertisementForAnotherService) {
  for (const std::string query :
       {"", "service=", "service=git-upload-archive", "service=git-upload-pack&x=1", "x=1&service=git-upload-pack",
        "service=git-upload-pack&service=git-receive-pack", "Service=git-upload-pack", "service=git%2dupload-pack"}) {
    Outcome outcome;
    ask(Method::get, "/acme/app.git/info/refs?" + query, outcome);
    EXPECT_EQ(outcome.error, Errc::request_malformed) << query;
  }
  for (const std::string target : {"/a/b/git-upload-pack?x", "/a/b/git-receive-pack?service=git-upload-pack",
                                   "/a/b/info/lfs/objects/batch?x", "/a/b/git-receive-pack?"}) {
    Outcome outcome;
    ask(Method::post, target, outcome);
    EXPECT_EQ(outcome.error, Errc::request_malformed) << target;
  }
}

TEST(GitService, RefusesAPathThatCouldNameTwoRepositories) {
  for (const std::string target : {"/info/refs",
                                   "/.git/info/refs",
                                   "/HEAD",
                                   "/acme/.git/HEAD",
                                   "/acme/.GIT/info/refs",
                                   "/a/b/info/refs/info/refs",
                                   "/a/b/info/refs/HEAD",
                                   "/a/git-upload-pack/info/refs",
                                   "/a/git-receive-pack/b/info/refs",
                                   "/a/.git/b/info/refs",
                                   "/a/b.git/info/lfs/info/refs",
                                   "/a/b/objects/info/packs/HEAD",
                                   "/a/b/objects/pack/x/HEAD",
                                   "/a/.git.git/info/refs",
                                   "/a/...git/info/refs",
                                   "/...git/info/refs",
                                   "/a/..git/HEAD",
                                   "/a/info/refs.git/HEAD",
                                   "/a/git-upload-pack.git/info/refs",
                                   "/a/objects/ab/x/HEAD",
                                   "/a/b/gitlab-lfs/objects/x/HEAD"}) {
    Outcome outcome;
    ask(Method::get, target, outcome);
    EXPECT_EQ(outcome.error, Errc::request_malformed) << target;
  }
}

TEST(GitService, ComparesRepositoriesExactly) {
  const broker::RepositoryPattern pattern("acme/app");
  for (const std::string name : {"acme/App", "acme/app.GIT", "acme/app.git.git", "acme/app.", "ACME/app"}) {
    Outcome outcome;
    ask(Method::post, "/" + name + "/git-upload-pack", outcome);
    EXPECT_FALSE(outcome.error) << name;
    EXPECT_FALSE(pattern.matches(outcome.request.repository)) << name;
  }
}

}  // namespace
}  // namespace mintfs::proxy
