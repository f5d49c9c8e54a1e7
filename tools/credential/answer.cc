#include "credential/answer.h"

#include "broker/secret_json.h"

#include <boost/json.hpp>

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mintfs::credential {
namespace {

namespace json = boost::json;

json::string_view view(std::string_view text) { return {text.data(), text.size()}; }

void add(json::object& object, std::string_view name, const std::optional<std::string_view>& value) {
  if (value) object[view(name)] = view(*value);
}

void add_secrets(json::object& object, const Description& description) {
  add(object, "password", description.password);
  if (description.can_authtype) add(object, "credential", description.credential);
}

// A value as it stands in a line.
std::optional<std::string_view> text_of(const json::value& value) {
  const auto* text = value.if_string();
  if (text == nullptr) return std::nullopt;
  return std::string_view(text->data(), text->size());
}

class Lines {
 public:
  void add(std::string_view key, std::string_view value) {
    fits_ = fits_ && value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos;
    parts_.insert(parts_.end(), {key, "=", value, "\n"});
  }
  std::optional<broker::Secret> take() const {
    if (!fits_) return std::nullopt;
    std::size_t size = 0, at = 0;
    for (const auto part : parts_) size += part.size();
    broker::Secret text(size);
    for (const auto part : parts_) at += part.copy(text.bytes().data() + at, part.size());
    return text;
  }

 private:
  std::vector<std::string_view> parts_;
  bool fits_ = true;
};

}  // namespace

json::object place_of(const Description& description) {
  json::object object = broker::secret_object();
  add(object, "protocol", description.protocol);
  add(object, "host", description.host);
  add(object, "path", description.path);
  add(object, "username", description.username);
  return object;
}

json::object to_answer(const Description& description) {
  json::object object = broker::secret_object();
  add(object, "username", description.username);
  add(object, "password", description.password);
  if (description.authtype && description.credential) {
    add(object, "authtype", description.authtype);
    add(object, "credential", description.credential);
  }
  add(object, "oauth_refresh_token", description.oauth_refresh_token);
  if (description.password_expiry_utc) object["password_expiry_utc"] = *description.password_expiry_utc;
  return object;
}

std::optional<json::object> to_get(const Description& description) {
  if (!description.protocol || !description.host || !description.is_answerable()) return std::nullopt;
  json::object object = place_of(description);
  if (description.can_authtype) object["capabilities"] = json::array{"authtype"};
  return object;
}

std::optional<json::object> to_store(const Description& description) {
  const bool whole = (description.username && description.password) ||
                     (description.can_authtype && description.authtype && description.credential);
  if (!description.protocol || !description.host || !description.is_answerable() || !whole || description.ephemeral)
    return std::nullopt;
  json::object object = place_of(description);
  add_secrets(object, description);
  if (description.can_authtype && description.credential) add(object, "authtype", description.authtype);
  add(object, "oauth_refresh_token", description.oauth_refresh_token);
  if (description.password_expiry_utc) object["password_expiry_utc"] = *description.password_expiry_utc;
  return object;
}

std::optional<json::object> to_erase(const Description& description) {
  json::object object = place_of(description);
  if (object.empty() || !description.is_answerable()) return std::nullopt;
  add_secrets(object, description);
  return object;
}

std::optional<broker::Secret> to_lines(const json::object& answer, bool can_authtype) {
  Lines lines;
  const auto copy = [&](std::string_view key) {
    const auto* value = answer.if_contains(view(key));
    if (const auto text = value != nullptr ? text_of(*value) : std::nullopt) lines.add(key, *text);
  };
  if (can_authtype && answer.contains("credential")) {
    lines.add("capability[]", "authtype");
    copy("authtype");
    copy("credential");
    if (answer.contains("ephemeral")) lines.add("ephemeral", "1");
  }
  copy("username");
  copy("password");
  std::string expiry;  // here, since the lines point to it
  if (const auto* seconds = answer.if_contains("password_expiry_utc"); seconds != nullptr && seconds->is_int64())
    lines.add("password_expiry_utc", expiry = std::to_string(seconds->get_int64()));
  copy("oauth_refresh_token");
  return lines.take();
}

}  // namespace mintfs::credential
