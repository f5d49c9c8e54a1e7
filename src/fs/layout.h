// Which files and directories a view has, where they are, and the number of each.
//
// The view serves as HOME and as XDG_CONFIG_HOME: each file is where its tool looks for it there, which may
// be two places. A number means the same file in every version of mintfsd, since the kernel keeps node ids
// that are made of it while one mintfsd follows another.
#pragma once

#include "fs/render.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::fs {

class Layout {
 public:
  static constexpr std::uint16_t kView = 0;           // the view's own directory
  static constexpr std::uint16_t kAuthorities = 4;    // ca.crt, which is there where the proxy has authorities to tell
  static constexpr std::uint16_t kNumbers = 1 << 10;  // all are below

  struct Entry {
    std::uint16_t number;
    std::uint16_t parent;            // kView, or the number of a directory
    std::string_view name;           // lives as long as the layout
    std::optional<Content> content;  // none: a directory
    std::uint16_t text;              // of a file: which of texts()
  };

  // What is in one file, wherever it is.
  struct Source {
    Content content;
    broker::FileConfigPtr file;  // of Content::user
  };

  // Of a lease with these configurations; names that are not known are passed over. A file of `files` has a
  // number by its place among the configurations, and so have the directories that it alone is in.
  explicit Layout(const std::vector<std::string>& configurations, const broker::FileConfigs& files = {});

  const Entry* find(std::uint16_t number) const;
  const Entry* find(std::uint16_t parent, std::string_view name) const;
  const std::vector<Entry>& entries() const { return entries_; }  // in the order in which they are listed
  // What there is to render; files in two places have one text.
  const std::vector<Source>& texts() const { return texts_; }

 private:
  void add(broker::Configuration configuration);
  void add(const broker::FileConfigPtr& file, std::uint16_t number);

  std::vector<Entry> entries_;
  std::vector<Source> texts_;
};

}  // namespace mintfs::fs
