// A socket that kubelet connects to.
//
// It is made under a name of its own and then renamed into its place, so a driver takes over from another, dead or
// alive, without a moment in which nobody listens; and who ends removes only what is still its own. That name begins
// with a dot: such files kubelet passes over where it looks for drivers.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include <sys/types.h>

namespace mintfs::csi {

// Of "unix:///path", "unix:/path" or "/path"; throws std::runtime_error when it is none.
std::filesystem::path endpoint_path(std::string_view text);

class Endpoint {
 public:
  // Throws when it is none, is too long, or something else than a socket is in its place.
  explicit Endpoint(const std::string& text);
  ~Endpoint();
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  // What the server shall listen at, in gRPC's words.
  std::string address() const { return "unix:" + made_.string(); }
  // The server listens there. Throws when the socket cannot be put into its place.
  void publish();

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  std::filesystem::path made_;
  std::optional<ino_t> ours_;
};

}  // namespace mintfs::csi
