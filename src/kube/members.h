// Reads an object strictly: what is missing, too long or of another type is named by its path.
//
// The first fault is kept and reading goes on with empty values, so that a reader is a list of members and
// one question at its end.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::kube {

class Members {
 public:
  // `fault` collects the first fault and outlives this; so does `object`.
  Members(const boost::json::object& object, std::string path, std::string& fault)
      : object_(&object), path_(std::move(path)), fault_(&fault) {}

  static constexpr std::size_t kText = 253;  // the longest name of Kubernetes

  std::string text(std::string_view name, std::size_t limit = kText) const;          // 1 to `limit` bytes
  std::string text_or_none(std::string_view name, std::size_t limit = kText) const;  // "" where there is none
  std::int64_t number(std::string_view name) const;
  bool flag_or_not(std::string_view name) const;  // false where there is none
  Members members(std::string_view name) const;
  std::optional<Members> members_or_none(std::string_view name) const;
  // None where there is none.
  std::vector<std::string> texts(std::string_view name, std::size_t count, std::size_t limit = kText) const;
  void each(std::string_view name, std::size_t count, const std::function<void(const Members&)>& take) const;

  // Notes that a member's value will not do.
  void wrong(std::string_view name, std::string_view why) const;

 private:
  const boost::json::value* find(std::string_view name) const;
  const boost::json::array* array(std::string_view name, std::size_t count) const;
  std::string below(std::string_view name) const {
    return path_.empty() ? std::string(name) : path_ + "." + std::string(name);
  }

  const boost::json::object* object_;
  std::string path_;
  std::string* fault_;
};

}  // namespace mintfs::kube
