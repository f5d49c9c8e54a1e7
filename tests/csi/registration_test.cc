#include "csi/registration.h"
#include "csi/endpoint.h"

#include <gtest/gtest.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/null_sink.h>

#include <filesystem>
#include <memory>
#include <string>

namespace mintfs::csi {
namespace {

class TheRegistration : public testing::Test {
 protected:
  grpc::Status tell(bool taken, const std::string& error = "") {
    ::pluginregistration::RegistrationStatus status;
    status.set_plugin_registered(taken);
    status.set_error(error);
    ::pluginregistration::RegistrationStatusResponse response;
    return registration_.NotifyRegistrationStatus(nullptr, &status, &response);
  }

  int refused_ = 0;
  spdlog::logger log_{"test", std::make_shared<spdlog::sinks::null_sink_mt>()};
  Registration registration_{"connectors-csi", "/plugins/csi.sock", [this] { ++refused_; }, log_};
};

TEST_F(TheRegistration, SaysWhoTheDriverIs) {
  const ::pluginregistration::InfoRequest request;
  ::pluginregistration::PluginInfo info;
  ASSERT_TRUE(registration_.GetInfo(nullptr, &request, &info).ok());
  EXPECT_EQ(info.type(), "CSIPlugin");
  EXPECT_EQ(info.name(), "connectors-csi");
  EXPECT_EQ(info.endpoint(), "/plugins/csi.sock");
  ASSERT_EQ(info.supported_versions_size(), 1);
  EXPECT_EQ(info.supported_versions(0), "1.0.0");
}

TEST_F(TheRegistration, ThatItIsTakenChangesNothing) {
  EXPECT_TRUE(tell(true).ok());
  EXPECT_EQ(refused_, 0);
  EXPECT_EQ(registration_.refusal(), "");
}

TEST_F(TheRegistration, ARefusalIsToldOnceAndTheFirstOneStays) {
  EXPECT_TRUE(tell(false, "no such\nnode\x1b").ok());
  EXPECT_TRUE(tell(false, "another").ok());
  EXPECT_EQ(refused_, 1);
  EXPECT_EQ(registration_.refusal(), "no such?node?");
}

TEST_F(TheRegistration, ARefusalHasABoundAndIsNeverWithoutWords) {
  EXPECT_TRUE(tell(false, std::string(100'000, 'x')).ok());
  EXPECT_EQ(registration_.refusal().size(), 512u);
  Registration silent(
      "a", "/b", [] {}, log_);
  ::pluginregistration::RegistrationStatusResponse response;
  const ::pluginregistration::RegistrationStatus refused;
  EXPECT_TRUE(silent.NotifyRegistrationStatus(nullptr, &refused, &response).ok());
  EXPECT_NE(silent.refusal(), "");
}

// kubelet would ask whoever it finds there before anybody serves.
TEST(AnEndpoint, IsMadeUnderANameThatKubeletPassesOver) {
  const Endpoint endpoint("/nowhere/connectors-csi-reg.sock");
  const std::filesystem::path made = endpoint.address().substr(5);
  EXPECT_EQ(made.parent_path(), "/nowhere");
  EXPECT_TRUE(made.filename().string().starts_with('.'));
}

}  // namespace
}  // namespace mintfs::csi
