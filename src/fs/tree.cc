#include "fs/tree.h"

#include <algorithm>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

namespace mintfs::fs {
namespace {

// node = serial * 8 + kind. Serials begin above zero, so 1 stays free for the root.
constexpr int kKindBits = 3;

constexpr char kAuthorities[] = "ca.crt";

// Certificates are renewed while the kernel keeps the size of their file: newlines make up the difference.
constexpr std::size_t padded(std::size_t size) {
  constexpr std::size_t kStep = 8192;
  return (size + kStep - 1) / kStep * kStep;
}

// Whether the lease's files are this user's to open.
bool is_inhabitant(const broker::Lease& lease, uid_t user) { return lease.pod || lease.uid == user; }

constexpr Node node_of(std::uint64_t serial, std::uint64_t kind) { return serial << kKindBits | kind; }

std::uint32_t random_generation(broker::Random& random) {
  char bytes[sizeof(std::uint32_t)];
  random.fill(bytes);
  std::uint32_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

timespec to_timespec(broker::Time time) {
  const auto since = time.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  return {.tv_sec = seconds.count(), .tv_nsec = std::chrono::nanoseconds(since - seconds).count()};
}

}  // namespace

std::errc to_errno(broker::Errc error) noexcept {
  using broker::Errc;
  switch (error) {
    case Errc::lease_closed:
    case Errc::lease_denied:
    case Errc::caller_denied:
    case Errc::connector_denied:
    case Errc::operation_denied:
    case Errc::repository_denied:
    case Errc::reference_denied:
    case Errc::address_denied:
      return std::errc::permission_denied;
    case Errc::too_many:
      return std::errc::too_many_files_open;
    case Errc::token_missing:
    case Errc::token_malformed:
    case Errc::token_algorithm:
    case Errc::token_key_unknown:
    case Errc::token_signature:
    case Errc::token_expired:
    case Errc::token_not_yet_valid:
    case Errc::token_audience:
    case Errc::token_connector:
    case Errc::token_origin:
    case Errc::lease_malformed:
    case Errc::connector_unknown:
    case Errc::request_malformed:
    case Errc::header_too_large:
    case Errc::body_too_large:
    case Errc::request_timeout:
    case Errc::egress_refused:
    case Errc::upstream_unreachable:
    case Errc::upstream_untrusted:
    case Errc::upstream_timeout:
    case Errc::upstream_refused:
    case Errc::upstream_redirect:
    case Errc::upstream_malformed:
    case Errc::storage_failed:
    case Errc::upgrade_failed:
    case Errc::internal:
      return std::errc::io_error;
  }
  return std::errc::io_error;
}

// One of kOpenReasons.
broker::Errc to_reason(std::errc error) noexcept {
  using broker::Errc;
  if (error == std::errc::permission_denied) return Errc::lease_denied;
  if (error == std::errc::read_only_file_system) return Errc::operation_denied;
  if (error == std::errc::is_a_directory) return Errc::request_malformed;
  if (error == std::errc::too_many_files_open || error == std::errc::too_many_files_open_in_system ||
      error == std::errc::file_too_large)
    return Errc::too_many;
  return Errc::internal;
}

Node directory_of(const broker::Lease& lease) { return node_of(lease.serial, 0); }

Tree::Tree(broker::Broker& broker, SharedState& state, std::string mountpoint)
    : broker_(broker),
      mountpoint_(std::move(mountpoint)),
      started_(broker.clock().now()),
      handles_(state, random_generation(scratch_.random)) {}

Answer<Tree::Place> Tree::place_of(const Views&, Node node) {
  if (node == kRoot) return Place{Kind::root, nullptr};
  const auto kind = node & ((1 << kKindBits) - 1);
  broker::LeasePtr lease = broker_.find_lease(std::uint64_t{node >> kKindBits});
  if (kind > static_cast<Node>(Kind::authorities) || !lease) return std::errc::permission_denied;
  if (static_cast<Kind>(kind) == Kind::authorities && !broker_.authorities()) return std::errc::permission_denied;
  return Place{static_cast<Kind>(kind), std::move(lease)};
}

Answer<const Template*> Tree::view_of(Views& views, const broker::Lease& lease) {
  const auto found = views.by_serial.find(lease.serial);
  if (found != views.by_serial.end()) return found->second.get();
  auto text = render(
      lease, *broker_.connectors(), broker_.audience(),
      [&](const broker::ConnectorName& name) { return broker_.token_size(lease, name); },
      broker_.authorities() ? authorities_file(lease) : std::string());
  if (!text) return to_errno(broker::to_errc(text.error()));
  for (std::size_t at = 0; (at = text->text.find(lease.id, at)) != std::string::npos;)
    text->text.replace(at, lease.id.size(), lease.id.size(), '-');
  return views.by_serial.emplace(lease.serial, shared(views, std::move(*text))).first->second.get();
}

Tree::Text Tree::shared(Views& views, Template text) {
  const std::size_t hash = std::hash<std::string>()(text.text);
  if (views.by_content.size() > 2 * views.by_serial.size() + 16)
    std::erase_if(views.by_content, [](const auto& each) { return each.second.expired(); });
  auto& known = views.by_content[hash];
  Text same = known.lock();
  if (same && *same == text) return same;
  auto made = std::make_shared<const Template>(std::move(text));
  if (!same) known = made;  // another text of this hash keeps its place
  return made;
}

std::string Tree::authorities_file(const broker::Lease& lease) const {
  return mountpoint_ + (mountpoint_.ends_with('/') ? "" : "/") + lease.id + "/" + kAuthorities;
}

Answer<std::size_t> Tree::size_of(Views& views, const Place& place) {
  if (place.kind == Kind::authorities) {
    const auto authorities = broker_.authorities();
    if (!authorities) return std::errc::io_error;
    return padded(authorities->size());
  }
  const auto view = view_of(views, *place.lease);
  if (!view) return view.error();
  return (*view)->size();
}

Answer<struct stat> Tree::attributes(Views& views, const Place& place) {
  struct stat attributes {};
  const bool root = place.kind == Kind::root;
  attributes.st_ino = root ? kRoot : node_of(place.lease->serial, static_cast<Node>(place.kind));
  attributes.st_uid = root ? geteuid() : place.lease->uid;
  attributes.st_gid = getegid();
  attributes.st_atim = attributes.st_mtim = attributes.st_ctim = to_timespec(root ? started_ : place.lease->opened);
  if (is_file(place.kind)) {
    const auto size = size_of(views, place);
    if (!size) return size.error();
    attributes.st_mode = S_IFREG | (place.lease->pod ? 0444 : 0400);
    attributes.st_nlink = 1;
    attributes.st_size = static_cast<off_t>(*size);
    attributes.st_blocks = (attributes.st_size + 511) / 512;
  } else {
    attributes.st_mode = S_IFDIR | (root ? 0711 : place.lease->pod ? 0555 : 0500);
    attributes.st_nlink = place.kind == Kind::directory ? 3 : 2;  // find(1) trusts it
  }
  return attributes;
}

Answer<struct stat> Tree::lookup(Node parent, std::string_view name, uid_t caller) {
  auto views = views_.lock();
  const auto place = place_of(*views, parent);
  if (!place) return place.error();
  if (place->kind == Kind::root) {
    broker::LeasePtr lease = broker_.find_lease(name);
    if (!lease) return std::errc::no_such_file_or_directory;
    if (lease->pod && caller != 0 && caller != geteuid()) return std::errc::permission_denied;
    return attributes(*views, Place{Kind::directory, std::move(lease)});
  }
  if (is_file(place->kind)) return std::errc::not_a_directory;
  if (!is_inhabitant(*place->lease, caller) && caller != 0) return std::errc::permission_denied;
  if (place->kind == Kind::directory && name == ".gitconfig")
    return attributes(*views, Place{Kind::gitconfig, place->lease});
  if (place->kind == Kind::directory && name == "git") return attributes(*views, Place{Kind::git, place->lease});
  if (place->kind == Kind::directory && name == kAuthorities && broker_.authorities())
    return attributes(*views, Place{Kind::authorities, place->lease});
  if (place->kind == Kind::git && name == "config") return attributes(*views, Place{Kind::git_config, place->lease});
  return std::errc::no_such_file_or_directory;
}

Answer<struct stat> Tree::attributes(Node node) {
  auto views = views_.lock();
  const auto place = place_of(*views, node);
  if (!place) return place.error();
  return attributes(*views, *place);
}

Answer<std::vector<Tree::Entry>> Tree::list(Node node, uid_t caller) {
  auto views = views_.lock();
  const auto place = place_of(*views, node);
  if (!place) return place.error();
  if (place->kind == Kind::root) {
    if (caller != geteuid()) return std::errc::permission_denied;
    return std::vector<Entry>{{".", kRoot, S_IFDIR}, {"..", kRoot, S_IFDIR}};
  }
  if (is_file(place->kind)) return std::errc::not_a_directory;
  if (!is_inhabitant(*place->lease, caller)) return std::errc::permission_denied;
  const auto at = [&](Kind kind) { return node_of(place->lease->serial, static_cast<Node>(kind)); };
  if (place->kind == Kind::git)
    return std::vector<Entry>{
        {".", node, S_IFDIR}, {"..", at(Kind::directory), S_IFDIR}, {"config", at(Kind::git_config), S_IFREG}};
  std::vector<Entry> entries{{".", node, S_IFDIR},
                             {"..", kRoot, S_IFDIR},
                             {".gitconfig", at(Kind::gitconfig), S_IFREG},
                             {"git", at(Kind::git), S_IFDIR}};
  if (broker_.authorities()) entries.push_back({kAuthorities, at(Kind::authorities), S_IFREG});
  return entries;
}

Answer<std::uint64_t> Tree::open(Node node, int flags, const Caller& caller) {
  const auto began = std::chrono::steady_clock::now();
  const auto handle = open_file(node, flags, caller);
  opens_.durations.observe(std::chrono::steady_clock::now() - began);
  (handle ? opens_.ok : opens_.refused[to_reason(handle.error())]).add();
  return handle;
}

Answer<std::uint64_t> Tree::open_file(Node node, int flags, const Caller& caller) {
  auto views = views_.lock();
  const auto place = place_of(*views, node);
  if (!place) return place.error();
  if (!is_file(place->kind)) return std::errc::is_a_directory;
  const broker::Lease& lease = *place->lease;
  if (!is_inhabitant(lease, caller.uid)) return std::errc::permission_denied;
  if (lease.cgroup && !broker::is_in(caller.thread, *lease.cgroup)) return std::errc::permission_denied;
  if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0) return std::errc::read_only_file_system;

  if (handles_.count_of(lease.serial) >= kMaxHandlesPerLease) return std::errc::too_many_files_open;
  return place->kind == Kind::authorities ? open_authorities(lease, caller.uid)
                                          : open_minted(*views, lease, caller.uid);
}

Answer<std::uint64_t> Tree::open_minted(Views& views, const broker::Lease& lease, uid_t caller) {
  const auto view = view_of(views, lease);
  if (!view) return view.error();
  const Template& text = **view;
  const auto handle = handles_.take(caller, lease.serial, text.size());
  if (!handle) return handle;
  const auto error = fill(text, handles_.find(*handle)->content.data(), [&](const Template::Hole& hole, char* out) {
    return broker_.mint(lease, lease.connectors[hole.connector], scratch_, out);
  });
  if (error) {
    handles_.release(*handle);
    return to_errno(broker::to_errc(error));
  }
  for (const std::uint32_t at : text.ids)
    std::copy(lease.id.begin(), lease.id.end(), handles_.find(*handle)->content.begin() + at);
  handles_.commit(*handle);
  return handle;
}

Answer<std::uint64_t> Tree::open_authorities(const broker::Lease& lease, uid_t caller) {
  const auto authorities = broker_.authorities();
  if (!authorities) return std::errc::io_error;
  const auto handle = handles_.take(caller, lease.serial, padded(authorities->size()));
  if (!handle) return handle;
  const auto content = handles_.find(*handle)->content;
  std::fill(std::copy(authorities->begin(), authorities->end(), content.begin()), content.end(), '\n');
  handles_.commit(*handle);
  return handle;
}

// Only from the beginning: a snapshot minted now does not continue one of which a part was read.
Answer<std::uint64_t> Tree::revive(Node node, std::uint64_t handle, std::uint64_t offset, const Caller& caller) {
  if (!unknown_handles_ || offset != 0) return std::errc::io_error;
  const auto minted = open(node, O_RDONLY, caller);
  if (minted) revived_.emplace(handle, *minted);
  return minted;
}

Answer<std::span<const char>> Tree::read(Node node, std::uint64_t handle, std::uint64_t offset, std::size_t size,
                                         const Caller& caller, bool has_lock_owner) {
  if (!has_lock_owner) return std::errc::io_error;
  if (const auto known = revived_.find(handle); known != revived_.end()) handle = known->second;
  auto open = handles_.find(handle);
  if (!open) {
    const auto minted = revive(node, handle, offset, caller);
    if (!minted) return minted.error();
    open = handles_.find(*minted);
  }
  if (open->uid != caller.uid) return std::errc::permission_denied;
  const std::span<const char> content = open->content;
  if (offset >= content.size()) return std::span<const char>{};
  return content.subspan(offset, std::min<std::size_t>(size, content.size() - offset));
}

void Tree::release(std::uint64_t handle) {
  if (const auto known = revived_.find(handle); known != revived_.end()) {
    handles_.release(known->second);
    revived_.erase(known);
  }
  handles_.release(handle);
}

void Tree::reload() { handles_.reload(); }

void Tree::clear() {
  handles_.clear();
  revived_.clear();
}

void Tree::forget(const broker::Lease& lease) { views_.lock()->by_serial.erase(lease.serial); }

}  // namespace mintfs::fs
