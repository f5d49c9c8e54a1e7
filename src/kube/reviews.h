// Who a pod is, and what it may do: both are asked of the API server, never concluded from a name.
#pragma once

#include "broker/config.h"
#include "broker/secret.h"
#include "kube/api.h"

#include <boost/asio/awaitable.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace mintfs::kube {

// Whose token it was, as the API server vouches for it.
struct PodIdentity {
  std::string space;            // of pod and service account
  std::string service_account;  // its name
  std::string pod;
  std::string pod_uid;
  std::string node;  // where the pod runs
  // For an access review.
  std::string user;  // "system:serviceaccount:<space>:<service account>"
  std::string uid;
  std::vector<std::string> groups;
};

// TokenReview. unauthorized: not a token of a service account, not for `audience`, not bound to a pod, or of a
// pod that is gone; its message says which. A server that does not confirm the audience has not checked it. A
// server older than Kubernetes 1.30 does not say the node, which is refused too.
boost::asio::awaitable<Outcome<PodIdentity>> review_token(Api& api, broker::Secret token, std::string audience);

// SubjectAccessReview: whether the pod's service account may `get` this Connector. Failure only where the
// question could not be put; a denial is an answer.
boost::asio::awaitable<Outcome<bool>> may_use(Api& api, const PodIdentity& pod, const broker::ConnectorName& connector);

}  // namespace mintfs::kube
