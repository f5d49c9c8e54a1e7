// What changes a body on its way, buffer by buffer.
#pragma once

#include <string>
#include <string_view>

namespace mintfs::proxy {

class BodyFilter {
 public:
  BodyFilter() = default;
  virtual ~BodyFilter() = default;
  BodyFilter(const BodyFilter&) = delete;
  BodyFilter& operator=(const BodyFilter&) = delete;

  // Appends to `out` what is certain by now; what may still change is held back, within a bound.
  virtual void feed(std::string_view in, std::string& out) = 0;
  // The end of the body: appends what was held back.
  virtual void finish(std::string& out) = 0;
};

}  // namespace mintfs::proxy
