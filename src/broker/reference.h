// Which references a push may change: names, patterns, rules. Pure.
//
// A reference is named in full ("refs/heads/main"). A pattern is such a name in which one `*` may stand
// for any characters, `/` included, as in a refspec of git. One `*` also keeps a match as cheap as a
// comparison, however many references a push has. What is allowed is compared exactly; what is denied
// whatever the letter case, since on a server whose file system ignores case both are one file.
#pragma once

#include "broker/letter_case.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::broker {

inline constexpr std::size_t kMaxReference = 4096;  // bytes of a name

enum class ReferenceChange : std::uint8_t { create, update, remove };
std::string_view to_string(ReferenceChange change) noexcept;  // "create", "update", "delete"

// Whether it begins with "refs/" and is well-formed as git-check-ref-format(1) has it. A server that
// resolved ".." or "//" would take another name for it than the rules saw.
bool is_reference(std::string_view name);

class ReferencePattern {
 public:
  // `text` must pass is_valid().
  explicit ReferencePattern(std::string_view text) : text_(text) {}
  // At most 255 printable ASCII characters with at most one `*`, which some reference can match.
  static bool is_valid(std::string_view text);

  bool matches(std::string_view reference, LetterCase letters = LetterCase::counts) const;
  // Whether every reference that `other` matches is matched by this.
  bool covers(const ReferencePattern& other) const;
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

struct ReferenceRules {
  std::vector<ReferencePattern> allow{};  // empty: all
  std::vector<ReferencePattern> deny{};   // wins over `allow`
  bool deny_create = false;
  bool deny_delete = false;

  bool restrict() const { return !allow.empty() || !deny.empty() || deny_create || deny_delete; }
  // The first pattern that matches; null where none does.
  const ReferencePattern* allowing(std::string_view reference) const;
  const ReferencePattern* denying(std::string_view reference) const;
};

}  // namespace mintfs::broker
