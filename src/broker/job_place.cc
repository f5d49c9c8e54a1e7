#include "broker/job_place.h"

#include <boost/asio/ip/address.hpp>

#include <algorithm>

namespace mintfs::broker {

bool is_seen_path(std::string_view path) noexcept {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-._~@+/").find(c) != std::string_view::npos;
  };
  if (path.size() < 2 || path.size() > 255 || path.front() != '/' || !std::all_of(path.begin(), path.end(), good))
    return false;
  for (std::string_view rest = path; !rest.empty();) {
    rest.remove_prefix(1);
    const std::string_view segment = rest.substr(0, rest.find('/'));
    if (segment.empty() || segment == "." || segment == "..") return false;
    rest.remove_prefix(segment.size());
  }
  return true;
}

std::vector<std::string> other_urls(const std::vector<std::string>& configured,
                                    const std::vector<ListenAddress>& listen) {
  std::vector<std::string> urls = configured;
  for (const auto& each : listen) {
    if (each.is_unix() || each.port == 0) continue;
    boost::system::error_code error;
    const auto address = boost::asio::ip::make_address(each.host, error);
    const auto url = Address::parse(each.text());
    if (!error && !address.is_unspecified() && url) urls.push_back(url->text());
  }
  return urls;
}

}  // namespace mintfs::broker
