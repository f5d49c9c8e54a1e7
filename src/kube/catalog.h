// What the cluster says about connectors, put together: Connector, its class and its Secret, until all three fit.
//
// A connector is served as a whole or not at all: address, account and password change in one step. What stops
// fitting is withdrawn at once (a Secret that was deleted was meant to be). Whatever is wrong is a condition that
// an administrator can read. Of one thread.
#pragma once

#include "kube/conditions.h"
#include "kube/objects.h"
#include "kube/reflector.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace mintfs::kube {

// Told of what may be used from now on, and what no more. Credentials pass through and stay here.
class Serving {
 public:
  virtual ~Serving() = default;
  // `password` is null where the server takes everybody.
  virtual void serve(const broker::ConnectorConfig& connector, const broker::Secret* password) = 0;
  virtual void withdraw(const broker::ConnectorName& name) = 0;
};

// Objects of one kind by name, or what is wrong with them. Tells which names changed.
template <class Object, class Name>
class Shelf final : public ObjectSink {
 public:
  using Read = Outcome<Object> (*)(const boost::json::object&);
  using NameOf = std::optional<Name> (*)(const boost::json::object&);
  Shelf(Read read, NameOf name_of, std::function<void(const Name&)> changed)
      : read_(read), name_of_(name_of), changed_(std::move(changed)) {}

  const Outcome<Object>* find(const Name& name) const {
    const auto found = objects_.find(name);
    return found == objects_.end() ? nullptr : &found->second;
  }
  bool complete_once() const { return complete_; }
  const std::map<Name, Outcome<Object>>& all() const { return objects_; }

  void begin() override { missing_ = names(); }
  void upsert(const boost::json::object& object) override {
    const auto name = name_of_(object);
    if (!name) return;
    missing_.erase(*name);
    objects_.insert_or_assign(*name, read_(object));
    changed_(*name);
  }
  void complete() override {
    complete_ = true;
    for (const Name& name : std::exchange(missing_, {})) drop(name);
  }
  void remove(const boost::json::object& object) override {
    if (const auto name = name_of_(object)) drop(*name);
  }

 private:
  std::set<Name> names() const {
    std::set<Name> names;
    for (const auto& [name, object] : objects_) names.insert(name);
    return names;
  }
  void drop(const Name& name) {
    if (objects_.erase(name) != 0) changed_(name);
  }

  Read read_;
  NameOf name_of_;
  std::function<void(const Name&)> changed_;
  std::map<Name, Outcome<Object>> objects_;
  std::set<Name> missing_;
  std::atomic<bool> complete_ = false;
};

class Catalog {
 public:
  explicit Catalog(Serving& serving);

  ObjectSink& connectors() { return connectors_; }
  ObjectSink& classes() { return classes_; }
  ObjectSink& secrets() { return secrets_; }

  // ConnectorClassReady and SecretReady; empty for an unknown connector.
  std::vector<Condition> conditions(const ObjectName& name) const;
  const Outcome<Connector>* find(const ObjectName& name) const { return connectors_.find(name); }
  std::set<ObjectName> names() const;
  // Whether each collection was listed: until then nothing that is missing is missed. On any thread.
  bool is_complete() const {
    return connectors_.complete_once() && classes_.complete_once() && secrets_.complete_once();
  }
  // What is served of a connector, in a few words that change when its address or its credential may have; nothing
  // where it is not served.
  std::optional<std::string> served_as(const ObjectName& name) const;
  // Called with each name whose conditions may have changed.
  void on_change(std::function<void(const ObjectName&)> changed) { changed_ = std::move(changed); }

 private:
  void judge(const ObjectName& name);
  void judge_if(const std::function<bool(const Connector&)>& concerned);
  Condition class_condition(const Connector& connector) const;
  Condition secret_condition(const Connector& connector) const;
  const ConnectorClass::Auth* auth_of(const Connector& connector) const;

  Serving& serving_;
  std::function<void(const ObjectName&)> changed_ = [](const ObjectName&) {};
  Shelf<Connector, ObjectName> connectors_;
  Shelf<ConnectorClass, ObjectName> classes_;
  Shelf<BasicAuth, ObjectName> secrets_;
  std::map<ObjectName, std::string> served_;  // as what
};

}  // namespace mintfs::kube
