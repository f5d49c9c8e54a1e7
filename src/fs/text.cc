#include "fs/text.h"

#include <algorithm>

namespace mintfs::fs {
namespace {

// In the filled text. The id is random: what looks like it is it.
std::vector<std::uint32_t> places_of(std::string_view id, const Template& view) {
  std::vector<std::uint32_t> places;
  if (id.empty()) return places;
  auto hole = view.holes.begin();
  std::size_t filled = 0;
  for (std::size_t at = view.text.find(id); at != std::string::npos; at = view.text.find(id, at + id.size())) {
    for (; hole != view.holes.end() && hole->at <= at; ++hole) filled += hole->size();
    places.push_back(static_cast<std::uint32_t>(at + filled));
  }
  return places;
}

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("-._~:/@+,[]").find(c) != std::string_view::npos;
}

// Tab, line feed and carriage return are all that XML 1.0 has of control characters, and parsers change them.
bool is_printable(char c) { return c >= 0x20 && c <= 0x7e; }

}  // namespace

Text& Text::plain(std::string_view value) {
  refuse_if(value.empty() || !std::all_of(value.begin(), value.end(), is_plain));
  return raw(value);
}

Text& Text::quoted(std::string_view value) {
  constexpr char kDigits[] = "0123456789abcdef";
  text_.text += '"';
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    refuse_if(byte == 0 || byte >= 0x80);
    if (c == '"' || c == '\\')
      text_.text.append("\\").push_back(c);
    else if (byte < 0x20 || byte == 0x7f)
      text_.text.append("\\u00").append({kDigits[byte >> 4], kDigits[byte & 0xf]});
    else
      text_.text += c;
  }
  text_.text += '"';
  return *this;
}

Text& Text::xml(std::string_view value) {
  for (const char c : value) {
    refuse_if(!is_printable(c));
    switch (c) {
      case '&':
        raw("&amp;");
        break;
      case '<':
        raw("&lt;");
        break;
      case '>':
        raw("&gt;");
        break;
      case '"':
        raw("&quot;");
        break;
      case '\'':
        raw("&apos;");
        break;
      default:
        text_.text += c;
    }
  }
  return *this;
}

Text& Text::token(std::uint32_t connector, std::size_t token_size, Template::Form form) {
  text_.holes.push_back({.at = static_cast<std::uint32_t>(text_.text.size()),
                         .connector = connector,
                         .token_size = static_cast<std::uint32_t>(token_size),
                         .form = form});
  return *this;
}

broker::Result<Template> Text::take(std::string_view id) {
  if (refused_) return broker::Errc::internal;
  text_.text.shrink_to_fit();
  text_.ids = places_of(id, text_);
  return std::move(text_);
}

}  // namespace mintfs::fs
