// A text that few of many objects have: a pointer's size where it is empty. A value like a string.
#pragma once

#include <memory>
#include <string>
#include <utility>

namespace mintfs::broker {

class RareText {
 public:
  RareText() = default;
  RareText(std::string text)  // NOLINT(google-explicit-constructor): to be assigned like a string
      : text_(text.empty() ? nullptr : std::make_unique<const std::string>(std::move(text))) {}
  RareText(const RareText& other) : RareText(other.text()) {}
  RareText(RareText&&) noexcept = default;
  RareText& operator=(RareText other) noexcept {
    text_.swap(other.text_);
    return *this;
  }
  ~RareText() = default;

  bool empty() const noexcept { return text_ == nullptr; }
  const std::string& text() const noexcept {
    static const std::string none;
    return text_ ? *text_ : none;
  }

 private:
  std::unique_ptr<const std::string> text_;
};

}  // namespace mintfs::broker
