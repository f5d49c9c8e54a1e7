#include "csi/status.h"

#include <gtest/gtest.h>

namespace mintfs::csi {
namespace {

using broker::Errc;
using grpc::StatusCode;

TEST(ToGrpcStatus, AnswersEveryErrorAndNeverThatAllIsWell) {
  for (std::size_t value = 1; value < broker::kErrcs; ++value) {
    const auto error = static_cast<Errc>(value);
    EXPECT_NE(to_grpc_status(error), StatusCode::OK) << value;
    EXPECT_NE(to_grpc_status(error), StatusCode::UNIMPLEMENTED) << value;
    EXPECT_EQ(to_errc(broker::reason_word(error)), error);
  }
  EXPECT_EQ(to_errc("a-word-of-tomorrow"), Errc::internal);
}

// Some kubelet takes for "ask again"; after another error it may remove what is mounted.
TEST(ToGrpcStatus, TellsWhatWillPassFromWhatWillNot) {
  EXPECT_EQ(to_grpc_status(Errc::too_many), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(to_grpc_status(Errc::storage_failed), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(to_grpc_status(Errc::connector_unknown), StatusCode::NOT_FOUND);
  EXPECT_EQ(to_grpc_status(Errc::connector_denied), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(to_grpc_status(Errc::lease_malformed), StatusCode::INVALID_ARGUMENT);
  const auto away = to_status(client::Unreachable("mintfsd is not running"), "connector a/b");
  EXPECT_EQ(away.error_code(), StatusCode::UNAVAILABLE);
}

TEST(ToGrpcStatus, SaysWhichConnectorAndWhatToDo) {
  const client::Refused refusal(422, "connector-unknown", "No connector is named 'a/b'.");
  const auto status = to_status(refusal, "connector a/b");
  EXPECT_EQ(status.error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "connector a/b: connector-unknown: No connector is named 'a/b'.");
}

}  // namespace
}  // namespace mintfs::csi
