#include "broker/file_template.h"

#include "broker/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace mintfs::broker {
namespace {

using testing::HasSubstr;

FileScene scene(int connectors = 2) {
  FileScene scene{.proxy_url = "http://p:1", .proxy_host = "p:1", .lease = "abc", .authorities = "", .connectors = {}};
  for (int i = 0; i < connectors; ++i)
    scene.connectors.push_back({.name = "n" + std::to_string(i),
                                .space = "default",
                                .label = "l\"<" + std::to_string(i),
                                .class_name = "npm",
                                .url = "http://p:1/n",
                                .address = "https://a",
                                .host = "a",
                                .token = "\x01t\x02",
                                .basic = "\x01"
                                         "b\x02"});
  return scene;
}

Result<std::string> expanded(const std::string& text, const FileScene& given, Escape escape = Escape::none) {
  FileConfig file;
  file.text = text;
  file.escape = escape;
  return expand(file, given, [](std::string_view value) { return value.starts_with('\x01'); });
}

TEST(FileTemplate, IsExpandedForEachConnector) {
  EXPECT_EQ(
      expanded(
          "{{proxy_url}} {{proxy_host}} {{lease}}{{#connectors}} {{name}}={{url}}{{^last}},{{/last}}{{/connectors}}\n",
          scene())
          .value(),
      "http://p:1 p:1 abc n0=http://p:1/n, n1=http://p:1/n\n");
  EXPECT_EQ(expanded("{{#authorities}}ca={{authorities}}{{/authorities}}", scene()).value(), "");
  auto trusted = scene();
  trusted.authorities = "/ca.crt";
  EXPECT_EQ(expanded("{{#authorities}}ca={{authorities}}{{/authorities}}", trusted).value(), "ca=/ca.crt");
}

TEST(FileTemplate, EscapesAsItIsToldAndNeverAToken) {
  const std::string text = "{{#connectors}}{{label}}{{{label}}}{{token}}{{/connectors}}";
  EXPECT_EQ(expanded(text, scene(1)).value(), "l\"<0l\"<0\x01t\x02");
  EXPECT_EQ(expanded(text, scene(1), Escape::json).value(), "l\\\"<0l\"<0\x01t\x02");
  EXPECT_EQ(expanded(text, scene(1), Escape::xml).value(), "l&quot;&lt;0l\"<0\x01t\x02");
}

TEST(FileTemplate, IsBounded) {
  const std::string large = "{{#connectors}}" + std::string(10'000, 'x') + "\n{{/connectors}}";
  EXPECT_TRUE(expanded(large, scene(3)));
  EXPECT_EQ(to_errc(expanded(large, scene(32)).error()), Errc::too_many);
}

TEST(FileTemplateFault, IsFoundInWhatATemplateMayNotSay) {
  struct Case {
    std::string text;
    std::string says;
  };
  for (const auto& [text, says] : {
           Case{"{{tokn}}", "knows no 'tokn'; known here are proxy_url"},
           Case{"{{token}}", "knows no 'token'"},
           Case{"{{#connectors}}{{tokn}}{{/connectors}}", "'tokn'; known here are proxy_url, proxy_host, lease"},
           Case{"{{#connectors}}{{password}}{{/connectors}}", "knows no 'password'"},
           Case{"{{#connectors}}{{#connectors}}{{/connectors}}{{/connectors}}", "within itself"},
           Case{"{{#connectors}}", "not closed"},
           Case{"{{/connectors}}", "not open"},
           Case{"{{#connectors}}{{/last}}", "not open"},
           Case{"{{proxy_url", "not closed"},
           Case{"{{{proxy_url}}", "not closed"},
           Case{"{{", "not closed"},
           Case{"{{}}", "empty tag"},
           Case{"{{> /etc/passwd}}", "may not include"},
           Case{"{{=<% %>=}}", "change what tags look like"},
           Case{"{{connectors}}", "it is a section"},
           Case{"a\x01t0\x02", "printable ASCII"},
           Case{"caf\xc3\xa9", "printable ASCII"},
           Case{std::string(64 * 1024 + 1, 'x'), "over 64 KiB"},
       }) {
    const auto fault = find_fault(text);
    ASSERT_TRUE(fault) << text;
    EXPECT_THAT(*fault, HasSubstr(says)) << text;
  }
  for (const std::string text :
       {"", "no tag } }} {", "{{! a comment, what of it: {x} }}", "{{& proxy_url }}\n\t{{{ lease }}}"})
    EXPECT_FALSE(find_fault(text)) << text << *find_fault(text);
}

TEST(FilePath, StaysInTheViewAndOutOfTheWay) {
  for (const std::string path :
       {"/etc/x", "../x", "a/../b", "a//b", "a/", "", ".", "a b", "a\nb", "caf\xc3\xa9", "a/b/c/d/e/f/g/h", ".npmrc",
        "ca.crt", "git", "git/config/x", ".config/pip", ".config/pip/pip.conf", ".docker", "pip/pip.conf/x"})
    EXPECT_TRUE(find_fault_in_path(path)) << path;
  EXPECT_TRUE(find_fault_in_path(std::string(65, 'x')));
  for (const std::string path :
       {"a", ".a", "a/b/c/d/e/f/g", ".config/pip/other.conf", ".docker/daemon.json", "git/ignore"})
    EXPECT_FALSE(find_fault_in_path(path)) << path;
}

std::string refusal(const std::string& text) {
  try {
    parse_config(text, "x.toml");
    return "";
  } catch (const ConfigError& error) {
    return error.what();
  }
}

TEST(FileSection, IsReadWithItsErrorsAtTheirKeys) {
  const std::string good = "[[file]]\nname = \"own\"\npath = \"dir/own\"\ntemplate = \"\"\"\n{{proxy_url}}\n\"\"\"\n";
  const Config config =
      parse_config(good + "classes = [\"npm\"]\nescape = \"xml\"\nvariable = \"OWN_FILE\"\n", "x.toml");
  ASSERT_EQ(config.files.size(), 1u);
  const FileConfig& file = *config.files.at("own");
  EXPECT_EQ(file.text, "{{proxy_url}}\n");
  EXPECT_EQ(file.variable, "OWN_FILE");
  EXPECT_TRUE(file.is_for(ConnectorClass::npm));
  EXPECT_FALSE(file.is_for(ConnectorClass::git));

  EXPECT_THAT(refusal("[[file]]\nname = \"own\"\npath = \"own\"\ntemplate = \"{{tokn}}\"\n"),
              HasSubstr("x.toml:4:12: file.template: knows no 'tokn'"));
  EXPECT_THAT(refusal("[[file]]\nname = \"npmrc\"\npath = \"own\"\ntemplate = \"x\"\n"), HasSubstr("mintfs's own"));
  EXPECT_THAT(refusal("[[file]]\nname = \"Own\"\npath = \"own\"\ntemplate = \"x\"\n"), HasSubstr("file.name: must be"));
  EXPECT_THAT(refusal("[[file]]\nname = \"own\"\npath = \"../own\"\ntemplate = \"x\"\n"),
              HasSubstr("file.path: must be"));
  EXPECT_THAT(refusal("[[file]]\nname = \"own\"\npath = \"own\"\n"), HasSubstr("file.template: is missing"));
  EXPECT_THAT(refusal("[[file]]\nname = \"own\"\npath = \"own\"\ntemplate = \"x\"\ntemplate_file = \"/x\"\n"),
              HasSubstr("exclude each other"));
  EXPECT_THAT(refusal("[[file]]\nname = \"own\"\npath = \"own\"\ntemplate_file = \"/nowhere/x\"\n"),
              HasSubstr("file.template_file: /nowhere/x cannot be read"));
  EXPECT_THAT(refusal(good + good), HasSubstr("is there twice"));
  EXPECT_THAT(refusal(good + "[[file]]\nname = \"two\"\npath = \"dir/own/two\"\ntemplate = \"x\"\n"),
              HasSubstr("in the way"));
  EXPECT_THAT(refusal(good + "classes = [\"npmm\"]\n"), HasSubstr("'npmm' is not a class"));
  EXPECT_THAT(refusal(good + "escape = \"yaml\"\n"), HasSubstr("none, json or xml"));
  for (const std::string name : {"LD_PRELOAD", "PATH", "GIT_SSH", "lower", "1X"})
    EXPECT_THAT(refusal(good + "variable = \"" + name + "\"\n"), HasSubstr("file.variable")) << name;
}

}  // namespace
}  // namespace mintfs::broker
