// Where the API server is, whom to trust for it and who we are: as a pod finds them, or as told.
#pragma once

#include "broker/config.h"
#include "broker/secret.h"
#include "broker/state_file.h"
#include "kube/failure.h"

#include <filesystem>
#include <functional>
#include <string>

namespace mintfs::kube {

struct Cluster {
  broker::Address server;  // https, always: our token goes there
  std::filesystem::path token_file;
  std::filesystem::path ca_file;  // PEM
  std::string space;              // our own namespace
};

inline constexpr const char* kServiceAccountFolder = "/var/run/secrets/kubernetes.io/serviceaccount";

// What kubelet gives every pod: KUBERNETES_SERVICE_HOST and _PORT, and the files of its service account.
// `variable` is std::getenv. Throws std::runtime_error with one sentence.
Cluster in_cluster(const std::function<const char*(const char*)>& variable,
                   const std::filesystem::path& folder = kServiceAccountFolder);
// The same from explicit places. Throws std::runtime_error where `url` is not https.
Cluster at(std::string_view url, std::filesystem::path token_file, std::filesystem::path ca_file, std::string space);

// The token of our service account. kubelet replaces the file long before the token ends; it is read again
// as soon as it has changed.
class TokenFile {
 public:
  explicit TokenFile(std::filesystem::path file) : file_(std::move(file)) {}
  // token_missing: cannot be read, empty, over 16 KiB, or not fit for a header line (RFC 6750 section 2.1).
  Outcome<broker::Secret> get();

 private:
  std::filesystem::path file_;
  broker::FileVersion version_;
  broker::Secret token_;
};

}  // namespace mintfs::kube
