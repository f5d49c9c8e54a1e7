// Builds a Template, and writes values so that none can add a key, a line or an element.
//
// Every format has its own traps, so every value goes through the function of its format. What a format
// cannot hold is refused: the text then is none, and an open fails.
#pragma once

#include "broker/error.h"
#include "fs/template.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mintfs::fs {

class Text {
 public:
  // As it is; what a renderer itself says.
  Text& raw(std::string_view text) {
    text_.text.append(text);
    return *this;
  }
  // Formats of lines without a common way to quote (netrc, npmrc, INI, properties): letters, digits and what URLs
  // need of punctuation. No space, quote, '#', ';', '=', '%', '$', '\' or '!'.
  Text& plain(std::string_view value);
  // In double quotes, which JSON, YAML and TOML read alike.
  Text& quoted(std::string_view value);
  // As the content of an XML element.
  Text& xml(std::string_view value);
  Text& token(std::uint32_t connector, std::size_t token_size, Template::Form form = Template::Form::token);

  // What cannot be written: take() gives `internal`.
  void refuse() { refused_ = true; }
  void refuse_if(bool condition) { refused_ = refused_ || condition; }
  std::size_t size() const { return text_.text.size(); }
  // `id` is the lease's: its places are looked for.
  broker::Result<Template> take(std::string_view id);

 private:
  Template text_;
  bool refused_ = false;
};

}  // namespace mintfs::fs
