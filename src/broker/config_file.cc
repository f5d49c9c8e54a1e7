// Reads [[file]].
#include "broker/config_section.h"
#include "broker/configuration.h"

#include <fstream>
#include <iterator>

namespace mintfs::broker {
namespace {

std::string read_template(Section& section) {
  const bool named = section.has("template_file");
  if (named == section.has("template"))
    section.fail("template", named ? "and template_file exclude each other" : "is missing; or name a template_file");
  std::string text;
  if (!named) {
    section.lines("template", text);
    return text;
  }
  std::filesystem::path file;
  section.path("template_file", file);
  std::ifstream stream(file, std::ios::binary);
  text.resize(kMaxTemplate + 1);
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!stream.is_open() || stream.bad()) section.fail_at("template_file", file.string() + " cannot be read");
  text.resize(static_cast<std::size_t>(stream.gcount()));
  return text;
}

void read_classes(Section& section, FileConfig& file) {
  section.texts("classes", [&](const std::string& word, const toml::node& node) {
    const auto known = parse_connector_class(word);
    if (!known) section.fail(node, "classes", "'" + word + "' is not a class of connectors");
    file.classes.push_back(*known);
  });
  if (section.has("classes") && file.classes.empty()) section.fail_at("classes", "is empty; leave it out for all");
}

void read_variable(Section& section, FileConfig& file) {
  section.text("variable", file.variable);
  const auto is_good = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; };
  const bool digit = !file.variable.empty() && file.variable.front() >= '0' && file.variable.front() <= '9';
  if (digit || file.variable.size() > 64 || !std::all_of(file.variable.begin(), file.variable.end(), is_good))
    section.fail_at("variable", "must be a variable's name of upper-case letters, digits and '_'");
  // With these a file would be run, or decide what is run.
  for (const std::string_view taken : {"PATH", "HOME", "IFS", "ENV", "SHELL", "BASH_ENV"})
    if (file.variable == taken) section.fail_at("variable", "'" + file.variable + "' is not for files");
  for (const std::string_view group : {"LD_", "GIT_", "MINTFS_"})
    if (file.variable.starts_with(group)) section.fail_at("variable", "'" + file.variable + "' is not for files");
}

}  // namespace

FileConfig read_file(Section& section) {
  FileConfig file;
  if (!section.text("name", file.name)) section.fail("name", "is missing");
  if (!is_configuration_name(file.name))
    section.fail_at("name", "must be of lower-case letters, digits, '.', '_' and '-'");
  if (parse_configuration(file.name)) section.fail_at("name", "'" + file.name + "' is one of mintfs's own");
  if (!section.text("path", file.path)) section.fail("path", "is missing, for example \".config/tool/config.yml\"");
  if (const auto fault = find_fault_in_path(file.path)) section.fail_at("path", *fault);
  file.text = read_template(section);
  const char* const key = section.has("template_file") ? "template_file" : "template";
  if (const auto fault = find_fault(file.text)) section.fail_at(key, *fault);
  read_classes(section, file);
  read_variable(section, file);
  std::string escape = "none";
  section.text("escape", escape);
  if (escape != "none" && escape != "json" && escape != "xml") section.fail_at("escape", "must be none, json or xml");
  file.escape = escape == "json" ? Escape::json : escape == "xml" ? Escape::xml : Escape::none;
  return file;
}

}  // namespace mintfs::broker
