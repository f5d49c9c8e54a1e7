// What several broker tests share: an audit log that can be read, forged tokens, a disk without room.
#pragma once

#include "support/broker_fixture.h"

#include "broker/encoding.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <boost/json.hpp>

#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

namespace mintfs::test {

inline std::string read_file(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

inline void write_file(const std::filesystem::path& file, std::string_view content, mode_t mode = 0600) {
  std::ofstream(file, std::ios::binary) << content;
  chmod(file.c_str(), mode);
}

inline std::vector<std::string> names_in(const std::filesystem::path& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// Fails the test that calls it when a line is not one JSON object.
inline std::vector<boost::json::object> json_lines(std::string_view text) {
  std::vector<boost::json::object> lines;
  while (!text.empty()) {
    const std::size_t newline = text.find('\n');
    boost::system::error_code error;
    const auto value = boost::json::parse(boost::json::string_view(text.data(), std::min(newline, text.size())), error);
    EXPECT_FALSE(error) << text.substr(0, newline);
    EXPECT_NE(newline, std::string_view::npos) << "the last line does not end";
    if (!error && value.is_object()) lines.push_back(value.as_object());
    text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
  }
  return lines;
}

inline std::string text_of(const boost::json::object& line, std::string_view key) {
  const auto* value = line.if_contains(boost::json::string_view(key.data(), key.size()));
  return value == nullptr ? std::string() : std::string(value->as_string());
}

// A broker whose audit log is read at the end of the test.
class AuditedBroker {
 public:
  explicit AuditedBroker(const std::vector<broker::ConnectorConfig>& connectors = {connector("github",
                                                                                             "https://github.com")},
                         std::uint32_t max_per_user = 256)
      : parts(connectors),
        log_(std::in_place, file(), parts.clock),
        broker({.audience = std::string(TestBroker::kProxy),
                .token_ttl = std::chrono::minutes(30),
                .default_ttl = std::chrono::hours(12),
                .max_ttl = std::chrono::hours(24),
                .max_per_user = max_per_user},
               parts.keys, parts.leases, *log_, parts.clock, parts.broker.connectors()) {}

  // The whole log; the broker must not be used afterwards.
  std::string log() {
    log_.reset();
    return read_file(file());
  }
  std::vector<boost::json::object> acts() { return json_lines(log()); }

  std::string mint(const broker::LeasePtr& lease, std::string_view name = "github") {
    const auto connector = broker::ConnectorName::parse(name).value();
    std::string token(broker.token_size(*lease, connector), '\0');
    const auto end = broker.mint(*lease, connector, scratch, token.data());
    EXPECT_TRUE(end && *end == token.data() + token.size());
    return token;
  }
  // The error, Errc{} for none.
  broker::Errc redeem(std::string_view token, const broker::Access& access = {.space = "default",
                                                                              .connector = "github",
                                                                              .operation = broker::Operation::fetch,
                                                                              .repository = "acme/app"}) {
    const auto grant = broker.redeem(token, access, scratch, &last_token);
    return grant ? broker::Errc{} : broker::to_errc(grant.error());
  }

  TestBroker parts;

 private:
  std::filesystem::path file() const { return parts.directory.path() / "acts.log"; }
  std::optional<broker::AuditLog> log_;

 public:
  broker::Broker broker;
  broker::Scratch scratch;
  broker::VerifiedToken last_token;  // as if one client showed them all
};

// A JWT of any content, signed by OpenSSL's one-shot HMAC and not by the code under test.
inline std::string jwt(std::string_view header, std::string_view payload, std::string_view key) {
  const std::string input = broker::base64url_encode(header) + "." + broker::base64url_encode(payload);
  std::array<unsigned char, 32> signature;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(input.data()),
       input.size(), signature.data(), nullptr);
  return input + "." + broker::base64url_encode({reinterpret_cast<const char*>(signature.data()), signature.size()});
}

// A tmpfs of 64 KiB; needs root, is_mounted() says whether that worked.
class SmallDisk {
 public:
  explicit SmallDisk(const std::filesystem::path& directory)
      : path_(directory), mounted_(mount("mintfs-test", path_.c_str(), "tmpfs", 0, "size=64k,mode=0700") == 0) {}
  ~SmallDisk() {
    if (mounted_) umount2(path_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  bool is_mounted() const { return mounted_; }
  void fill() const {
    const int fd = open((path_ / "ballast").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    const std::string page(4096, 'x');
    while (write(fd, page.data(), page.size()) > 0) continue;
    close(fd);
  }
  void make_room() const { std::filesystem::remove(path_ / "ballast"); }
  bool make_read_only() const {
    return mount("mintfs-test", path_.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, "size=64k") == 0;
  }

 private:
  std::filesystem::path path_;
  bool mounted_;
};

}  // namespace mintfs::test
