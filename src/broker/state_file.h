// Small files that must be whole: secrets on the way in, state on the way out.
#pragma once

#include "broker/secret.h"

#include <cstdint>
#include <filesystem>
#include <string_view>

#include <sys/types.h>

namespace mintfs::broker {

// Reads a file of root or of the daemon's user; one trailing newline is taken off. Refused: open to
// others in any way, writable by its group (a group may read: root gives a daemon without root its
// secrets so), not a regular file, over 64 KiB, empty. Throws std::runtime_error with one sentence that names the file
// and the next step.
Secret read_secret_file(const std::filesystem::path& file);

// As above, of a secret that is sent in a header line: a byte that would end that line and begin
// another (RFC 9110 section 5.5) is refused too.
Secret read_secret_line(const std::filesystem::path& file);

// Tells whether a file has been replaced or changed, content, owner or mode. All zero where there is none.
struct FileVersion {
  dev_t device = 0;
  ino_t inode = 0;
  std::int64_t modified = 0;  // nanoseconds, of the content
  std::int64_t changed = 0;   // and of owner and mode
  off_t size = 0;
  bool operator==(const FileVersion&) const = default;

  static FileVersion of(const std::filesystem::path& file);
};

// Writes a sibling, syncs it, renames it over `file`; on failure removes the sibling and throws
// std::system_error. `durable` also waits for the disk (not needed under /run).
void write_file_atomically(const std::filesystem::path& file, std::string_view content, mode_t mode, bool durable);

}  // namespace mintfs::broker
