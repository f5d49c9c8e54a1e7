#include "kube/lease_watch.h"

#include "kube/fields.h"
#include "kube/lease_desk.h"
#include "kube/objects.h"

#include <utility>

namespace mintfs::kube {

// What is opened here while the list is on its way is not among them, so it is not taken for deleted.
void LeaseWatch::begin() {
  missing_.clear();
  waiting_.clear();
  closed_.clear();  // a list that is asked for now does not have them
  for (const auto& lease : broker_.leases().all()) missing_.insert(lease->id);
}

void LeaseWatch::upsert(const boost::json::object& object) {
  const auto name = name_of(object);
  if (!name) return;
  missing_.erase(name->name);
  waiting_.erase(name->name);
  // Not the end yet where somebody has put a finalizer there.
  if (!text_at(object, {"metadata", "deletionTimestamp"}).empty()) return broker_.close_for(name->name, "deleted");
  if (closed_.contains(name->name)) return;
  const auto lease = read_connector_lease(object);
  const auto now = broker_.clock().now();
  // One that changed into something that cannot be read must not live on as it was.
  if (!lease || lease->expires <= now) {
    if (!lease)
      report_("the ConnectorLease " + printable(name->space + "/" + name->name) +
              " is refused: " + lease.error().message);
    broker_.close_for(name->name, lease ? "expired" : "malformed");
    return;
  }
  if (broker_.take_lease(to_lease(*lease), "")) return;
  report_("the ConnectorLease " + name->space + "/" + name->name + " waits: its key version is not known here yet");
  broker_.close_for(name->name, "key-unknown");
  waiting_.emplace(name->name, *lease);
}

void LeaseWatch::keys_changed() {
  std::erase_if(waiting_, [this](const auto& each) { return broker_.take_lease(to_lease(each.second), ""); });
}

void LeaseWatch::closed(const std::string& id) {
  if (closed_.size() == kMostClosed) closed_.clear();
  closed_.insert(id);
}

void LeaseWatch::complete() {
  for (const auto& id : std::exchange(missing_, {})) broker_.close_for(id, "deleted");
}

void LeaseWatch::remove(const boost::json::object& object) {
  const auto name = name_of(object);
  if (!name) return;
  waiting_.erase(name->name);
  closed_.erase(name->name);
  broker_.close_for(name->name, "deleted");
}

}  // namespace mintfs::kube
