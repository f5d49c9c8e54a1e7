#include "mintfs/secret_check.h"

#include "broker/state_file.h"

#include <boost/asio/ssl/context.hpp>

#include <cerrno>
#include <functional>
#include <stdexcept>
#include <string>

#include <unistd.h>

namespace mintfs::cli {
namespace {

using State = Finding::State;

// `read` throws one sentence when the file is of no use.
Finding check_file(std::string subject, const std::filesystem::path& file, const std::string& good,
                   const std::function<void()>& read) {
  if (::access(file.c_str(), R_OK) != 0 && errno == EACCES)
    return {State::warn, std::move(subject), file.string() + " cannot be looked at by you",
            "run this command as the user of mintfsd"};
  try {
    read();
    return {State::ok, std::move(subject), file.string() + " " + good};
  } catch (const std::exception& error) {
    return {State::fail, std::move(subject), error.what()};
  }
}

void read_authorities(const std::filesystem::path& file) {
  boost::asio::ssl::context context(boost::asio::ssl::context::tls_client);
  boost::system::error_code error;
  context.load_verify_file(file.string(), error);
  if (error)
    throw std::runtime_error("cannot read the certificates in " + file.string() + ": " + error.message() +
                             "; it must be a PEM file that the daemon's user can read");
}

}  // namespace

std::vector<Finding> check_named_files(const broker::Config& config) {
  std::vector<Finding> findings;
  for (const auto& connector : config.connectors) {
    const auto& secret = connector.auth.secret_file;
    findings.push_back(check_file("secret of " + connector.name.text(), secret, "is there and closed to others",
                                  [&] { broker::read_secret_line(secret); }));
    if (const auto& file = connector.ca_file; !file.empty())
      findings.push_back(check_file("ca_file of " + connector.name.text(), file, "is there and holds certificates",
                                    [&] { read_authorities(file); }));
  }
  return findings;
}

}  // namespace mintfs::cli
