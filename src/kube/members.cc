#include "kube/members.h"

#include <boost/json/value.hpp>

namespace mintfs::kube {

namespace json = boost::json;

namespace {
const json::object kNothing;
}

void Members::wrong(std::string_view name, std::string_view why) const {
  if (fault_->empty()) *fault_ = below(name) + " " + std::string(why);
}

const json::value* Members::find(std::string_view name) const {
  const json::value* const value = object_->if_contains(json::string_view(name.data(), name.size()));
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::string Members::text(std::string_view name, std::size_t limit) const {
  std::string value = text_or_none(name, limit);
  if (value.empty()) wrong(name, "is missing");
  return value;
}

std::string Members::text_or_none(std::string_view name, std::size_t limit) const {
  const json::value* const value = find(name);
  if (value == nullptr) return {};
  if (!value->is_string()) {
    wrong(name, "is not a string");
    return {};
  }
  const json::string& text = value->get_string();
  if (text.size() > limit) {
    wrong(name, "is over " + std::to_string(limit) + " characters");
    return {};
  }
  return {text.data(), text.size()};
}

std::int64_t Members::number(std::string_view name) const {
  const json::value* const value = find(name);
  if (value != nullptr && value->is_int64()) return value->get_int64();
  wrong(name, value == nullptr ? "is missing" : "is not an integer");
  return 0;
}

bool Members::flag_or_not(std::string_view name) const {
  const json::value* const value = find(name);
  if (value == nullptr) return false;
  if (!value->is_bool()) wrong(name, "is not true or false");
  return value->is_bool() && value->get_bool();
}

Members Members::members(std::string_view name) const {
  if (auto found = members_or_none(name)) return *found;
  wrong(name, "is missing");
  return {kNothing, below(name), *fault_};
}

std::optional<Members> Members::members_or_none(std::string_view name) const {
  const json::value* const value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) {
    wrong(name, "is not an object");
    return std::nullopt;
  }
  return Members(value->get_object(), below(name), *fault_);
}

const json::array* Members::array(std::string_view name, std::size_t count) const {
  const json::value* const value = find(name);
  if (value == nullptr) return nullptr;
  if (!value->is_array())
    wrong(name, "is not a list");
  else if (value->get_array().size() > count)
    wrong(name, "has over " + std::to_string(count) + " entries");
  else
    return &value->get_array();
  return nullptr;
}

std::vector<std::string> Members::texts(std::string_view name, std::size_t count, std::size_t limit) const {
  std::vector<std::string> texts;
  const json::array* const values = array(name, count);
  if (values == nullptr) return texts;
  for (const json::value& each : *values) {
    const bool good = each.is_string() && !each.get_string().empty() && each.get_string().size() <= limit;
    if (!good) wrong(name, "has an entry that is not a string of 1 to " + std::to_string(limit) + " characters");
    if (good) texts.emplace_back(each.get_string());
  }
  return texts;
}

void Members::each(std::string_view name, std::size_t count, const std::function<void(const Members&)>& take) const {
  const json::array* const values = array(name, count);
  if (values == nullptr) return;
  for (std::size_t i = 0; i < values->size(); ++i) {
    const std::string place = std::string(name) + "[" + std::to_string(i) + "]";
    if ((*values)[i].is_object())
      take(Members((*values)[i].get_object(), below(place), *fault_));
    else
      wrong(place, "is not an object");
  }
}

}  // namespace mintfs::kube
