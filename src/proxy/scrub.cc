#include "proxy/scrub.h"

#include "broker/encoding.h"

#include <algorithm>
#include <cstring>

namespace mintfs::proxy {
namespace {

// Shorter derived forms say next to nothing of a credential and would star ordinary words.
constexpr std::size_t kShortestDerived = 4;

// Text on its way into a pattern; wiped, and never moved by growing.
class Draft {
 public:
  explicit Draft(std::size_t room) { text_.reserve(room); }
  ~Draft() { broker::wipe(text_); }
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;
  std::string& operator*() { return text_; }
  std::string_view view() const { return text_; }

 private:
  std::string text_;
};

bool is_unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

// How a text is escaped where it is quoted: what to write for one character; empty: itself.
using Escape = void (*)(char c, std::string& out);

void percent(char c, std::string_view kept, std::string_view digits, std::string& out) {
  if (is_unreserved(c) || kept.find(c) != std::string_view::npos) {
    out += c;
    return;
  }
  const auto byte = static_cast<unsigned char>(c);
  (out += '%') += digits[byte >> 4];
  out += digits[byte & 15];
}

constexpr std::string_view kUpper = "0123456789ABCDEF";
constexpr std::string_view kLower = "0123456789abcdef";
constexpr std::string_view kComponent = "!'()*";            // JavaScript's encodeURIComponent
constexpr std::string_view kSubDelims = "!$&'()*+,;=:@/?";  // encodeURI, RFC 3986

void html(char c, bool numeric, std::string& out) {
  switch (c) {
    case '&':
      out += "&amp;";
      break;
    case '<':
      out += "&lt;";
      break;
    case '>':
      out += "&gt;";
      break;
    case '"':
      out += numeric ? "&#34;" : "&quot;";
      break;
    case '\'':
      out += numeric ? "&#39;" : "&#x27;";
      break;
    case '+':
      out += numeric ? "&#43;" : "+";
      break;
    default:
      out += c;
  }
}

// `solidus`: "/" as "\/" (PHP); `angles`: <, > and & as \u003c (Go).
void json(char c, bool solidus, bool angles, std::string& out) {
  const bool unicode = angles && (c == '<' || c == '>' || c == '&');
  if (unicode) {
    out += "\\u00";
    out += kLower[static_cast<std::size_t>(c >> 4)];
    out += kLower[static_cast<std::size_t>(c & 15)];
    return;
  }
  if (c == '"' || c == '\\' || (solidus && c == '/')) out += '\\';
  out += c;
}

constexpr Escape kEscapes[] = {
    [](char c, std::string& out) { out += c; },
    [](char c, std::string& out) { percent(c, "", kUpper, out); },
    [](char c, std::string& out) { percent(c, "", kLower, out); },
    [](char c, std::string& out) { percent(c, kComponent, kUpper, out); },
    [](char c, std::string& out) { percent(c, kComponent, kLower, out); },
    [](char c, std::string& out) { percent(c, kSubDelims, kUpper, out); },
    [](char c, std::string& out) { percent(c, kSubDelims, kLower, out); },
    [](char c, std::string& out) { html(c, false, out); },
    [](char c, std::string& out) { html(c, true, out); },
    [](char c, std::string& out) { json(c, false, false, out); },
    [](char c, std::string& out) { json(c, true, false, out); },
    [](char c, std::string& out) { json(c, false, true, out); },
};

// Calls `add` with base64 texts that any base64 of something around `bytes` must hold. With `before`
// bytes in front (mod 3) the first characters mix in bits of those; the last one is known only
// where the text ends with `bytes`, so there is a form with it and one without.
template <class Add>
void base64_forms(std::string_view bytes, std::size_t before, const Add& add) {
  Draft shifted(bytes.size() + before);
  (*shifted).append(before, '\0').append(bytes);
  const std::size_t skip = (before * 8 + 5) / 6;
  for (const bool url : {false, true}) {
    Draft text(broker::base64_size(shifted.view().size()));
    (*text).resize(broker::base64_size(shifted.view().size()));
    char* const begin = (*text).data();
    if (url) {
      broker::base64url_encode(shifted.view(), begin);
    } else {
      broker::base64_encode(shifted.view(), begin);
    }
    const std::size_t ended = broker::base64url_size(shifted.view().size());  // without padding
    const std::size_t certain = shifted.view().size() * 8 / 6;
    if (ended >= skip + kShortestDerived) add(text.view().substr(skip, ended - skip));
    if (certain >= skip + kShortestDerived) add(text.view().substr(skip, certain - skip));
  }
}

// Of two bytes that are there.
std::size_t pair_at(const char* at) {
  return static_cast<std::size_t>(static_cast<unsigned char>(at[0])) << 8 | static_cast<unsigned char>(at[1]);
}

}  // namespace

ScrubPatterns::ScrubPatterns(std::string_view username, std::string_view secret) {
  if (secret.size() < 2) return;
  const auto add_escaped = [this](std::string_view text) {
    for (const Escape escape : kEscapes) {
      Draft draft(text.size() * 6);
      for (const char c : text) escape(c, *draft);
      add(draft.view());
    }
  };
  add_escaped(secret);
  for (const std::size_t before : {0u, 1u, 2u}) base64_forms(secret, before, add_escaped);
  if (username.empty()) return;
  Draft pair(username.size() + 1 + secret.size());
  (*pair).append(username).append(":").append(secret);
  base64_forms(pair.view(), 0, add_escaped);
}

void ScrubPatterns::add(std::string_view pattern) {
  const auto same = [&](const broker::Secret& known) { return known.reveal() == pattern; };
  if (std::any_of(patterns_.begin(), patterns_.end(), same)) return;
  patterns_.emplace_back(pattern);
  starts_.set(pair_at(pattern.data()));
  longest_ = std::max(longest_, pattern.size());
}

std::size_t ScrubPatterns::match(std::string_view text) const noexcept {
  if (text.size() < 2 || !starts_[pair_at(text.data())]) return 0;
  std::size_t longest = 0;
  for (const auto& pattern : patterns_)
    if (pattern.size() > longest && text.starts_with(pattern.reveal())) longest = pattern.size();
  return longest;
}

bool ScrubPatterns::contains(std::string_view text) const noexcept {
  for (; !text.empty(); text.remove_prefix(1))
    if (match(text) != 0) return true;
  return false;
}

void ScrubPatterns::scrub(std::span<char> text) const noexcept {
  // A later occurrence may overlap an earlier one, so that a byte is starred only once nothing can
  // begin in front of it any more: at its own turn.
  const std::string_view view(text.data(), text.size());
  std::size_t starred = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool may_begin = i + 1 < view.size() && starts_[pair_at(view.data() + i)];
    if (may_begin) starred = std::max(starred, i + match(view.substr(i)));
    if (i < starred) text[i] = '*';
  }
}

void Scrubber::feed(std::string_view in, std::string& out) {
  if (patterns_->longest() == 0) {
    out.append(in);
    return;
  }
  held_.append(in);
  if (held_.size() >= patterns_->longest()) release(held_.size() - (patterns_->longest() - 1), out);
}

void Scrubber::finish(std::string& out) { release(held_.size(), out); }

// Moves the first `certain` bytes of held_ to `out`: all that could begin there is held as a whole.
void Scrubber::release(std::size_t certain, std::string& out) {
  const std::string_view view(held_);
  for (std::size_t i = 0; i < certain; ++i) {
    starred_ = std::max(starred_, i + patterns_->match(view.substr(i)));
    out += i < starred_ ? '*' : held_[i];
  }
  starred_ -= std::min(starred_, certain);
  held_.erase(0, certain);
}

}  // namespace mintfs::proxy
