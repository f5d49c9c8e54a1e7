#include "fs/mount_operations.h"

#include "fs/handshake.h"
#include "fs/tree.h"

#include <algorithm>
#include <cerrno>
#include <exception>
#include <span>
#include <system_error>
#include <vector>

namespace mintfs::fs {
namespace {

constexpr double kTimeout = 60;  // seconds
constexpr std::size_t kPage = 4096;

void reply(fuse_req_t request, std::errc error) { fuse_reply_err(request, static_cast<int>(error)); }

Tree::Caller caller_of(fuse_req_t request) {
  const fuse_ctx* const context = fuse_req_ctx(request);
  return {.uid = context->uid, .thread = context->pid};
}

// Runs one operation: libfuse is C, so nothing may be thrown into it.
template <class Act>
void answer(fuse_req_t request, Act act) noexcept {
  try {
    act(*static_cast<Tree*>(fuse_req_userdata(request)), fuse_req_ctx(request)->uid);
  } catch (const std::exception&) {
    reply(request, std::errc::io_error);
  }
}

// What is wanted was agreed on in fs/handshake.cc; here libfuse is told.
void on_init(void*, fuse_conn_info* connection) {
  connection->want = connection->capable & FUSE_CAP_PARALLEL_DIROPS;
  connection->max_write = kMaxTransfer;
  connection->max_readahead = 0;
}

void on_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  answer(request, [&](Tree& tree, uid_t caller) {
    const auto found = tree.lookup(parent, name, caller);
    if (!found && found.error() != std::errc::no_such_file_or_directory) return reply(request, found.error());
    fuse_entry_param entry{};
    entry.entry_timeout = entry.attr_timeout = kTimeout;
    if (found) {
      entry.attr = *found;
      entry.ino = found->st_ino;
      if (!Tree::may_be_kept(parent, *found)) entry.entry_timeout = 0;
    }
    fuse_reply_entry(request, &entry);  // node 0: that there is none is remembered as well
  });
}

void on_getattr(fuse_req_t request, fuse_ino_t node, fuse_file_info*) {
  answer(request, [&](Tree& tree, uid_t) {
    const auto found = tree.attributes(node);
    if (!found) return reply(request, found.error());
    fuse_reply_attr(request, &*found, kTimeout);
  });
}

void on_open(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) {
  answer(request, [&](Tree& tree, uid_t) {
    const auto handle = tree.open(node, file->flags, caller_of(request));
    if (!handle) return reply(request, handle.error());
    file->fh = *handle;
    file->direct_io = 1;
    file->noflush = 1;
    // The opener is gone (interrupted): nobody will release the handle.
    if (fuse_reply_open(request, file) == -ENOENT) tree.release(*handle);
  });
}

// Maps pages that a predecessor wrote into this process too: see map_for_writing() in mount.cc.
void map_for_reading(std::span<const char> memory) {
  for (std::size_t at = 0; at < memory.size(); at += kPage)
    static_cast<void>(*static_cast<volatile const char*>(&memory[at]));
  if (!memory.empty()) static_cast<void>(*static_cast<volatile const char*>(&memory.back()));
}

void on_read(fuse_req_t request, fuse_ino_t node, std::size_t size, off_t offset, fuse_file_info* file) {
  answer(request, [&](Tree& tree, uid_t) {
    // The kernel names a lock owner, never zero, exactly when a process itself reads: fuse_send_read()
    // gets one from direct I/O and none from the page cache.
    const auto bytes =
        tree.read(node, file->fh, static_cast<std::uint64_t>(offset), size, caller_of(request), file->lock_owner != 0);
    if (!bytes) return reply(request, bytes.error());
    map_for_reading(*bytes);
    fuse_reply_buf(request, bytes->data(), bytes->size());
  });
}

void on_release(fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
  answer(request, [&](Tree& tree, uid_t) {
    tree.release(file->fh);
    fuse_reply_err(request, 0);
  });
}

void on_opendir(fuse_req_t request, fuse_ino_t node, fuse_file_info* file) {
  answer(request, [&](Tree& tree, uid_t caller) {
    const auto entries = tree.list(node, caller);
    if (!entries) return reply(request, entries.error());
    fuse_reply_open(request, file);
  });
}

void on_readdir(fuse_req_t request, fuse_ino_t node, std::size_t size, off_t offset, fuse_file_info*) {
  answer(request, [&](Tree& tree, uid_t caller) {
    const auto entries = tree.list(node, caller);
    if (!entries) return reply(request, entries.error());
    std::vector<char> buffer(std::min<std::size_t>(size, 4096));
    std::size_t used = 0;
    for (auto next = static_cast<std::size_t>(offset); next < entries->size(); ++next) {
      const Tree::Entry& entry = (*entries)[next];
      struct stat attributes {};
      attributes.st_ino = entry.node;
      attributes.st_mode = entry.type;
      const std::size_t needed = fuse_add_direntry(request, buffer.data() + used, buffer.size() - used,
                                                   entry.name.c_str(), &attributes, static_cast<off_t>(next + 1));
      if (needed > buffer.size() - used) break;
      used += needed;
    }
    fuse_reply_buf(request, buffer.data(), used);
  });
}

// Everything that would change something. The mount is read-only, so the kernel asks none of this
// unless root has remounted it.
template <class... Arguments>
void refuse(fuse_req_t request, Arguments...) {
  reply(request, std::errc::read_only_file_system);
}

}  // namespace

// What is not named here libfuse answers ENOSYS, and the kernel then stops asking: access, xattr, flush.
fuse_lowlevel_ops mount_operations() {
  fuse_lowlevel_ops all{};
  all.init = on_init;
  all.lookup = on_lookup;
  all.getattr = on_getattr;
  all.open = on_open;
  all.read = on_read;
  all.release = on_release;
  all.opendir = on_opendir;
  all.readdir = on_readdir;
  all.setattr = refuse;
  all.mknod = refuse;
  all.mkdir = refuse;
  all.unlink = refuse;
  all.rmdir = refuse;
  all.symlink = refuse;
  all.rename = refuse;
  all.link = refuse;
  all.create = refuse;
  all.write = refuse;
  all.setxattr = refuse;
  all.removexattr = refuse;
  all.fallocate = refuse;
  all.copy_file_range = refuse;
  return all;
}

}  // namespace mintfs::fs
