// The audit log: one JSON line for each act, never a secret.
//
// Lines are appended to a bounded buffer and written by one thread; open, close and refuse are
// asked to be written at once, mint and redeem within a tenth of a second. When the file cannot be
// written (disk full) lines are counted as lost, whole lines only are left in it, the count stands
// in `mintfs status`, and the daemon serves on. Whoever holds no token could fill the disk with
// refusals: beyond a number in each second they become one line with their count in "more".
#pragma once

#include "broker/clock.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace mintfs::broker {

// Empty fields are left out of the line. All are escaped; where a client chose a value its length
// was bounded before.
struct AuditRecord {
  std::string_view event{};  // open, renew, close, mint, redeem, refuse, credential
  std::string_view lease{};
  std::string_view connector{};
  std::string_view subject{};
  std::string_view jti{};
  std::string_view operation{};
  std::string_view repository{};  // client-controlled: escaped and cut at 255 bytes
  std::string_view reference{};   // the same
  std::string_view reason{};
  // Nobody vouches for who did it: at most kStrangersPerSecond such lines, the others are counted in one.
  bool stranger = false;
};

class AuditLog {
 public:
  static constexpr std::uint32_t kStrangersPerSecond = 20;

  // Opens `file` for appending (made with 0600); throws std::runtime_error with one sentence.
  AuditLog(std::filesystem::path file, const Clock& clock);
  ~AuditLog();  // writes what is left

  void write(const AuditRecord& record);  // any thread; never blocks on the disk
  void reopen();                          // after rotation; keeps the old file when it fails
  std::uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }

 private:
  void run();
  void append(const AuditRecord& record, std::int64_t now);
  void begin_line(std::int64_t now);
  bool admits_stranger(std::int64_t now);
  void tell_more(std::int64_t now);
  void flush(std::string& batch);
  void take_back(std::size_t torn) const;

  const Clock& clock_;
  std::filesystem::path file_;
  int descriptor_ = -1;
  std::atomic<std::uint64_t> lost_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::string buffer_;
  std::int64_t stamp_second_ = -1;
  std::string stamp_;
  std::int64_t stranger_second_ = -1;
  std::uint32_t strangers_ = 0;  // lines of that second
  std::uint64_t more_ = 0;       // that were not written
  bool urgent_ = false;
  bool reopen_ = false;
  bool stop_ = false;
  std::thread writer_;
};

}  // namespace mintfs::broker
