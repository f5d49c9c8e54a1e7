#include "proxy/credentials/credential.h"

#include "proxy/credentials/header_lines.h"
#include "proxy/trust.h"

#include <optional>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

namespace mintfs::proxy {
namespace {

using broker::Secret;

// Of "Token abc" the last word is what must not come back.
std::string_view last_word(std::string_view value) { return value.substr(value.rfind(' ') + 1); }

}  // namespace

CredentialPtr load_credential(const broker::ConnectorConfig& connector) {
  return make_credential(connector, broker::read_secret_line(connector.auth.secret_file));
}

CredentialPtr make_credential(const broker::ConnectorConfig& connector, const Secret& secret) {
  HeaderLines lines = header_lines(connector, secret.reveal());
  const bool words = connector.auth.type == broker::AuthConfig::Type::header;
  return std::make_shared<const Credential>(
      Credential{std::move(lines.usual), std::move(lines.page),
                 ScrubPatterns(sent_username(connector), words ? last_word(secret.reveal()) : secret.reveal())});
}

void CredentialStore::load(const broker::Connectors& connectors) {
  std::map<broker::ConnectorName, Entry> loaded;
  std::vector<Watched> watched;
  for (const auto& [name, connector] : connectors) {
    // The version is taken first: a change in between is seen by the next refresh.
    const auto version = broker::FileVersion::of(connector.auth.secret_file);
    try {
      if (connector.address.tls())
        make_client_context(connector);  // a bad ca_file is told now, not at the first request
      loaded.emplace(name, Entry{connector, load_credential(connector)});
      watched.push_back({name, connector.auth.secret_file, version, version});
    } catch (const std::exception& error) {
      throw std::runtime_error("connector '" + name.text() + "': " + error.what());
    }
  }
  auto locked = watched_.lock();
  locked->swap(watched);
  entries_.lock()->swap(loaded);
}

void CredentialStore::put(const broker::ConnectorConfig& connector, CredentialPtr credential) {
  entries_.lock()->insert_or_assign(connector.name, Entry{connector, std::move(credential)});
}

void CredentialStore::remove(const broker::ConnectorName& name) { entries_.lock()->erase(name); }

CredentialPtr CredentialStore::find(const broker::ConnectorConfig& connector) {
  auto entries = entries_.lock();
  const auto found = entries->find(connector.name);
  if (found == entries->end()) return nullptr;
  const auto& known = found->second.connector;
  const bool same = known.address == connector.address && known.auth == connector.auth &&
                    known.connector_class == connector.connector_class;
  return same ? found->second.credential : nullptr;
}

// False when there is no such connector any more. Throws like load_credential().
bool CredentialStore::read_again(const Watched& watched) {
  std::optional<broker::ConnectorConfig> connector;
  {
    auto entries = entries_.lock();
    if (const auto found = entries->find(watched.connector); found != entries->end())
      connector = found->second.connector;
  }
  if (!connector) return false;
  CredentialPtr credential = load_credential(*connector);
  auto entries = entries_.lock();
  entries->at(watched.connector).credential = std::move(credential);
  return true;
}

void CredentialStore::refresh(const std::function<void(std::string)>& report) {
  auto watched = watched_.lock();  // so that no load() comes between; requests do not take it
  for (auto& each : *watched) {
    const auto version = broker::FileVersion::of(each.file);
    if (version == each.loaded) continue;
    try {
      if (!read_again(each)) continue;
      each.loaded = each.reported = version;
      report("connector '" + each.connector.text() + "': the secret was read again");
    } catch (const std::exception& error) {
      if (version == each.reported) continue;
      each.reported = version;
      report("connector '" + each.connector.text() + "' keeps its former secret: " + error.what());
    }
  }
}

}  // namespace mintfs::proxy
