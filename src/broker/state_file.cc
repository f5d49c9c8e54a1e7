#include "broker/state_file.h"

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mintfs::broker {
namespace {

constexpr off_t kMaxSecretFile = 64 * 1024;

// Closes a descriptor at the end of its scope.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

std::system_error system_failure(const std::string& what) { return {errno, std::generic_category(), what}; }

void write_all(int fd, std::string_view content, const std::string& name) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw system_failure("cannot write " + name);
    content.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace

Secret read_secret_file(const std::filesystem::path& file) {
  const std::string name = file.string();
  const Descriptor fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (fd.get() < 0) {
    const int failed = errno;
    throw std::runtime_error(
        "cannot read the secret file " + name + ": " + std::generic_category().message(failed) +
        (failed == ENOENT ? "; make it and write the secret into it" : "; the daemon's user must be able to read it"));
  }
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode))
    throw std::runtime_error("the secret file " + name + " is not a regular file; name a file that holds the secret");
  if ((status.st_mode & (S_IRWXO | S_IWGRP)) != 0)
    throw std::runtime_error("the secret file " + name + " is open to other users; type: chmod 600 " + name);
  if (status.st_uid != 0 && status.st_uid != ::geteuid())
    throw std::runtime_error("the secret file " + name + " belongs to another user; type: chown " +
                             std::to_string(::geteuid()) + " " + name);
  if (status.st_size > kMaxSecretFile)
    throw std::runtime_error("the secret file " + name + " is over 64 KiB; write the secret alone into it");

  Secret content(static_cast<std::size_t>(status.st_size));
  std::size_t size = 0;
  while (size < content.size()) {
    const ssize_t count = ::read(fd.get(), content.bytes().data() + size, content.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0)
      throw std::runtime_error("cannot read the secret file " + name + ": " + std::generic_category().message(errno) +
                               "; look at the disk that holds it");
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  std::string_view text = content.reveal().substr(0, size);
  if (text.ends_with('\n')) text.remove_suffix(1);
  if (text.ends_with('\r')) text.remove_suffix(1);
  if (text.empty()) throw std::runtime_error("the secret file " + name + " is empty; write the secret into it");
  return Secret(text);
}

Secret read_secret_line(const std::filesystem::path& file) {
  Secret secret = read_secret_file(file);
  const auto is_control = [](char c) { return (c >= 0 && c < 0x20) || c == 0x7f; };
  if (std::any_of(secret.reveal().begin(), secret.reveal().end(), is_control))
    throw std::runtime_error("the secret file " + file.string() +
                             " holds more than one line or a control character; write the secret alone into it");
  return secret;
}

FileVersion FileVersion::of(const std::filesystem::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return {};
  const auto nanoseconds = [](const timespec& time) { return time.tv_sec * 1'000'000'000LL + time.tv_nsec; };
  return {status.st_dev, status.st_ino, nanoseconds(status.st_mtim), nanoseconds(status.st_ctim), status.st_size};
}

void write_file_atomically(const std::filesystem::path& file, std::string_view content, mode_t mode, bool durable) {
  std::string sibling = file.string() + ".XXXXXX";
  const Descriptor fd(::mkostemp(sibling.data(), O_CLOEXEC));
  if (fd.get() < 0) throw system_failure("cannot write " + file.string());
  try {
    if (::fchmod(fd.get(), mode) != 0) throw system_failure("cannot write " + sibling);
    write_all(fd.get(), content, sibling);
    if (durable && ::fsync(fd.get()) != 0) throw system_failure("cannot write " + sibling);
    if (::rename(sibling.c_str(), file.c_str()) != 0) throw system_failure("cannot write " + file.string());
  } catch (...) {
    ::unlink(sibling.c_str());
    throw;
  }
  if (!durable) return;
  // The new name itself must survive a power cut.
  const Descriptor directory(::open(file.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() >= 0) ::fsync(directory.get());
}

}  // namespace mintfs::broker
