// Data that can only be reached while its lock is held.
#pragma once

#include <mutex>
#include <utility>

namespace mintfs::broker {

template <class T>
class Sync {
 public:
  template <class... Args>
  explicit Sync(Args&&... args) : value_(std::forward<Args>(args)...) {}

  class Locked {
   public:
    T* operator->() { return value_; }
    T& operator*() { return *value_; }

   private:
    friend class Sync;
    Locked(std::mutex& mutex, T& value) : lock_(mutex), value_(&value) {}
    std::unique_lock<std::mutex> lock_;
    T* value_;
  };

  Locked lock() { return {mutex_, value_}; }

 private:
  std::mutex mutex_;
  T value_;
};

}  // namespace mintfs::broker
