// static_fs FILE MOUNTPOINT: the peer of the view benchmark. It serves <MOUNTPOINT>/lease/.gitconfig, a copy of
// FILE taken at start, with the kernel settings that mintfs uses: direct_io, noflush, entry and attribute timeouts
// of 60 s, ACCESS and xattr answered ENOSYS (libfuse does so where no handler is set), one event loop. An
// open+read+close is thus three requests on both sides, and what mintfs takes longer is the cost of freshness.

#include <fuse_lowlevel.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

namespace {

constexpr double timeout_seconds = 60;
constexpr unsigned max_transfer = 16 * 1024;
constexpr fuse_ino_t root = FUSE_ROOT_ID, directory = 2, file = 3;

std::string content;

struct stat attributes_of(fuse_ino_t node) {
  struct stat attributes {};
  attributes.st_ino = node;
  attributes.st_mode = node == root ? S_IFDIR | 0711 : node == directory ? S_IFDIR | 0500 : S_IFREG | 0400;
  attributes.st_nlink = node == file ? 1 : 2;
  attributes.st_size = node == file ? static_cast<off_t>(content.size()) : 0;
  attributes.st_uid = getuid();
  attributes.st_gid = getgid();
  return attributes;
}

// As src/fs/mount.cc; libfuse would choose larger reads, and each pins all pages of its buffer: 1 µs more.
void init(void*, fuse_conn_info* connection) {
  connection->want = connection->capable & FUSE_CAP_PARALLEL_DIROPS;
  connection->max_write = max_transfer;
  connection->max_readahead = 0;
  connection->max_background = 65535;
}

void lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  fuse_entry_param entry{};
  entry.entry_timeout = entry.attr_timeout = timeout_seconds;
  if (parent == root && std::string_view{name} == "lease") entry.ino = directory;
  if (parent == directory && std::string_view{name} == ".gitconfig") entry.ino = file;
  if (entry.ino != 0) entry.attr = attributes_of(entry.ino);
  fuse_reply_entry(request, &entry);  // node 0 is a negative entry, remembered as long
}

void getattr(fuse_req_t request, fuse_ino_t node, fuse_file_info*) {
  const struct stat attributes = attributes_of(node);
  fuse_reply_attr(request, &attributes, timeout_seconds);
}

void open(fuse_req_t request, fuse_ino_t, fuse_file_info* handle) {
  handle->direct_io = 1;
  handle->noflush = 1;
  fuse_reply_open(request, handle);
}

void read(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info*) {
  const size_t begin = std::min(static_cast<size_t>(offset), content.size());
  fuse_reply_buf(request, content.data() + begin, std::min(size, content.size() - begin));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: static_fs FILE MOUNTPOINT\n");
    return 2;
  }
  std::ifstream source{argv[1], std::ios::binary};
  content.assign(std::istreambuf_iterator<char>{source}, {});
  if (content.empty()) {
    std::fprintf(stderr, "static_fs: cannot read %s\n", argv[1]);
    return 1;
  }

  fuse_lowlevel_ops operations{};
  operations.init = init;
  operations.lookup = lookup;
  operations.getattr = getattr;
  operations.open = open;
  operations.read = read;

  char* arguments[] = {argv[0], nullptr};
  fuse_args args = FUSE_ARGS_INIT(1, arguments);
  fuse_session* session = fuse_session_new(&args, &operations, sizeof operations, nullptr);
  if (session == nullptr || fuse_set_signal_handlers(session) != 0 || fuse_session_mount(session, argv[2]) != 0)
    return 1;
  const int status = fuse_session_loop(session);
  fuse_session_unmount(session);
  fuse_remove_signal_handlers(session);
  fuse_session_destroy(session);
  return status < 0 ? 1 : 0;
}
