// A string that must not leak: a password, a key, a token, a whole Authorization value.
//
// It wipes its memory when it goes, cannot be copied by accident, printed, logged or compared in
// time that depends on its content. Core dumps are off for the whole process (see src/main.cc).
#pragma once

#include <cstddef>
#include <iosfwd>
#include <memory>
#include <new>
#include <span>
#include <string_view>

namespace mintfs::broker {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string_view bytes);
  // Uninitialised room for `size` bytes; fill through bytes().
  explicit Secret(std::size_t size);
  ~Secret();
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;

  Secret clone() const { return Secret(reveal()); }

  // The content. Name every use: it must go to a socket or a cipher, never to a log or an error.
  std::string_view reveal() const noexcept { return {data_.get(), size_}; }
  std::span<char> bytes() noexcept { return {data_.get(), size_}; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }

  // Constant time for equal lengths.
  bool equals(std::string_view other) const noexcept;

  friend std::ostream& operator<<(std::ostream&, const Secret&) = delete;

 private:
  std::unique_ptr<char[]> data_;
  std::size_t size_ = 0;
};

// Overwrites memory in a way that the compiler may not remove.
void wipe(std::span<char> bytes) noexcept;

// For containers of bytes that a secret passes through and whose type is not ours to choose.
template <class T>
struct WipingAllocator {
  using value_type = T;
  WipingAllocator() = default;
  template <class U>
  WipingAllocator(const WipingAllocator<U>&) noexcept {}  // NOLINT(google-explicit-constructor): it is an Allocator

  T* allocate(std::size_t count) { return static_cast<T*>(::operator new(count * sizeof(T))); }
  void deallocate(T* memory, std::size_t count) noexcept {
    wipe({reinterpret_cast<char*>(memory), count * sizeof(T)});
    ::operator delete(memory);
  }
  friend bool operator==(const WipingAllocator&, const WipingAllocator&) noexcept { return true; }
};

}  // namespace mintfs::broker
