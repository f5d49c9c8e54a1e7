// A whole broker in a temporary directory, on a clock that the test turns.
#pragma once

#include "broker/broker.h"

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <stdlib.h>
#include <sys/stat.h>

namespace mintfs::test {

class FakeClock final : public broker::Clock {
 public:
  broker::Time now() const override { return broker::Time(std::chrono::milliseconds(now_.load())); }
  void advance(std::chrono::milliseconds by) { now_ += by.count(); }

 private:
  std::atomic<std::int64_t> now_{1'767'225'600'000};  // 2026-01-01T00:00:00Z
};

// A directory that goes with the test; other users may pass through it.
class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "mintfs-test-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
    chmod(name.c_str(), 0711);
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }

  std::filesystem::path make(std::string_view name, mode_t mode) const {
    const auto made = path_ / name;
    std::filesystem::create_directory(made);
    chmod(made.c_str(), mode);
    return made;
  }

 private:
  std::filesystem::path path_;
};

inline mode_t mode_of(const std::filesystem::path& file) {
  struct stat status {};
  stat(file.c_str(), &status);
  return status.st_mode & 07777;
}

inline broker::ConnectorConfig connector(std::string_view name, std::string_view address,
                                         const std::vector<std::string>& repositories = {}) {
  broker::ConnectorConfig made;
  made.name = broker::ConnectorName::parse(name).value();
  made.address = broker::Address::parse(address).value();
  for (const auto& pattern : repositories) made.rights.repositories.emplace_back(pattern);
  return made;
}

inline broker::ConnectorConfig connector_of(broker::ConnectorClass connector_class, std::string_view name,
                                            std::string_view address,
                                            const std::vector<std::string>& repositories = {}) {
  broker::ConnectorConfig made = connector(name, address, repositories);
  made.connector_class = connector_class;
  return made;
}

inline broker::ConnectorsPtr table_of(const std::vector<broker::ConnectorConfig>& connectors) {
  broker::Connectors table;
  for (const auto& each : connectors) table.emplace(each.name, each);
  return std::make_shared<const broker::Connectors>(std::move(table));
}

struct TestBroker {
  static constexpr std::string_view kProxy = "http://127.0.0.1:8418";

  explicit TestBroker(const std::vector<broker::ConnectorConfig>& connectors = {connector("github",
                                                                                          "https://github.com")})
      : broker({.audience = std::string(kProxy),
                .token_ttl = std::chrono::minutes(30),
                .default_ttl = std::chrono::hours(12),
                .max_ttl = std::chrono::hours(24)},
               keys, leases, audit, clock, table_of(connectors)) {}

  // As root; throws with the broker's sentence when it is refused.
  broker::LeasePtr open(uid_t uid, std::vector<std::string> names = {"github"},
                        std::vector<std::string> repositories = {}) {
    broker::LeaseRequest request;
    request.connectors = std::move(names);
    request.uid = uid;
    request.repositories = std::move(repositories);
    std::string detail;
    auto lease = broker.open_lease({}, request, &detail);
    if (!lease) throw std::runtime_error(detail);
    return *lease;
  }
  void close(const broker::LeasePtr& lease) { broker.close_for(lease->id, "test"); }

  TempDir directory;
  FakeClock clock;
  broker::MasterKeys keys{directory.make("state", 0700), clock};
  broker::LeaseTable leases{directory.path() / "leases"};
  broker::AuditLog audit{directory.path() / "state" / "audit.log", clock};
  broker::Broker broker;
};

}  // namespace mintfs::test
