#include "broker/audit.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mintfs::broker {
namespace {

constexpr std::size_t kMaxBuffer = 4 * 1024 * 1024;  // about 20 000 lines that no disk takes
constexpr std::size_t kMaxName = 255;                // of what a client named
constexpr std::chrono::milliseconds kDelay{100};
// Written at once when there is so much: what a second thread does at a stretch holds up the requests
// under way where both share a core, and buffers of this size stay in the cache.
constexpr std::size_t kBatch = 64 * 1024;
constexpr std::chrono::seconds kStrangerDelay{1};

bool stands_for_itself(char c) { return c >= 0x20 && c <= 0x7e && c != '"' && c != '\\'; }

void append_escaped(std::string& out, std::string_view text) {
  const auto plain = std::find_if_not(text.begin(), text.end(), stands_for_itself);
  out.append(text.begin(), plain);
  text.remove_prefix(static_cast<std::size_t>(plain - text.begin()));
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (stands_for_itself(c)) {
      out += c;
    } else {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(c)));
      out += code;
    }
  }
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  out += ",\"";
  out += name;
  out += "\":\"";
  append_escaped(out, value);
  out += '"';
}

// "2026-11-21T11:30:00", without the fraction.
std::string timestamp(std::int64_t second) {
  const std::time_t time = second;
  std::tm parts{};
  gmtime_r(&time, &parts);
  char text[32];
  const std::size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  return {text, size};
}

int open_for_append(const std::filesystem::path& file) {
  return ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
}

}  // namespace

AuditLog::AuditLog(std::filesystem::path file, const Clock& clock)
    : clock_(clock), file_(std::move(file)), descriptor_(open_for_append(file_)) {
  if (descriptor_ < 0)
    throw std::runtime_error("cannot open the audit log " + file_.string() + ": " +
                             std::generic_category().message(errno) + "; correct audit.file");
  writer_ = std::thread([this] { run(); });
}

AuditLog::~AuditLog() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  writer_.join();
  ::close(descriptor_);
}

void AuditLog::write(const AuditRecord& record) {
  const bool routine = record.event == "mint" || record.event == "redeem";
  const std::int64_t now = clock_.now().time_since_epoch().count();
  const std::lock_guard lock(mutex_);
  if (record.stranger && !admits_stranger(now)) return;
  if (buffer_.size() > kMaxBuffer) {
    lost_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  const bool first = buffer_.empty();
  append(record, now);
  const bool urgent = !urgent_ && (!routine || buffer_.size() >= kBatch);
  if (urgent) urgent_ = true;
  if (first || urgent) wake_.notify_one();
}

void AuditLog::begin_line(std::int64_t now) {
  if (now / 1000 != stamp_second_) {
    stamp_second_ = now / 1000;
    stamp_ = "{\"time\":\"" + timestamp(stamp_second_);
  }
  const auto fraction = static_cast<unsigned>(now % 1000);
  buffer_ += stamp_;
  const char digits[] = {'.',
                         static_cast<char>('0' + fraction / 100),
                         static_cast<char>('0' + fraction / 10 % 10),
                         static_cast<char>('0' + fraction % 10),
                         'Z',
                         '"'};
  buffer_.append(digits, sizeof digits);
}

void AuditLog::append(const AuditRecord& record, std::int64_t now) {
  begin_line(now);
  append_field(buffer_, "event", record.event);
  append_field(buffer_, "lease", record.lease);
  append_field(buffer_, "connector", record.connector);
  append_field(buffer_, "subject", record.subject);
  append_field(buffer_, "jti", record.jti);
  append_field(buffer_, "operation", record.operation);
  append_field(buffer_, "repository", record.repository.substr(0, kMaxName));
  append_field(buffer_, "reference", record.reference.substr(0, kMaxName));
  append_field(buffer_, "reason", record.reason);
  buffer_ += "}\n";
}

bool AuditLog::admits_stranger(std::int64_t now) {
  if (now / 1000 != stranger_second_) {
    tell_more(now);
    stranger_second_ = now / 1000;
    strangers_ = 0;
  }
  if (strangers_ < kStrangersPerSecond) {
    ++strangers_;
    return true;
  }
  if (more_++ == 0) wake_.notify_one();  // the writer tells it when nobody else does
  return false;
}

void AuditLog::tell_more(std::int64_t now) {
  if (more_ == 0) return;
  begin_line(now);
  append_field(buffer_, "event", "refuse");
  buffer_ += ",\"more\":" + std::to_string(std::exchange(more_, 0)) + "}\n";
}

void AuditLog::reopen() {
  {
    const std::lock_guard lock(mutex_);
    reopen_ = true;
  }
  wake_.notify_one();
}

void AuditLog::run() {
  std::string batch;
  std::unique_lock lock(mutex_);
  const auto due = [this] { return stop_ || reopen_ || !buffer_.empty(); };
  while (true) {
    wake_.wait(lock, [&] { return due() || more_ != 0; });
    const bool quiet = more_ != 0 && !wake_.wait_for(lock, kStrangerDelay, due);
    if (quiet || stop_) tell_more(clock_.now().time_since_epoch().count());
    // Routine lines wait a little so that one write takes many.
    if (!stop_ && !reopen_ && !urgent_) wake_.wait_for(lock, kDelay, [this] { return stop_ || reopen_ || urgent_; });
    const bool reopen = std::exchange(reopen_, false);
    const bool stop = stop_;
    urgent_ = false;
    batch.swap(buffer_);
    lock.unlock();
    flush(batch);
    if (reopen) {
      if (const int descriptor = open_for_append(file_); descriptor >= 0) {
        ::close(descriptor_);
        descriptor_ = descriptor;
      }
    }
    lock.lock();
    if (stop && buffer_.empty()) return;
  }
}

void AuditLog::flush(std::string& batch) {
  std::string_view rest = batch;
  std::size_t torn = 0;  // bytes of a line that is only partly in the file
  while (!rest.empty()) {
    const ssize_t written = ::write(descriptor_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      std::uint64_t lines = 0;
      for (const char c : rest) lines += c == '\n' ? 1 : 0;
      lost_.fetch_add(lines, std::memory_order_relaxed);
      take_back(torn);
      break;
    }
    const std::string_view taken = rest.substr(0, static_cast<std::size_t>(written));
    const std::size_t newline = taken.rfind('\n');
    torn = newline == std::string_view::npos ? torn + taken.size() : taken.size() - newline - 1;
    rest.remove_prefix(taken.size());
  }
  batch.clear();
}

void AuditLog::take_back(std::size_t torn) const {
  // A line that the disk took half of would spoil the next one as well. Nobody else appends.
  struct stat status {};
  if (torn == 0 || ::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) return;
  if (::ftruncate(descriptor_, status.st_size - static_cast<off_t>(torn)) != 0) return;  // the torn line stays
}

}  // namespace mintfs::broker
