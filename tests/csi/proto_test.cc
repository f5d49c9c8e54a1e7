#include "csi.pb.h"
#include "registration.pb.h"

#include <gtest/gtest.h>

#include <string>

namespace mintfs::csi {
namespace {

// One field of length-delimited content, as the encoding of protocol buffers has it.
std::string field(int number, const std::string& content) {
  EXPECT_LT(content.size(), 128u) << "one byte of length";
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(content.size())} + content;
}

std::string flag(int number) { return {static_cast<char>(number << 3), 1}; }

std::string entry(int number, const std::string& key, const std::string& value) {
  return field(number, field(1, key) + field(2, value));
}

// The numbers are those of the published interface; kubelet sends what we pass over, too.
TEST(CsiMessage, PublishIsReadAsKubeletWritesIt) {
  const std::string mount = field(1, "") + field(2, "noatime") + field(3, "1000");
  const std::string capability = field(2, mount) + field(3, "\x08\x01");  // access_mode: SINGLE_NODE_WRITER
  const std::string bytes = field(1, "csi-1") + entry(2, "publish", "context") + field(3, "/staging") +
                            field(4, "/var/lib/kubelet/pods/1/mount") + field(5, capability) + flag(6) +
                            entry(7, "token", "secret") + entry(8, "connector.name", "github");
  ::csi::v1::NodePublishVolumeRequest request;
  ASSERT_TRUE(request.ParseFromString(bytes));
  EXPECT_EQ(request.volume_id(), "csi-1");
  EXPECT_EQ(request.target_path(), "/var/lib/kubelet/pods/1/mount");
  EXPECT_TRUE(request.volume_capability().has_mount());
  EXPECT_FALSE(request.volume_capability().has_block());
  EXPECT_EQ(request.volume_capability().mount().mount_flags(0), "noatime");
  EXPECT_TRUE(request.readonly());
  EXPECT_EQ(request.secrets().at("token"), "secret");
  EXPECT_EQ(request.volume_context().at("connector.name"), "github");
}

TEST(CsiMessage, PublishTellsABlockVolume) {
  ::csi::v1::NodePublishVolumeRequest request;
  ASSERT_TRUE(request.ParseFromString(field(5, field(1, ""))));
  EXPECT_TRUE(request.volume_capability().has_block());
}

TEST(CsiMessage, UnpublishIsReadAsKubeletWritesIt) {
  ::csi::v1::NodeUnpublishVolumeRequest request;
  ASSERT_TRUE(request.ParseFromString(field(1, "csi-1") + field(2, "/target")));
  EXPECT_EQ(request.volume_id(), "csi-1");
  EXPECT_EQ(request.target_path(), "/target");
}

TEST(CsiMessage, AnswersAreWrittenAsKubeletReadsThem) {
  ::csi::v1::GetPluginInfoResponse info;
  info.set_name("connectors-csi");
  info.set_vendor_version("1");
  EXPECT_EQ(info.SerializeAsString(), field(1, "connectors-csi") + field(2, "1"));
  ::csi::v1::ProbeResponse probe;
  probe.mutable_ready()->set_value(true);
  EXPECT_EQ(probe.SerializeAsString(), field(1, flag(1)));
  ::csi::v1::NodeGetInfoResponse node;
  node.set_node_id("node-1");
  node.set_max_volumes_per_node(3);
  EXPECT_EQ(node.SerializeAsString(), field(1, "node-1") + "\x10\x03");
  EXPECT_EQ(::csi::v1::GetPluginCapabilitiesResponse().SerializeAsString(), "");
  EXPECT_EQ(::csi::v1::NodeGetCapabilitiesResponse().SerializeAsString(), "");
}

TEST(RegistrationMessage, IsWrittenAndReadAsKubeletDoes) {
  ::pluginregistration::PluginInfo info;
  info.set_type("CSIPlugin");
  info.set_name("connectors-csi");
  info.set_endpoint("/csi.sock");
  info.add_supported_versions("1.0.0");
  EXPECT_EQ(info.SerializeAsString(),
            field(1, "CSIPlugin") + field(2, "connectors-csi") + field(3, "/csi.sock") + field(4, "1.0.0"));
  ::pluginregistration::RegistrationStatus status;
  ASSERT_TRUE(status.ParseFromString(flag(1)));
  EXPECT_TRUE(status.plugin_registered());
  ASSERT_TRUE(status.ParseFromString(field(2, "why")));
  EXPECT_FALSE(status.plugin_registered());
  EXPECT_EQ(status.error(), "why");
}

// A message of the full runtime can print itself, secrets and all.
template <class Message>
concept Reflected = requires(const Message& message) { message.GetReflection(); };
static_assert(!Reflected<::csi::v1::NodePublishVolumeRequest>);

TEST(CsiMessage, CannotPrintItself) {
  ::csi::v1::NodePublishVolumeRequest request;
  (*request.mutable_secrets())["token"] = "canary";
  EXPECT_EQ(request.DebugString().find("canary"), std::string::npos);
}

}  // namespace
}  // namespace mintfs::csi
