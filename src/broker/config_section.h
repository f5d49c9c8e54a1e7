// One table of the configuration file, and what its readers have in common.
//
// A section remembers which keys were asked for: what is left over is unknown. Every error names the
// file, line, column and the key, and is thrown as ConfigError.
#pragma once

#include "broker/config.h"

#include <toml++/toml.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

namespace mintfs::broker {

class Section {
 public:
  static constexpr std::size_t kMaxTables = 10'000;  // of an array of tables

  // `file` and `table` outlive it; `path` is where the table stands: "proxy", or "" for the whole file.
  Section(const std::string& file, const toml::table& table, std::string path)
      : file_(file), table_(table), path_(std::move(path)) {}

  [[noreturn]] void fail(const toml::node& where, const std::string& key, const std::string& sentence) const;
  [[noreturn]] void fail(const std::string& key, const std::string& sentence) const { fail(table_, key, sentence); }
  [[noreturn]] void fail_at(const std::string& key, const std::string& sentence) const;

  bool has(const std::string& key) { return get(key) != nullptr; }

  // Each leaves `out` alone where the key is missing.
  bool text(const std::string& key, std::string& out);
  void path(const std::string& key, std::filesystem::path& out);
  void lines(const std::string& key, std::string& out);  // any text but none
  void duration(const std::string& key, std::chrono::seconds& out);
  void flag(const std::string& key, bool& out);
  void count(const std::string& key, std::uint32_t& out, std::uint32_t least, std::uint32_t most);
  void number(const std::string& key, std::int32_t& out, std::int32_t least, std::int32_t most);

  // Calls each(text, node) for the strings of a list.
  template <class Function>
  void texts(const std::string& key, Function each) {
    for (const auto& [value, node] : list(key)) each(value, *node);
  }

  // The same where a single string may stand for a list of one.
  template <class Function>
  void text_or_texts(const std::string& key, Function each) {
    if (std::string one; table_.get(key) != nullptr && table_.get(key)->is_string()) {
      if (text(key, one)) each(one, *table_.get(key));
    } else {
      texts(key, each);
    }
  }

  // Calls read(section) for the table, or for each of an array of tables; keys that it did not ask for are
  // refused.
  template <class Function>
  void section(const std::string& key, Function read) {
    const auto* table = inner(key);
    if (table == nullptr) return;
    Section section(file_, *table, name(key));
    read(section);
    section.finish();
  }
  template <class Function>
  void sections(const std::string& key, Function read) {
    for (const auto* table : tables(key)) {
      Section section(file_, *table, name(key));
      read(section);
      section.finish();
    }
  }

  // To be called when everything known was read.
  void finish() const;

 private:
  struct Text {
    std::string value;
    const toml::node* node;
  };
  std::string name(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }
  const toml::node* get(const std::string& key);
  std::vector<Text> list(const std::string& key);
  const toml::table* inner(const std::string& key);
  std::vector<const toml::table*> tables(const std::string& key);

  const std::string& file_;
  const toml::table& table_;
  std::string path_;
  std::set<std::string> known_;
};

// The readers of the larger tables.
ConnectorConfig read_connector(Section& section);
FileConfig read_file(Section& section);
void read_proxy(Section& section, Config& config);
void read_kubernetes(Section& section, Config& config);
void read_node(Section& section, Config& config);
void read_admin(Section& section, Config& config);

}  // namespace mintfs::broker
