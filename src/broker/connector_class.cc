#include "broker/connector_class.h"

#include <cstddef>

namespace mintfs::broker {
namespace {

struct Row {
  ConnectorClass connector_class;
  std::string_view word;
  bool git = false, oci = false, formats = false;  // serves_git(), serves_oci(), keeps_formats()
};

constexpr std::array kRows = {
    Row{.connector_class = ConnectorClass::git, .word = "git", .git = true},
    Row{.connector_class = ConnectorClass::github, .word = "github", .git = true},
    Row{.connector_class = ConnectorClass::gitlab, .word = "gitlab", .git = true},
    Row{.connector_class = ConnectorClass::oci, .word = "oci", .oci = true},
    Row{.connector_class = ConnectorClass::harbor, .word = "harbor", .oci = true},
    Row{.connector_class = ConnectorClass::npm, .word = "npm"},
    Row{.connector_class = ConnectorClass::pypi, .word = "pypi"},
    Row{.connector_class = ConnectorClass::maven, .word = "maven"},
    Row{.connector_class = ConnectorClass::nexus, .word = "nexus", .formats = true},
    Row{.connector_class = ConnectorClass::jfrog, .word = "jfrog", .formats = true},
    Row{.connector_class = ConnectorClass::sonarqube, .word = "sonarqube"},
    Row{.connector_class = ConnectorClass::k8s, .word = "k8s"},
};

// So that each stands where its number says.
constexpr bool are_in_order() {
  for (std::size_t i = 0; i < kRows.size(); ++i)
    if (static_cast<std::size_t>(kRows[i].connector_class) != i || kConnectorClasses[i] != kRows[i].connector_class)
      return false;
  return true;
}
static_assert(kRows.size() == kConnectorClasses.size() && are_in_order());

constexpr const Row& row_of(ConnectorClass connector_class) { return kRows[static_cast<std::size_t>(connector_class)]; }

}  // namespace

std::string_view to_string(ConnectorClass connector_class) noexcept { return row_of(connector_class).word; }

std::optional<ConnectorClass> parse_connector_class(std::string_view word) noexcept {
  for (const Row& row : kRows)
    if (row.word == word) return row.connector_class;
  return std::nullopt;
}

bool serves_git(ConnectorClass connector_class) noexcept { return row_of(connector_class).git; }
bool serves_oci(ConnectorClass connector_class) noexcept { return row_of(connector_class).oci; }
bool keeps_formats(ConnectorClass connector_class) noexcept { return row_of(connector_class).formats; }

}  // namespace mintfs::broker
