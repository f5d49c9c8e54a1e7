#include "kube/reviews.h"

#include "broker/secret_json.h"
#include "kube/fields.h"
#include "kube/objects.h"

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <utility>

namespace mintfs::kube {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

constexpr std::string_view kAccount = "system:serviceaccount:";
constexpr std::size_t kMaxText = 512;
constexpr std::size_t kMaxGroups = 64;

Failure refuse(std::string_view why) { return {.reason = Reason::unauthorized, .message = std::string(why)}; }

// A 401 is about us: nothing was said of whom we ask about.
Failure not_asked(Failure failure) {
  if (failure.reason == Reason::unauthorized) failure.reason = Reason::forbidden;
  return failure;
}

json::string_view boosted(std::string_view text) { return {text.data(), text.size()}; }

std::vector<std::string> texts_at(const json::object& object, Path path) {
  std::vector<std::string> texts;
  const json::value* const value = value_at(object, path);
  if (value == nullptr || !value->is_array()) return texts;
  for (const json::value& each : value->get_array())
    if (each.is_string() && texts.size() < kMaxGroups) texts.emplace_back(each.get_string());
  return texts;
}

// The only value of one of the claims that bind a token to its pod; empty where there is none.
std::string bound(const json::object& user, std::string_view claim) {
  const std::string name = "authentication.kubernetes.io/" + std::string(claim);
  const auto values = texts_at(user, {"extra", name});
  return values.size() == 1 && values[0].size() <= kMaxText ? values[0] : std::string();
}

Outcome<PodIdentity> read_identity(const json::object& review, const std::string& audience) {
  const json::object* const user = object_at(review, {"status", "user"});
  if (!flag_at(review, {"status", "authenticated"}) || user == nullptr)
    return refuse("the API server does not know the token: " + printable(text_at(review, {"status", "error"})));
  const auto audiences = texts_at(review, {"status", "audiences"});
  if (std::find(audiences.begin(), audiences.end(), audience) == audiences.end())
    return refuse("the token is not for the audience '" + audience + "'");
  PodIdentity pod;
  pod.user = text_at(*user, {"username"});
  pod.uid = text_at(*user, {"uid"});
  const std::string_view name = pod.user;
  const std::size_t colon = name.find(':', kAccount.size());
  if (!name.starts_with(kAccount) || colon == std::string_view::npos || name.size() > kMaxText)
    return refuse("the token is not of a service account");
  pod.space = name.substr(kAccount.size(), colon - kAccount.size());
  pod.service_account = name.substr(colon + 1);
  pod.groups = texts_at(*user, {"groups"});
  pod.pod = bound(*user, "pod-name");
  pod.pod_uid = bound(*user, "pod-uid");
  pod.node = bound(*user, "node-name");
  if (pod.pod.empty() || pod.pod_uid.empty()) return refuse("the token is not bound to a pod");
  if (pod.node.empty())
    return refuse("the API server does not say on which node the pod runs; it must be 1.30 or newer");
  return pod;
}

}  // namespace

asio::awaitable<Outcome<PodIdentity>> review_token(Api& api, broker::Secret token, std::string audience) {
  json::object spec = broker::secret_object();
  spec["token"] = boosted(token.reveal());
  spec["audiences"] = json::array{json::value(audience)};
  json::object review = broker::secret_object();
  review["apiVersion"] = "authentication.k8s.io/v1";
  review["kind"] = "TokenReview";
  review["spec"] = std::move(spec);
  Call call{.method = Call::Method::post,
            .target = "/apis/authentication.k8s.io/v1/tokenreviews",
            .body = broker::serialize_secret(review),
            .repeatable = true};
  const auto answer = co_await api.send(std::move(call));
  if (!answer) co_return not_asked(answer.error());
  co_return read_identity(*answer, audience);
}

asio::awaitable<Outcome<bool>> may_use(Api& api, const PodIdentity& pod, const broker::ConnectorName& connector) {
  json::array groups;
  for (const auto& group : pod.groups) groups.emplace_back(group);
  const json::object review{{"apiVersion", "authorization.k8s.io/v1"},
                            {"kind", "SubjectAccessReview"},
                            {"spec",
                             {{"user", pod.user},
                              {"uid", pod.uid},
                              {"groups", std::move(groups)},
                              {"resourceAttributes",
                               {{"verb", "get"},
                                {"group", kGroup},
                                {"version", kVersion},
                                {"resource", "connectors"},
                                {"namespace", connector.space},
                                {"name", connector.name}}}}}};
  Call call{.method = Call::Method::post,
            .target = "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            .body = broker::serialize_secret(review),
            .repeatable = true};
  const auto answer = co_await api.send(std::move(call));
  if (!answer) co_return not_asked(answer.error());
  co_return flag_at(*answer, {"status", "allowed"}) && !flag_at(*answer, {"status", "denied"});
}

}  // namespace mintfs::kube
