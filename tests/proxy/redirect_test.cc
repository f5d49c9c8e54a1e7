#include "proxy/redirect.h"

#include <gtest/gtest.h>

namespace mintfs::proxy {
namespace {

using broker::Address;

const Address kRoot{.scheme = "http", .host = "git.example", .port = 8080, .prefix = ""};
const Address kBelow{.scheme = "https", .host = "git.example", .port = 443, .prefix = "/scm"};
const Address kSix{.scheme = "http", .host = "::1", .port = 80, .prefix = ""};

TEST(Redirect, WithinTheOriginIsResolved) {
  const struct {
    const Address& upstream;
    const char* location;
    const char* expected;
  } cases[] = {
      {kRoot, "/acme/new.git/info/refs?service=git-upload-pack", "/acme/new.git/info/refs?service=git-upload-pack"},
      {kRoot, "http://git.example:8080/a?b", "/a?b"},
      {kRoot, "HTTP://GIT.Example:8080/a", "/a"},
      {kRoot, "//git.example:8080/a", "/a"},
      {kRoot, "http://git.example:8080", "/"},
      {kRoot, "other", "/acme/app/info/other"},
      {kRoot, "../../new/info/refs#fragment", "/acme/new/info/refs"},
      {kRoot, "?x=y", "/acme/app/info/refs?x=y"},
      {kRoot, "/%61cme", "/acme"},
      {kBelow, "https://git.example/scm/a", "/a"},
      {kBelow, "https://git.example:443/scm/a", "/a"},
      {kBelow, "/scm/a", "/a"},
      {kBelow, "/scm", "/"},
      {kBelow, "refs?x", "/acme/app/info/refs?x"},
      {kSix, "http://[::1]/a", "/a"},
      {kSix, "http://[::1]:80/a", "/a"},
  };
  for (const auto& one : cases)
    EXPECT_EQ(resolve_redirect(one.upstream, "/acme/app/info/refs", one.location), one.expected) << one.location;
}

TEST(Redirect, ToAnotherOriginLeadsNowhere) {
  const struct {
    const Address& upstream;
    const char* location;
  } cases[] = {
      {kRoot, "https://git.example:8080/a"},
      {kRoot, "http://git.example/a"},
      {kRoot, "http://git.example:8081/a"},
      {kRoot, "http://evil.example:8080/a"},
      {kRoot, "http://git.example.evil:8080/a"},
      {kRoot, "//evil.example/a"},
      {kRoot, "http://user@git.example:8080/a"},
      {kRoot, "http://user:x@git.example:8080/a"},
      {kRoot, "http://git.example:8080@evil.example/a"},
      {kRoot, "ftp://git.example:8080/a"},
      {kRoot, "file:///etc/passwd"},
      {kRoot, "javascript:alert(1)"},
      {kRoot, "http:///a"},
      {kRoot, "http://"},
      {kRoot, ""},
      {kRoot, " /a"},
      {kRoot, "/a b"},
      {kRoot, "\\\\evil.example\\a"},
      {kRoot, "/\\evil.example/a"},
      {kRoot, "/a/%2e%2e/b"},
      {kRoot, "/a%2fb"},
      {kRoot, "/a;b"},
      {kRoot, "/a//b"},
      {kRoot, "/a?b\r\nX: y"},
      {kBelow, "http://git.example/scm/a"},
      {kBelow, "https://git.example:8443/scm/a"},
      {kBelow, "https://git.example/a"},
      {kBelow, "https://git.example/scmother/a"},
      {kBelow, "https://git.example/scm/../a"},
      {kBelow, "https://git.example/scm/%2e%2e/a"},
      {kBelow, "/a"},
      {kBelow, "../../../../a"},
      {kSix, "http://[::2]/a"},
  };
  for (const auto& one : cases)
    EXPECT_EQ(resolve_redirect(one.upstream, "/acme/app/info/refs", one.location), std::nullopt) << one.location;
  EXPECT_EQ(resolve_redirect(kRoot, "/", "/" + std::string(20000, 'a')), std::nullopt);
}

}  // namespace
}  // namespace mintfs::proxy
