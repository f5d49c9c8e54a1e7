// TLS towards clients: the certificate of the https listeners, read again when it changes.
#pragma once

#include "broker/config.h"
#include "broker/state_file.h"
#include "broker/sync.h"

#include <openssl/types.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace mintfs::proxy {

// Thread-safe.
class ServerTls {
 public:
  using ContextPtr = std::shared_ptr<SSL_CTX>;
  struct Files {
    std::filesystem::path certificate{};  // empty: no TLS
    std::filesystem::path key{};
    std::filesystem::path authorities{};  // whom clients must trust; empty: see authorities()
  };

  // Throws std::runtime_error with one sentence.
  explicit ServerTls(Files files);

  // TLS 1.2 or newer, HTTP/1.1 by ALPN. Null where there is no certificate. Connections keep the one they began with.
  ContextPtr current();
  // PEM of whom clients must be told to trust: the file of that name, or else a certificate that signed
  // itself. Null where the client's own authorities will do.
  std::shared_ptr<const std::string> authorities();

  // Looks whether a file has changed, and takes up the new ones when all of them can be used together;
  // until then the former ones serve. `report` gets one sentence for each change. About once a second, by one
  // thread. Whether authorities() has changed.
  bool refresh(const std::function<void(std::string)>& report);

 private:
  struct Loaded {
    ContextPtr context;
    std::shared_ptr<const std::string> authorities;
  };
  static Loaded load(const Files& files);
  using Versions = std::array<broker::FileVersion, 3>;
  Versions versions() const;

  const Files files_;
  broker::Sync<Loaded> loaded_;
  Versions used_;      // of what is loaded
  Versions reported_;  // of what could not be used, when that was told
};

}  // namespace mintfs::proxy
