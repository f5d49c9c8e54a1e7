// Whom to trust for a server: the certificates of a file, which is read again when it has changed.
#pragma once

#include "broker/state_file.h"

#include <boost/asio/ssl/context.hpp>

#include <filesystem>
#include <memory>

namespace mintfs::kube {

class Trust {
 public:
  // Throws std::runtime_error with one sentence where the file (PEM) cannot be read.
  explicit Trust(std::filesystem::path ca_file);

  // Where the file cannot be read any more, the former certificates stay. Valid until the next call; streams that
  // were made with it live on.
  boost::asio::ssl::context& get();

 private:
  std::filesystem::path ca_file_;
  broker::FileVersion version_;
  std::unique_ptr<boost::asio::ssl::context> context_;
};

}  // namespace mintfs::kube
