#include "credential/machine_helper.h"

#include "broker/system_helper.h"
#include "credential/answer.h"
#include "credential/child.h"

#include <boost/json.hpp>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <stdexcept>
#include <string_view>

namespace mintfs::credential {
namespace {

namespace json = boost::json;

constexpr std::chrono::seconds kPatience{60};  // one may ask its user to unlock a keyring

std::vector<std::string> session() {
  std::vector<std::string> environment;
  for (const auto name : broker::kHelperVariables)
    if (const char* value = std::getenv(name.data())) environment.push_back(std::string(name) + "=" + value);
  return environment;
}

// A description with secrets in it.
class Text {
 public:
  explicit Text(const std::string& lines) : parts_{std::string_view(lines)} {}
  void add(std::string_view key, const std::optional<std::string_view>& value) {
    if (value) parts_.insert(parts_.end(), {key, "=", *value, "\n"});
  }
  broker::Secret take() {
    parts_.emplace_back("\n");
    std::size_t size = 0, at = 0;
    for (const auto part : parts_) size += part.size();
    broker::Secret text(size);
    for (const auto part : parts_) at += part.copy(text.bytes().data() + at, part.size());
    return text;
  }

 private:
  std::vector<std::string_view> parts_;
};

broker::Secret run(const Places& places, std::string_view operation, const broker::Secret& input) {
  const auto command = broker::helper_command(places.helper, operation, std::chrono::seconds(places.lifetime));
  auto answered = ask_child(command, session(), input, kMaxInput, kPatience);
  if (!answered.ended)
    throw std::runtime_error("the helper '" + places.helper + "' did not come to an end and was stopped");
  if (answered.status != 0)
    throw std::runtime_error("the helper '" + places.helper + "' failed" +
                             (answered.status == 127 ? ": it cannot be started" : ""));
  return std::move(answered.output);
}

void say_what_it_may(Text& text, const Description& description) {
  if (description.can_authtype) text.add("capability[]", "authtype");
}

// What the helper has there; `output` holds what it points to.
std::optional<Description> look(const Places& places, const std::string& place, const Description& asked,
                                broker::Secret& output) {
  Text question(place);
  say_what_it_may(question, asked);
  output = run(places, "get", question.take());
  std::string problem;
  auto found = parse_description(output.reveal(), problem);
  if (!found) throw std::runtime_error("what the helper '" + places.helper + "' says cannot be trusted: " + problem);
  const bool whole = (found->username && found->password) ||
                     (asked.can_authtype && found->can_authtype && found->authtype && found->credential);
  if (!whole || (found->password_expiry_utc && *found->password_expiry_utc <= std::time(nullptr))) return std::nullopt;
  return found;
}

}  // namespace

Places to_places(const json::object& answer) try {
  Places places{.helper = std::string(answer.at("helper").as_string()),
                .lifetime = answer.at("lifetime").as_int64(),
                .lines = {}};
  for (const auto& each : answer.at("entries").as_array()) {
    std::string lines;
    for (const auto& member : each.as_object())
      lines.append(member.key()).append("=").append(std::string_view(member.value().as_string())).append("\n");
    places.lines.push_back(std::move(lines));
  }
  return places;
} catch (const std::exception&) {
  throw std::runtime_error("mintfsd's answer is not understood; are both of one version?");
}

json::object to_question(const Description& description, bool stores) {
  json::object question = place_of(description);
  if (!stores) return question;
  question["stores"] = true;
  json::object variables;
  for (const auto& variable : session()) {
    const std::size_t equals = variable.find('=');
    variables[variable.substr(0, equals)] = variable.substr(equals + 1);
  }
  question["session"] = std::move(variables);
  return question;
}

std::optional<broker::Secret> get_from(const Places& places, const Description& description) {
  for (const auto& place : places.lines) {
    broker::Secret output;
    const auto found = look(places, place, description, output);
    if (!found) continue;
    const auto answer = to_answer(*found);
    auto lines = to_lines(answer, description.can_authtype && found->can_authtype);
    if (!lines) throw std::runtime_error("what the helper '" + places.helper + "' says cannot be told to git");
    return lines;
  }
  return std::nullopt;
}

void store_in(const Places& places, const Description& description) {
  for (const auto& place : places.lines) {
    Text text(place);
    say_what_it_may(text, description);
    text.add("password", description.password);
    if (description.can_authtype) {
      text.add("authtype", description.authtype);
      text.add("credential", description.credential);
    }
    const std::string expiry =
        description.password_expiry_utc ? std::to_string(*description.password_expiry_utc) : std::string();
    if (!expiry.empty()) text.add("password_expiry_utc", expiry);
    text.add("oauth_refresh_token", description.oauth_refresh_token);
    run(places, "store", text.take());
  }
}

void erase_from(const Places& places, const Description& description) {
  for (const auto& place : places.lines) {
    if (description.password || description.credential) {
      broker::Secret output;
      const auto found = look(places, place, description, output);
      if (!found || (description.password && found->password != description.password) ||
          (description.credential && found->credential != description.credential))
        continue;
    }
    run(places, "erase", Text(place).take());
  }
}

}  // namespace mintfs::credential
