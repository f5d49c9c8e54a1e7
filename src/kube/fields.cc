#include "kube/fields.h"

#include <boost/json/value.hpp>

namespace mintfs::kube {

namespace json = boost::json;

const json::value* value_at(const json::object& object, Path path) {
  const json::object* here = &object;
  const json::value* value = nullptr;
  for (const std::string_view name : path) {
    if (here == nullptr) return nullptr;
    value = here->if_contains(json::string_view(name.data(), name.size()));
    if (value == nullptr) return nullptr;
    here = value->if_object();
  }
  return value;
}

std::string_view text_at(const json::object& object, Path path) {
  const json::value* const value = value_at(object, path);
  const json::string* const text = value == nullptr ? nullptr : value->if_string();
  return text == nullptr ? std::string_view() : std::string_view(text->data(), text->size());
}

std::optional<std::int64_t> number_at(const json::object& object, Path path) {
  const json::value* const value = value_at(object, path);
  const std::int64_t* const number = value == nullptr ? nullptr : value->if_int64();
  return number == nullptr ? std::nullopt : std::optional(*number);
}

const json::object* object_at(const json::object& object, Path path) {
  const json::value* const value = value_at(object, path);
  return value == nullptr ? nullptr : value->if_object();
}

bool flag_at(const json::object& object, Path path) {
  const json::value* const value = value_at(object, path);
  const bool* const flag = value == nullptr ? nullptr : value->if_bool();
  return flag != nullptr && *flag;
}

}  // namespace mintfs::kube
