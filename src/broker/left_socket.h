// The file of a Unix socket that a daemon before us listened at, when we listen elsewhere: nobody is to find it there.
#pragma once

#include <filesystem>

namespace mintfs::broker {

class LeftSocket {
 public:
  // `inherited` is the former listening socket, or -1; `now` is where we listen, empty where at none.
  LeftSocket(int inherited, const std::filesystem::path& now);
  // Removes it; not while a predecessor may go on listening there.
  void remove() const;

 private:
  std::filesystem::path file_;
};

}  // namespace mintfs::broker
