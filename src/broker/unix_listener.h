// A listening Unix socket with a name: made anew, or taken over from a predecessor that listened there.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <sys/types.h>

namespace mintfs::broker {

struct UnixPlace {
  std::filesystem::path file;
  mode_t mode;            // of the file: who may connect
  std::string_view what;  // for errors: "control socket"
  std::string_view key;   // the setting to change: "daemon.runtime_dir"
  // Whether a lock keeps other daemons away from there: who listens is a predecessor then.
  bool locked = false;
};

struct ListeningSocket {
  int descriptor = -1;           // the caller's
  std::string where;             // "unix:/run/mintfs/control.sock", "http://127.0.0.1:9418"
  std::filesystem::path file{};  // of a Unix socket; empty for TCP
  bool inherited = false;
};

// `inherited` is the listening socket of a predecessor, or -1; it is used where it is the one of this
// place, else closed. A socket that a killed daemon left is replaced, one that somebody else listens on is not. Throws
// std::runtime_error with one sentence.
ListeningSocket listen_unix(const UnixPlace& place, int inherited);

}  // namespace mintfs::broker
