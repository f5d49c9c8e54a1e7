#include "fs/layout.h"

#include <algorithm>
#include <array>

namespace mintfs::fs {
namespace {

using broker::Configuration;

struct Folder {
  std::uint16_t number;
  std::uint16_t parent;
  std::string_view name;
};

struct File {
  std::uint16_t number;
  std::uint16_t parent;
  std::string_view name;
  Configuration configuration;
  Content content;
};

// Numbers are never given to another file. 1 to 4 are as in versions that knew no more.
constexpr std::array kFolders = {
    Folder{2, Layout::kView, "git"},       Folder{16, Layout::kView, ".config"},
    Folder{17, Layout::kView, "pip"},      Folder{18, 16, "pip"},
    Folder{19, Layout::kView, ".m2"},      Folder{20, Layout::kView, ".docker"},
    Folder{21, Layout::kView, ".kube"},    Folder{22, Layout::kView, ".cargo"},
    Folder{23, Layout::kView, "gh"},       Folder{24, 16, "gh"},
    Folder{25, Layout::kView, "glab-cli"}, Folder{26, 16, "glab-cli"},
    Folder{27, Layout::kView, "buildkit"}, Folder{28, 16, "buildkit"},
};

constexpr std::array kFiles = {
    File{1, Layout::kView, ".gitconfig", Configuration::gitconfig, Content::gitconfig},
    File{3, 2, "config", Configuration::gitconfig, Content::gitconfig},
    File{64, Layout::kView, ".git-credentials", Configuration::git_credentials, Content::git_credentials},
    File{65, Layout::kView, ".netrc", Configuration::netrc, Content::netrc},
    File{66, Layout::kView, ".npmrc", Configuration::npmrc, Content::npmrc},
    File{67, Layout::kView, ".yarnrc.yml", Configuration::yarnrc, Content::yarnrc},
    File{68, 17, "pip.conf", Configuration::pip, Content::pip},
    File{69, 18, "pip.conf", Configuration::pip, Content::pip},
    File{70, Layout::kView, ".pypirc", Configuration::pypirc, Content::pypirc},
    File{71, 19, "settings.xml", Configuration::maven, Content::maven},
    File{72, 20, "config.json", Configuration::docker, Content::docker},
    File{73, 27, "buildkitd.toml", Configuration::buildkitd, Content::buildkitd},
    File{74, 28, "buildkitd.toml", Configuration::buildkitd, Content::buildkitd},
    File{75, 22, "credentials.toml", Configuration::cargo, Content::cargo_credentials},
    File{76, 22, "config.toml", Configuration::cargo, Content::cargo_config},
    File{77, 23, "hosts.yml", Configuration::gh, Content::gh_hosts},
    File{78, 24, "hosts.yml", Configuration::gh, Content::gh_hosts},
    File{79, 23, "config.yml", Configuration::gh, Content::gh_config},
    File{80, 24, "config.yml", Configuration::gh, Content::gh_config},
    File{81, 25, "config.yml", Configuration::glab, Content::glab},
    File{82, 26, "config.yml", Configuration::glab, Content::glab},
    File{83, Layout::kView, "sonar-project.properties", Configuration::sonar, Content::sonar},
    File{84, 21, "config", Configuration::kubeconfig, Content::kubeconfig},
};

// A file of the administrator's, and the up to 6 directories that it is in.
constexpr std::uint16_t kFirstOfUsers = 256, kNumbersOfUser = 8;
static_assert(kFirstOfUsers + broker::kMaxConfigurations * kNumbersOfUser <= Layout::kNumbers);

// A directory of mintfs's own files keeps its number, whoever else is in it; 0: it is none.
std::uint16_t own_folder(std::uint16_t parent, std::string_view name) {
  const auto* const found = std::find_if(
      kFolders.begin(), kFolders.end(), [&](const Folder& each) { return each.parent == parent && each.name == name; });
  return found == kFolders.end() ? std::uint16_t{0} : found->number;
}

const Folder* folder_of(std::uint16_t number) {
  const auto* const found =
      std::find_if(kFolders.begin(), kFolders.end(), [&](const Folder& each) { return each.number == number; });
  return found == kFolders.end() ? nullptr : found;
}

}  // namespace

Layout::Layout(const std::vector<std::string>& configurations, const broker::FileConfigs& files) {
  for (std::size_t i = 0; i < configurations.size(); ++i) {
    const auto own = broker::parse_configuration(configurations[i]);
    if (own) add(*own);
    const auto file = files.find(configurations[i]);
    if (!own && file != files.end() && i < broker::kMaxConfigurations)
      add(file->second, static_cast<std::uint16_t>(kFirstOfUsers + i * kNumbersOfUser));
  }
  entries_.push_back({kAuthorities, kView, "ca.crt", Content::authorities, 0});
}

void Layout::add(Configuration configuration) {
  for (const File& file : kFiles) {
    if (file.configuration != configuration || find(file.number) != nullptr) continue;
    const auto known =
        std::find_if(texts_.begin(), texts_.end(), [&](const Source& each) { return each.content == file.content; });
    const auto text = static_cast<std::uint16_t>(known - texts_.begin());
    if (known == texts_.end()) texts_.push_back({file.content, nullptr});
    for (const Folder* folder = folder_of(file.parent); folder != nullptr && find(folder->number) == nullptr;
         folder = folder_of(folder->parent))
      entries_.push_back({folder->number, folder->parent, folder->name, std::nullopt, 0});
    entries_.push_back({file.number, file.parent, file.name, file.content, text});
  }
}

void Layout::add(const broker::FileConfigPtr& file, std::uint16_t number) {
  const std::string_view path = file->path;
  std::uint16_t parent = kView, folder = number;
  std::size_t at = 0;
  for (std::size_t end; (end = path.find('/', at)) != std::string_view::npos; at = end + 1) {
    const std::string_view name = path.substr(at, end - at);
    ++folder;
    const std::uint16_t taken = own_folder(parent, name);
    if (const Entry* known = find(parent, name); known != nullptr) {
      parent = known->number;
      continue;
    }
    entries_.push_back({taken != 0 ? taken : folder, parent, name, std::nullopt, 0});
    parent = entries_.back().number;
  }
  entries_.push_back({number, parent, path.substr(at), Content::user, static_cast<std::uint16_t>(texts_.size())});
  texts_.push_back({Content::user, file});
}

const Layout::Entry* Layout::find(std::uint16_t number) const {
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& each) { return each.number == number; });
  return found == entries_.end() ? nullptr : &*found;
}

const Layout::Entry* Layout::find(std::uint16_t parent, std::string_view name) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& each) { return each.parent == parent && each.name == name; });
  return found == entries_.end() ? nullptr : &*found;
}

}  // namespace mintfs::fs
