#include "broker/reference.h"

#include <algorithm>

namespace mintfs::broker {
namespace {

constexpr std::string_view kRoot = "refs/";
constexpr std::size_t kMaxPattern = 255;

bool is_allowed(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte > 0x20 && byte != 0x7f && std::string_view("~^:?*[\\").find(c) == std::string_view::npos;
}

bool is_component(std::string_view component) {
  return !component.empty() && component.front() != '.' && !component.ends_with(".lock");
}

bool ends_with(std::string_view text, std::string_view suffix, LetterCase letters) {
  return text.size() >= suffix.size() &&
         std::equal(suffix.begin(), suffix.end(), text.end() - static_cast<std::ptrdiff_t>(suffix.size()),
                    [&](char a, char b) { return equal(a, b, letters); });
}

bool starts_with(std::string_view text, std::string_view prefix, LetterCase letters) {
  return text.size() >= prefix.size() && ends_with(text.substr(0, prefix.size()), prefix, letters);
}

const ReferencePattern* first(const std::vector<ReferencePattern>& patterns, std::string_view reference,
                              LetterCase letters) {
  const auto found = std::find_if(patterns.begin(), patterns.end(),
                                  [&](const auto& each) { return each.matches(reference, letters); });
  return found == patterns.end() ? nullptr : &*found;
}

}  // namespace

std::string_view to_string(ReferenceChange change) noexcept {
  switch (change) {
    case ReferenceChange::create:
      return "create";
    case ReferenceChange::update:
      return "update";
    case ReferenceChange::remove:
      return "delete";
  }
  return "unknown";
}

bool is_reference(std::string_view name) {
  if (!name.starts_with(kRoot) || name.size() > kMaxReference || name.back() == '.') return false;
  if (!std::all_of(name.begin(), name.end(), is_allowed)) return false;
  if (name.find("..") != std::string_view::npos || name.find("@{") != std::string_view::npos) return false;
  while (true) {
    const std::size_t slash = name.find('/');
    if (!is_component(name.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    name.remove_prefix(slash + 1);
  }
}

bool ReferencePattern::is_valid(std::string_view text) {
  if (text.size() > kMaxPattern || std::any_of(text.begin(), text.end(), [](char c) { return (c & 0x80) != 0; }))
    return false;
  std::string sample(text);
  if (const std::size_t star = sample.find('*'); star != std::string::npos) sample[star] = 'x';
  return is_reference(sample);  // which has no `*`
}

bool ReferencePattern::matches(std::string_view reference, LetterCase letters) const {
  const std::string_view text = text_;
  const std::size_t star = text.find('*');
  if (star == std::string_view::npos) return reference.size() == text.size() && starts_with(reference, text, letters);
  return reference.size() >= text.size() - 1 && starts_with(reference, text.substr(0, star), letters) &&
         ends_with(reference, text.substr(star + 1), letters);
}

bool ReferencePattern::covers(const ReferencePattern& other) const {
  // Read as a name, the other's `*` is a character that only ours can match; it then matches whatever
  // the other's may stand for, nothing included.
  return text_ == other.text_ || (text_.find('*') != std::string::npos && matches(other.text_));
}

const ReferencePattern* ReferenceRules::allowing(std::string_view reference) const {
  return first(allow, reference, LetterCase::counts);
}

const ReferencePattern* ReferenceRules::denying(std::string_view reference) const {
  return first(deny, reference, LetterCase::ignored);
}

}  // namespace mintfs::broker
