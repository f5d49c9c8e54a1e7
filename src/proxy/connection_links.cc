// Connection's part that keeps a client here: what of an answer leads to the upstream is pointed to the proxy.
#include "proxy/connection.h"
#include "proxy/links.h"
#include "proxy/redirect.h"
#include "proxy/worker.h"

#include <algorithm>

namespace mintfs::proxy {
namespace {

using broker::Errc;

// "application/vnd.npm.install-v1+json; charset=utf-8"
bool is_media_type(std::string_view value, std::string_view part) {
  value = value.substr(0, value.find(';'));
  return value.find(part) != std::string_view::npos;
}

}  // namespace

// What stands in place of the connector's address. Registries of images are asked for by a path of the host.
std::string Connection::own_base() const {
  const auto& name = grant_->connector().name;
  std::string place = "/namespaces/" + name.space + "/connectors/" + name.name;
  if (git_.links == Links::location) return place;  // any client resolves it against what it asked
  return worker_.shared().broker.proxy_url(grant_->lease()) + place;
}

// Null where nothing of the answer's body is to be changed.
std::unique_ptr<BodyFilter> Connection::filter_of_links() const {
  if (git_.links != Links::packument && git_.links != Links::index) return nullptr;
  if (request_.method != Method::get || response_.framing.kind == BodyFraming::Kind::none) return nullptr;
  const std::string_view type = single_value(response_.fields, FieldId::content_type).value_or("");
  const bool json = is_media_type(type, "json");
  const bool html = git_.links == Links::index && is_media_type(type, "html");
  if (!json && !html) return nullptr;
  LinkMap map(grant_->connector().address, routed_.target.path, own_base());
  if (html) return std::make_unique<HtmlLinks>(std::move(map));
  return std::make_unique<JsonLinks>(std::move(map), git_.links == Links::index ? "url" : "tarball");
}

// Location and Link of a registry's answer. upstream_redirect where an upload would go on elsewhere.
Errc Connection::point_fields(std::string& location) {
  if (git_.kind != ServiceRequest::Kind::artifact) return Errc{};
  if (request_.method == Method::head && changes_body(git_.links)) response_.content_length.reset();  // of another body
  const auto value = single_value(response_.fields, FieldId::location);
  if (may_be_handed_on()) {
    location = std::string(*value);
    return Errc{};
  }
  if (git_.links != Links::location) return Errc{};
  const auto& address = grant_->connector().address;
  const auto moved = [&](std::string_view link) -> std::optional<std::string> {
    auto local = resolve_redirect(address, routed_.target.path, link);
    if (!local || !local->starts_with("/v2/")) return std::nullopt;
    return routed_.registry ? "/v2" + own_base() + local->substr(3) : own_base() + *local;
  };
  if (value) {
    const auto target = moved(*value);
    if (!target && response_.status == 202) return Errc::upstream_redirect;
    location = target.value_or("");
  }
  for (auto& field : response_.fields) {
    if (field.id != FieldId::link) continue;
    const std::size_t end = field.value.find('>');
    const bool plain = field.value.starts_with('<') && end != std::string_view::npos;
    const auto target = plain ? moved(field.value.substr(1, end - 1)) : std::nullopt;
    link_ = target ? "<" + *target + std::string(field.value.substr(end)) : std::string();
    field.value = link_;
    break;
  }
  return Errc{};
}

// A redirect to where the administrator lets content come from. The client follows it itself: it shows nobody but
// us its token, and the stored credential stays here.
bool Connection::may_be_handed_on() const {
  const unsigned status = response_.status;
  if (git_.kind != ServiceRequest::Kind::artifact || git_.operation != broker::Operation::fetch) return false;
  if (git_.links == Links::cargo) return false;  // it says where else the token is shown, and would say it unread
  if (status != 302 && status != 303 && status != 307 && status != 308) return false;
  const auto& connector = grant_->connector();
  const auto location = single_value(response_.fields, FieldId::location);
  const auto origin = location ? foreign_origin(connector.address, *location) : std::nullopt;
  return origin && std::any_of(connector.redirect_origins.begin(), connector.redirect_origins.end(),
                               [&](const auto& each) { return each.origin() == origin->origin(); });
}

}  // namespace mintfs::proxy
