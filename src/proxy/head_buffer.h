// The bytes that arrived and were not used yet. Grows up to a bound while a header section is read.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace mintfs::proxy {

class HeadBuffer {
 public:
  static constexpr std::size_t kFirst = 4 * 1024;
  // A header section of the largest size and what may follow it in the same segment.
  static constexpr std::size_t kMost = 80 * 1024;

  std::string_view filled() const { return {bytes_.data() + begin_, end_ - begin_}; }
  std::span<char> filled_bytes() { return {bytes_.data() + begin_, end_ - begin_}; }

  // Room for at least one more byte; empty when the bound is reached. Invalidates views.
  std::span<char> room() {
    if (begin_ == end_) begin_ = end_ = 0;
    if (end_ == bytes_.size() && begin_ > 0) {
      std::memmove(bytes_.data(), bytes_.data() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    if (end_ == bytes_.size() && bytes_.size() < kMost) bytes_.resize(bytes_.empty() ? kFirst : 2 * bytes_.size());
    return {bytes_.data() + end_, bytes_.size() - end_};
  }
  void commit(std::size_t size) { end_ += size; }
  void consume(std::size_t size) { begin_ += size; }

  // Puts bytes in front that were read past the end of a message.
  void replace(std::string_view bytes) {
    bytes_.assign(bytes.begin(), bytes.end());
    begin_ = 0;
    end_ = bytes_.size();
  }

  // Gives large memory back; for a connection that goes idle.
  void shrink() {
    if (begin_ == end_ && bytes_.size() > kFirst) {
      bytes_ = {};
      begin_ = end_ = 0;
    }
  }

 private:
  std::vector<char> bytes_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace mintfs::proxy
