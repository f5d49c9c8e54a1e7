// Whether names that differ by the case of ASCII letters alone are one name.
#pragma once

namespace mintfs::broker {

enum class LetterCase : bool { counts, ignored };

constexpr char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

constexpr bool equal(char a, char b, LetterCase letters) {
  return a == b || (letters == LetterCase::ignored && to_lower(a) == to_lower(b));
}

}  // namespace mintfs::broker
