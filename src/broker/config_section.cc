#include "broker/config_section.h"

#include <algorithm>
#include <sstream>

namespace mintfs::broker {
namespace {

bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}

}  // namespace

void Section::fail(const toml::node& where, const std::string& key, const std::string& sentence) const {
  const auto& begin = where.source().begin;
  std::ostringstream message;
  message << file_ << ':' << begin.line << ':' << begin.column << ": " << name(key) << ": " << sentence;
  throw ConfigError(message.str());
}

void Section::fail_at(const std::string& key, const std::string& sentence) const {
  const auto* node = table_.get(key);
  fail(node == nullptr ? static_cast<const toml::node&>(table_) : *node, key, sentence);
}

bool Section::text(const std::string& key, std::string& out) {
  const auto* node = get(key);
  if (node == nullptr) return false;
  const auto value = node->value_exact<std::string>();
  if (!value) fail(*node, key, "must be a string");
  if (value->empty()) fail(*node, key, "must not be empty");
  if (!is_printable(*value)) fail(*node, key, "must be printable ASCII");
  out = *value;
  return true;
}

void Section::path(const std::string& key, std::filesystem::path& out) {
  std::string value;
  if (!text(key, value)) return;
  if (!value.starts_with('/')) fail_at(key, "must be an absolute path");
  out = std::filesystem::path(value).lexically_normal();
}

void Section::lines(const std::string& key, std::string& out) {
  const auto* node = get(key);
  if (node == nullptr) return;
  const auto value = node->value_exact<std::string>();
  if (!value) fail(*node, key, "must be a string");
  if (value->empty()) fail(*node, key, "must not be empty");
  out = *value;
}

void Section::duration(const std::string& key, std::chrono::seconds& out) {
  const auto* node = get(key);
  if (node == nullptr) return;
  const auto value = node->value_exact<std::string>();
  const auto parsed = value ? parse_duration(*value) : std::nullopt;
  if (!parsed) fail(*node, key, "must be a duration such as \"30m\", \"2h\" or \"1h30m\"");
  out = *parsed;
}

void Section::flag(const std::string& key, bool& out) {
  const auto* node = get(key);
  if (node == nullptr) return;
  const auto value = node->value_exact<bool>();
  if (!value) fail(*node, key, "must be true or false");
  out = *value;
}

void Section::count(const std::string& key, std::uint32_t& out, std::uint32_t least, std::uint32_t most) {
  const auto* node = get(key);
  if (node == nullptr) return;
  const auto value = node->value_exact<std::int64_t>();
  if (!value || *value < least || *value > most)
    fail(*node, key, "must be a number from " + std::to_string(least) + " to " + std::to_string(most));
  out = static_cast<std::uint32_t>(*value);
}

void Section::number(const std::string& key, std::int32_t& out, std::int32_t least, std::int32_t most) {
  const auto* node = get(key);
  if (node == nullptr) return;
  const auto value = node->value_exact<std::int64_t>();
  if (!value || *value < least || *value > most)
    fail(*node, key, "must be a number from " + std::to_string(least) + " to " + std::to_string(most));
  out = static_cast<std::int32_t>(*value);
}

std::vector<Section::Text> Section::list(const std::string& key) {
  const auto* node = get(key);
  if (node == nullptr) return {};
  const auto* array = node->as_array();
  if (array == nullptr) fail(*node, key, "must be a list of strings");
  std::vector<Text> texts;
  for (const auto& element : *array) {
    auto value = element.value_exact<std::string>();
    if (!value || value->empty() || !is_printable(*value)) fail(element, key, "must be a list of strings");
    texts.push_back({std::move(*value), &element});
  }
  return texts;
}

const toml::table* Section::inner(const std::string& key) {
  const auto* node = get(key);
  if (node == nullptr) return nullptr;
  const auto* table = node->as_table();
  if (table == nullptr) fail(*node, key, "must be a table");
  return table;
}

std::vector<const toml::table*> Section::tables(const std::string& key) {
  const auto* node = get(key);
  if (node == nullptr) return {};
  const auto* array = node->as_array();
  if (array == nullptr) fail(*node, key, "must be written as [[" + key + "]]");
  if (array->size() > kMaxTables)
    fail(*node, key,
         "must be at most " + std::to_string(kMaxTables) + ", not " + std::to_string(array->size()) +
             "; share them among daemons");
  std::vector<const toml::table*> found;
  for (const auto& element : *array) {
    const auto* table = element.as_table();
    if (table == nullptr) fail(element, key, "must be written as [[" + key + "]]");
    found.push_back(table);
  }
  return found;
}

void Section::finish() const {
  for (const auto& [key, node] : table_) {
    const std::string text(key.str());
    if (known_.contains(text)) continue;
    std::string list;
    for (const auto& each : known_) list += (list.empty() ? "" : ", ") + each;
    std::ostringstream message;
    message << file_ << ':' << key.source().begin.line << ':' << key.source().begin.column << ": " << name(text)
            << ": unknown key; known here: " << list;
    throw ConfigError(message.str());
  }
}

const toml::node* Section::get(const std::string& key) {
  known_.insert(key);
  return table_.get(key);
}

}  // namespace mintfs::broker
