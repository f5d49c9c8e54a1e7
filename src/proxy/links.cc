#include "proxy/links.h"

#include "broker/letter_case.h"
#include "proxy/redirect.h"

#include <algorithm>

namespace mintfs::proxy {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f'; }

// "#sha256=...", as indexes write them.
bool is_plain_fragment(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("#-._~=:+*/").find(c) != std::string_view::npos;
  });
}

// npm's "/@scope%2fname/" is "/@scope/name/": the path that clients ask for tarballs by.
std::string with_plain_scope(std::string_view link) {
  std::string plain(link);
  const std::size_t scope = plain.find("/@");
  if (scope == std::string::npos) return plain;
  const std::size_t percent = plain.find('%', scope);
  const std::size_t slash = plain.find('/', scope + 1);
  if (percent == std::string::npos || percent > slash || percent + 3 > plain.size()) return plain;
  if (plain[percent + 1] == '2' && broker::to_lower(plain[percent + 2]) == 'f') plain.replace(percent, 3, "/");
  return plain;
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

}  // namespace

std::optional<std::string> LinkMap::moved(std::string_view link) const {
  const std::size_t hash = std::min(link.find('#'), link.size());
  const std::string_view fragment = link.substr(hash);
  if (!is_plain_fragment(fragment)) return std::nullopt;
  const auto local = resolve_redirect(upstream_, page_, with_plain_scope(link.substr(0, hash)));
  if (!local) return std::nullopt;
  return (base_ + *local).append(fragment);
}

void JsonLinks::begin_string(std::string& out) {
  is_key_ = previous_ != ':';
  const bool holds = !is_key_ && key_ == wanted_;
  where_ = holds ? Where::holding : Where::passing;
  if (is_key_) key_.clear();
  if (holds) {
    held_ = '"';
  } else {
    out += '"';
  }
}

// The closing quote was read. True when the link was replaced.
bool JsonLinks::end_string(std::string& out) {
  where_ = Where::between;
  previous_ = '"';
  if (held_.empty()) return false;
  std::string link = held_.substr(1);
  replace_all(link, "\\/", "/");
  const auto moved = link.find('\\') == std::string::npos ? map_.moved(link) : std::nullopt;
  out += moved ? '"' + *moved : held_;
  held_.clear();
  return moved.has_value();
}

void JsonLinks::feed(std::string_view in, std::string& out) {
  for (const char c : in) {
    if (where_ == Where::between) {
      if (c == '"') {
        begin_string(out);
        continue;
      }
      if (!is_space(c)) previous_ = c;
      out += c;
      continue;
    }
    const bool ends = c == '"' && !escaped_;
    escaped_ = c == '\\' && !escaped_;
    if (ends) {
      end_string(out);
      out += c;
    } else if (where_ == Where::holding && held_.size() < kMaxLink) {
      held_ += c;
    } else {
      if (!held_.empty()) out += held_;
      held_.clear();
      where_ = Where::passing;
      out += c;
      if (is_key_ && key_.size() <= wanted_.size()) key_ += c;
    }
  }
}

void JsonLinks::finish(std::string& out) {
  out += held_;
  held_.clear();
}

void HtmlLinks::end_link(std::string& out) {
  std::string link = held_.substr(1);
  replace_all(link, "&amp;", "&");
  auto moved = map_.moved(link);
  if (moved) {
    replace_all(*moved, "&", "&amp;");
    replace_all(*moved, "'", "&#39;");
    out += quote_ + *moved;
  } else {
    out += held_;
  }
  held_.clear();
}

void HtmlLinks::feed(char c, std::string& out) {
  switch (where_) {
    case Where::text:
      if (c == '<') where_ = Where::tag;
      name_.clear();
      break;
    case Where::tag:
      if (c == '>') {
        where_ = Where::text;
      } else if ((c == '"' || c == '\'') && name_.ends_with('=')) {
        quote_ = c;
        where_ = name_ == "href=" ? Where::link : Where::value;
        if (where_ == Where::link) {
          held_ = c;
          return;
        }
      } else if (is_space(c)) {
        // White space may stand on both sides of '='.
        if (!name_.ends_with('=') && !name_.ends_with(' ')) name_ += ' ';
      } else if (c == '=') {
        while (name_.ends_with(' ')) name_.pop_back();
        name_ += '=';
      } else {
        if (name_.ends_with(' ') || name_.ends_with('=')) name_.clear();
        if (name_.size() < 16) name_ += broker::to_lower(c);
      }
      break;
    case Where::value:
      if (c == quote_) {
        where_ = Where::tag;
        name_.clear();
      }
      break;
    case Where::link:
      if (c == quote_) {
        end_link(out);
        where_ = Where::tag;
        name_.clear();
        break;
      }
      if (held_.size() < kMaxLink) {
        held_ += c;
        return;
      }
      out += held_;
      held_.clear();
      where_ = Where::value;
      break;
  }
  out += c;
}

void HtmlLinks::feed(std::string_view in, std::string& out) {
  for (const char c : in) feed(c, out);
}

void HtmlLinks::finish(std::string& out) {
  out += held_;
  held_.clear();
}

}  // namespace mintfs::proxy
