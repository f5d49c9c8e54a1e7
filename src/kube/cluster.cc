#include "kube/cluster.h"

#include <algorithm>
#include <fstream>
#include <stdexcept>
#include <utility>

namespace mintfs::kube {
namespace {

constexpr std::size_t kMaxToken = 16 * 1024;
constexpr std::size_t kMaxNamespace = 63;

bool is_token_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("-._~+/=").find(c) != std::string_view::npos;
}

Failure token_missing(const std::filesystem::path& file, std::string_view what) {
  return {.reason = Reason::token_missing, .message = "the token file " + file.string() + " " + std::string(what)};
}

std::string read_namespace(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::string space;
  std::getline(stream, space);
  if (space.empty() || space.size() > kMaxNamespace)
    throw std::runtime_error("cannot read this pod's namespace from " + file.string() +
                             "; the pod needs automountServiceAccountToken");
  return space;
}

}  // namespace

Cluster in_cluster(const std::function<const char*(const char*)>& variable, const std::filesystem::path& folder) {
  const char* const host = variable("KUBERNETES_SERVICE_HOST");
  const char* const port = variable("KUBERNETES_SERVICE_PORT");
  if (host == nullptr || port == nullptr)
    throw std::runtime_error(
        "this does not run in a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set");
  const bool v6 = std::string_view(host).find(':') != std::string_view::npos;
  const std::string url = std::string("https://") + (v6 ? "[" : "") + host + (v6 ? "]" : "") + ":" + port;
  return at(url, folder / "token", folder / "ca.crt", read_namespace(folder / "namespace"));
}

Cluster at(std::string_view url, std::filesystem::path token_file, std::filesystem::path ca_file, std::string space) {
  auto server = broker::Address::parse(url);
  if (!server || !server->tls() || !server->prefix.empty())
    throw std::runtime_error("the API server's address must be https://HOST:PORT and is \"" + printable(url) + "\"");
  return {std::move(*server), std::move(token_file), std::move(ca_file), std::move(space)};
}

Outcome<broker::Secret> TokenFile::get() {
  const auto version = broker::FileVersion::of(file_);
  if (!token_.empty() && version == version_) return token_.clone();
  std::ifstream stream(file_, std::ios::binary);
  broker::Secret room(kMaxToken + 1);
  stream.read(room.bytes().data(), static_cast<std::streamsize>(room.size()));
  std::string_view text = room.reveal().substr(0, static_cast<std::size_t>(stream.gcount()));
  if (stream.bad() || text.empty()) return token_missing(file_, "cannot be read or is empty");
  if (text.size() > kMaxToken) return token_missing(file_, "is over 16 KiB");
  if (text.back() == '\n') text.remove_suffix(1);
  if (text.empty() || !std::all_of(text.begin(), text.end(), is_token_character))
    return token_missing(file_, "does not hold a token");
  token_ = broker::Secret(text);
  version_ = version;
  return token_.clone();
}

}  // namespace mintfs::kube
