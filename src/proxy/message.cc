#include "proxy/message.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

namespace mintfs::proxy {
namespace {

using broker::Errc;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

bool blank(char c) { return c == ' ' || c == '\t'; }

std::string_view trim(std::string_view text) {
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

// What a section, which is not empty, holds anywhere. Without a branch, so that the compiler makes vectors of it.
struct Seen {
  bool stray = false;  // a control character, or a CR or LF without the other
  bool high = false;   // obs-text (RFC 9110 section 5.5)
};

Seen look_at(std::string_view section) {
  const char* const bytes = section.data();
  std::uint8_t stray = 0;
  auto high = static_cast<std::uint8_t>(bytes[0]);
  for (std::size_t i = 1; i < section.size(); ++i) {
    const auto byte = static_cast<std::uint8_t>(bytes[i]);
    const auto before = static_cast<std::uint8_t>(bytes[i - 1]);
    const bool control = ((byte < 0x20) & (byte != '\t') & (byte != '\r') & (byte != '\n')) | (byte == 0x7f);
    stray |= static_cast<std::uint8_t>(control | ((byte == '\n') != (before == '\r')));
    high |= byte;
  }
  return {.stray = stray != 0, .high = high >= 0x80};
}

bool is_high(char c) { return static_cast<std::uint8_t>(c) >= 0x80; }

// One line without its CRLF; `high`: it may hold obs-text, which a name must not.
boost::system::error_code scan_line(std::string_view line, bool high) {
  if (line.size() > kMaxField) return Errc::header_too_large;
  // The first byte of all has none before it that look_at() would have told it by.
  if (line.empty() || static_cast<std::uint8_t>(line.front()) <= ' ' || line.front() == 0x7f)
    return Errc::request_malformed;
  if (!high) return {};
  const auto name = line.substr(0, line.find(':'));
  if (std::any_of(name.begin(), name.end(), is_high)) return Errc::request_malformed;
  return {};
}

std::optional<std::uint64_t> decimal(std::string_view text) {
  std::uint64_t value = 0;
  if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  // Half the range, so that no reader's signed 64-bit integer overflows.
  if (error != std::errc() || end != text.data() + text.size() || value > std::numeric_limits<std::int64_t>::max())
    return std::nullopt;
  return value;
}

}  // namespace

std::size_t find_header_end(std::string_view bytes, std::size_t& from) noexcept {
  const std::size_t found = bytes.find("\r\n\r\n", from);
  if (found != std::string_view::npos) return found + 4;
  from = bytes.size() < 3 ? 0 : bytes.size() - 3;
  return std::string_view::npos;
}

boost::system::error_code scan_section(std::string_view section, bool obs_text) noexcept {
  if (section.size() > kMaxHeaderSection) return Errc::header_too_large;
  if (!section.ends_with("\r\n\r\n")) return Errc::request_malformed;
  const Seen seen = look_at(section);
  if (seen.stray || (seen.high && !obs_text)) return Errc::request_malformed;
  section.remove_suffix(2);
  for (std::size_t lines = 0; !section.empty(); ++lines) {
    if (lines > kMaxFields) return Errc::header_too_large;  // the first line is no field
    const std::size_t end = section.find('\r');
    if (const auto error = scan_line(section.substr(0, end), seen.high)) return error;
    section.remove_prefix(end + 2);
  }
  return {};
}

bool iequals(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

std::size_t count_fields(const std::vector<Field>& fields, FieldId id, std::string_view* value) noexcept {
  std::size_t count = 0;
  for (const Field& field : fields) {
    if (field.id != id) continue;
    if (count++ == 0 && value != nullptr) *value = field.value;
  }
  return count;
}

bool list_names(std::string_view list, std::string_view token) noexcept {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    if (iequals(trim(list.substr(0, comma)), token)) return true;
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
  }
  return false;
}

bool connection_names(const std::vector<Field>& fields, std::string_view name) noexcept {
  return std::any_of(fields.begin(), fields.end(), [&](const Field& field) {
    return field.id == FieldId::connection && list_names(field.value, name);
  });
}

std::optional<DeclaredLength> declared_length(const std::vector<Field>& fields, int version_minor) noexcept {
  std::string_view coding, length;
  const std::size_t codings = count_fields(fields, FieldId::transfer_encoding, &coding);
  const std::size_t lengths = count_fields(fields, FieldId::content_length, &length);
  if (codings + lengths == 0) return DeclaredLength{};
  if (codings + lengths > 1) return std::nullopt;
  if (codings == 1) {
    if (version_minor == 0 || !iequals(coding, "chunked")) return std::nullopt;
    return DeclaredLength{.length = std::nullopt, .chunked = true};
  }
  const auto value = decimal(length);
  if (!value) return std::nullopt;
  return DeclaredLength{.length = value, .chunked = false};
}

}  // namespace mintfs::proxy
