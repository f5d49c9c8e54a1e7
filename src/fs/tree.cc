#include "fs/tree.h"

#include <algorithm>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

namespace mintfs::fs {
namespace {

// node = high bits of the number, serial, low bits of the number. Serials begin above zero, so 1 stays free for
// the root, and are microseconds since the epoch: 53 bits will do until the year 2255. Numbers below 8 make the
// ids that they made when there were no others.
constexpr int kLowBits = 3;
constexpr int kSerialBits = 53;

// Certificates are renewed while the kernel keeps the size of their file: newlines make up the difference.
constexpr std::size_t padded(std::size_t size) {
  constexpr std::size_t kStep = 8192;
  return (size + kStep - 1) / kStep * kStep;
}

// Whether the lease's files are this user's to open.
bool is_inhabitant(const broker::Lease& lease, uid_t user) { return lease.pod || lease.uid == user; }

constexpr Node node_of(std::uint64_t serial, std::uint16_t number) {
  return std::uint64_t{number} >> kLowBits << (kLowBits + kSerialBits) | serial << kLowBits |
         (number & ((1u << kLowBits) - 1));
}

constexpr std::uint64_t serial_in(Node node) { return node >> kLowBits & ((std::uint64_t{1} << kSerialBits) - 1); }

constexpr std::uint16_t number_in(Node node) {
  return static_cast<std::uint16_t>(node >> (kLowBits + kSerialBits) << kLowBits | (node & ((1u << kLowBits) - 1)));
}

static_assert(number_in(node_of(1, Layout::kNumbers - 1)) == Layout::kNumbers - 1);
static_assert(serial_in(node_of(broker::kMaxSerial, 0)) == broker::kMaxSerial);

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

// glab reads its file with this one mode alone. What is written is refused, whatever a mode says.
mode_t mode_of(const Layout::Entry& entry, const broker::Lease& lease) {
  if (entry.content == Content::glab) return 0600;
  return lease.pod ? 0444 : 0400;
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
    case Errc::leases_unconfirmed:
    case Errc::gateway_unreachable:
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

Node directory_of(const broker::Lease& lease) { return node_of(lease.serial, Layout::kView); }

Tree::Tree(broker::Broker& broker, SharedState& state, std::string mountpoint)
    : broker_(broker),
      mountpoint_(std::move(mountpoint)),
      started_(broker.clock().now()),
      handles_(state, random_generation(scratch_.random)) {}

Answer<Tree::Place> Tree::place_of(Views& views, Node node) {
  if (node == kRoot) return Place{};
  Place place{.lease = broker_.find_lease(serial_in(node))};
  if (!place.lease) return std::errc::permission_denied;
  place.view = &view_of(views, *place.lease);
  if (number_in(node) == Layout::kView) return place;
  place.entry = place.view->layout->find(number_in(node));
  if (place.entry == nullptr || !is_there(*place.entry)) return std::errc::permission_denied;
  return place;
}

bool Tree::is_there(const Layout::Entry& entry) const {
  return entry.content != Content::authorities || broker_.authorities() != nullptr;
}

Tree::View& Tree::view_of(Views& views, const broker::Lease& lease) {
  const auto found = views.by_serial.find(lease.serial);
  if (found != views.by_serial.end()) return found->second;
  if (auto files = broker_.files(); files != views.files) {
    views.files = std::move(files);
    views.layouts.clear();
  }
  std::string names;
  for (const auto& name : lease.view()) names.append(name).append(" ");
  std::erase_if(views.layouts, [&](const auto& each) { return each.first != names && each.second.expired(); });
  auto& known = views.layouts[names];
  View view{.layout = known.lock(), .texts = {}};
  if (!view.layout) known = view.layout = std::make_shared<const Layout>(lease.view(), *views.files);
  view.texts.resize(view.layout->texts().size());
  return views.by_serial.emplace(lease.serial, std::move(view)).first->second;
}

Answer<const Template*> Tree::text_of(Views& views, const Place& place) {
  Rendered& kept = place.view->texts[place.entry->text];
  if (kept) return kept.get();
  const broker::Lease& lease = *place.lease;
  if (!broker_.may_be_told(lease)) return to_errno(broker::Errc::lease_denied);
  const auto connectors = broker_.connectors_of(lease);
  const std::string authorities = broker_.authorities() ? authorities_file(lease) : std::string();
  const Scene scene{.lease = lease,
                    .connectors = *connectors,
                    .proxy_url = broker_.proxy_url(lease),
                    .token_size = [&](const broker::ConnectorName& name) { return broker_.token_size(lease, name); },
                    .authorities = authorities};
  const auto& source = place.view->layout->texts()[place.entry->text];
  auto text = source.file ? render(*source.file, scene) : render(source.content, scene);
  if (!text) return to_errno(broker::to_errc(text.error()));
  for (std::size_t at = 0; (at = text->text.find(lease.id, at)) != std::string::npos;)
    text->text.replace(at, lease.id.size(), lease.id.size(), '-');
  kept = shared(views, std::move(*text));
  return kept.get();
}

Tree::Rendered Tree::shared(Views& views, Template text) {
  const std::size_t hash = std::hash<std::string>()(text.text);
  if (views.by_content.size() > 2 * views.by_serial.size() + 16)
    std::erase_if(views.by_content, [](const auto& each) { return each.second.expired(); });
  auto& known = views.by_content[hash];
  Rendered same = known.lock();
  if (same && *same == text) return same;
  auto made = std::make_shared<const Template>(std::move(text));
  if (!same) known = made;  // another text of this hash keeps its place
  return made;
}

std::string Tree::authorities_file(const broker::Lease& lease) const {
  if (!lease.seen_at.empty()) return lease.seen_at.text() + "/ca.crt";
  return mountpoint_ + (mountpoint_.ends_with('/') ? "" : "/") + lease.id + "/ca.crt";
}

Answer<std::size_t> Tree::size_of(Views& views, const Place& place) {
  if (place.entry->content == Content::authorities) {
    const auto authorities = broker_.authorities();
    if (!authorities) return std::errc::io_error;
    return padded(authorities->size());
  }
  const auto text = text_of(views, place);
  if (!text) return text.error();
  return (*text)->size();
}

Answer<struct stat> Tree::attributes(Views& views, const Place& place) {
  struct stat attributes {};
  const bool root = place.is_root();
  attributes.st_ino = root ? kRoot : node_of(place.lease->serial, place.number());
  attributes.st_uid = root ? geteuid() : place.lease->uid;
  attributes.st_gid = getegid();
  attributes.st_atim = attributes.st_mtim = attributes.st_ctim = to_timespec(root ? started_ : place.lease->opened);
  if (place.is_file()) {
    const auto size = size_of(views, place);
    if (!size) return size.error();
    attributes.st_mode = S_IFREG | mode_of(*place.entry, *place.lease);
    attributes.st_nlink = 1;
    attributes.st_size = static_cast<off_t>(*size);
    attributes.st_blocks = (attributes.st_size + 511) / 512;
  } else {
    attributes.st_mode = S_IFDIR | (root ? 0711 : place.lease->pod ? 0555 : 0500);
    attributes.st_nlink = 2;  // and one for each directory in it: find(1) trusts it
    if (!root)
      for (const auto& entry : place.view->layout->entries())
        if (!entry.content && entry.parent == place.number()) ++attributes.st_nlink;
  }
  return attributes;
}

Answer<struct stat> Tree::lookup(Node parent, std::string_view name, uid_t caller) {
  auto views = views_.lock();
  const auto place = place_of(*views, parent);
  if (!place) return place.error();
  if (place->is_root()) {
    broker::LeasePtr lease = broker_.find_lease(name);
    if (!lease) return std::errc::no_such_file_or_directory;
    if (lease->pod && caller != 0 && caller != geteuid()) return std::errc::permission_denied;
    View* const view = &view_of(*views, *lease);
    return attributes(*views, Place{.lease = std::move(lease), .view = view});
  }
  if (place->is_file()) return std::errc::not_a_directory;
  if (!is_inhabitant(*place->lease, caller) && caller != 0) return std::errc::permission_denied;
  const auto* const entry = place->view->layout->find(place->number(), name);
  if (entry == nullptr || !is_there(*entry)) return std::errc::no_such_file_or_directory;
  return attributes(*views, Place{.lease = place->lease, .view = place->view, .entry = entry});
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
  if (place->is_root()) {
    if (caller != geteuid()) return std::errc::permission_denied;
    return std::vector<Entry>{{".", kRoot, S_IFDIR}, {"..", kRoot, S_IFDIR}};
  }
  if (place->is_file()) return std::errc::not_a_directory;
  if (!is_inhabitant(*place->lease, caller)) return std::errc::permission_denied;
  const auto at = [&](std::uint16_t number) { return node_of(place->lease->serial, number); };
  const Node above = place->entry == nullptr ? kRoot : at(place->entry->parent);
  std::vector<Entry> entries{{".", node, S_IFDIR}, {"..", above, S_IFDIR}};
  for (const auto& entry : place->view->layout->entries())
    if (entry.parent == place->number() && is_there(entry))
      entries.push_back({std::string(entry.name), at(entry.number), entry.content ? mode_t{S_IFREG} : mode_t{S_IFDIR}});
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
  if (!place->is_file()) return std::errc::is_a_directory;
  const broker::Lease& lease = *place->lease;
  if (!is_inhabitant(lease, caller.uid)) return std::errc::permission_denied;
  if (lease.cgroup && !broker::is_in(caller.thread, *lease.cgroup)) return std::errc::permission_denied;
  if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0) return std::errc::read_only_file_system;

  if (handles_.count_of(lease.serial) >= kMaxHandlesPerLease) return std::errc::too_many_files_open;
  return place->entry->content == Content::authorities ? open_authorities(lease, caller.uid)
                                                       : open_minted(*views, *place, caller.uid);
}

Answer<std::uint64_t> Tree::open_minted(Views& views, const Place& place, uid_t caller) {
  const auto found = text_of(views, place);
  if (!found) return found.error();
  const Template& text = **found;
  const broker::Lease& lease = *place.lease;
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
