// What the file system means, without any kernel: nodes, who may do what, and what an open gives.
//
//   /                      0711, opens to the daemon's user only and lists no lease to it either
//   /<lease id>/           0500, owner = the lease's uid
//   /<lease id>/.gitconfig 0400, minted at each open, and so are the other files of fs/layout.h, which
//                          the lease has asked for
//   /<lease id>/ca.crt     0400, whom to trust for an https proxy, where that must be told
//
// For pods it is 0555 and 0444, and whoever gets there may open: that is where root has bind-mounted the
// directory. From the mount itself only root comes to it, asked anew each time (may_be_kept).
//
// Node ids come from the lease's serial and the file's number in the layout, so they are the same after a
// restart. The kernel does not
// enforce modes here (no default_permissions, which would let root in): an open or a listing is for
// the lease's uid only, and a read only for the uid that opened. Looking up is also for root, which
// bind-mounts views into containers. A lease that is closed while its nodes are still cached answers
// EACCES everywhere; ENOENT is only ever the answer to a lookup.
//
// One thread calls everything but forget(), which any thread may call. Nothing here blocks: a call
// is a few table look-ups, and an open additionally mints and copies.
#pragma once

#include "broker/broker.h"
#include "broker/metrics.h"
#include "fs/answer.h"
#include "fs/handles.h"
#include "fs/layout.h"
#include "fs/render.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <sys/stat.h>

namespace mintfs::fs {

using Node = std::uint64_t;

inline constexpr Node kRoot = 1;
inline constexpr std::uint32_t kMaxHandlesPerLease = 256;

// Node of a lease's directory.
Node directory_of(const broker::Lease& lease);

class Tree {
 public:
  // Who asks: the user, and the thread as the kernel numbers it here (0: in another pid namespace).
  struct Caller {
    uid_t uid = 0;
    pid_t thread = 0;
  };
  struct Entry {
    std::string name;
    Node node;
    mode_t type;  // S_IFDIR or S_IFREG
  };

  // `state` holds the open handles. Where somebody else has used it, clear() or reload() comes first.
  // `mountpoint` is what the files say of where they are.
  Tree(broker::Broker& broker, SharedState& state, std::string mountpoint = "/");

  // The attributes' st_ino is the node found.
  Answer<struct stat> lookup(Node parent, std::string_view name, uid_t caller);
  // Whether the kernel may remember what a lookup found; else whoever came later would not be asked about.
  static bool may_be_kept(Node parent, const struct stat& found) {
    return parent != kRoot || (found.st_mode & S_IROTH) == 0;
  }
  Answer<struct stat> attributes(Node node);
  Answer<std::vector<Entry>> list(Node node, uid_t caller);

  // Mints, and counts it. `flags` as of open(2).
  Answer<std::uint64_t> open(Node node, int flags, const Caller& caller);
  // The bytes live until the next open or release. A read without a lock owner fills the page cache
  // for mmap, splice or sendfile, which would hand this caller's token to the next: EIO.
  Answer<std::span<const char>> read(Node node, std::uint64_t handle, std::uint64_t offset, std::size_t size,
                                     const Caller& caller, bool has_lock_owner);
  void release(std::uint64_t handle);

  // The mount is new: nothing is open in it.
  void clear();
  // Somebody else has served this mount from the state before.
  void reload();
  // The mount was taken over without its state: a read of a handle that is not known mints it again.
  void expect_unknown_handles() { unknown_handles_ = true; }

  // The lease has closed: drops what is kept for it. Any thread.
  void forget(const broker::Lease& lease);

  // Any thread.
  const broker::OpenCounts& opens() const { return opens_; }
  std::size_t open_handles() const { return handles_.size(); }
  std::size_t kept_views() { return views_.lock()->by_serial.size(); }
  std::size_t kept_texts() { return views_.lock()->by_content.size(); }

 private:
  using Rendered = std::shared_ptr<const Template>;
  struct View {
    std::shared_ptr<const Layout> layout;
    std::vector<Rendered> texts;  // as Layout::texts(); null: not rendered yet
  };
  // What is kept for leases from the first look at their files until they close. Leases whose files differ
  // in the id alone share one text, in which the id is blotted out.
  struct Views {
    std::unordered_map<std::uint64_t, View> by_serial;
    std::unordered_map<std::string, std::weak_ptr<const Layout>> layouts;       // by the configurations' names
    broker::FileConfigsPtr files;                                               // of which the layouts are
    std::unordered_map<std::size_t, std::weak_ptr<const Template>> by_content;  // by hash
  };
  // A node found: the root, where there is no lease; a lease's own directory, where there is no entry; or an entry.
  struct Place {
    broker::LeasePtr lease{};
    View* view = nullptr;
    const Layout::Entry* entry = nullptr;

    bool is_root() const { return lease == nullptr; }
    bool is_file() const { return entry != nullptr && entry->content; }
    std::uint16_t number() const { return entry == nullptr ? Layout::kView : entry->number; }
  };

  // Asked with the views locked: a lease that is found then is forgotten after whatever is kept now.
  Answer<Place> place_of(Views& locked, Node node);
  View& view_of(Views& views, const broker::Lease& lease);
  bool is_there(const Layout::Entry& entry) const;
  Answer<const Template*> text_of(Views& views, const Place& place);
  static Rendered shared(Views& views, Template text);
  Answer<struct stat> attributes(Views& views, const Place& place);
  Answer<std::size_t> size_of(Views& views, const Place& place);
  Answer<std::uint64_t> open_minted(Views& views, const Place& place, uid_t caller);
  Answer<std::uint64_t> open_authorities(const broker::Lease& lease, uid_t caller);
  std::string authorities_file(const broker::Lease& lease) const;
  Answer<std::uint64_t> open_file(Node node, int flags, const Caller& caller);
  Answer<std::uint64_t> revive(Node node, std::uint64_t handle, std::uint64_t offset, const Caller& caller);

  broker::Broker& broker_;
  std::string mountpoint_;
  broker::Time started_;
  broker::Scratch scratch_;
  Handles handles_;
  std::unordered_map<std::uint64_t, std::uint64_t> revived_;  // handles of a lost state, and ours for them
  bool unknown_handles_ = false;
  broker::OpenCounts opens_;
  broker::Sync<Views> views_;  // its lock is taken before the broker's, and never while one of those is held
};

}  // namespace mintfs::fs
