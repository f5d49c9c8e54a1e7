#include "broker/credential_handover.h"

#include "broker/credential_json.h"

#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mintfs::broker {
namespace {

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
constexpr off_t kMost = 256 * 1024 * 1024;

std::string_view take_until(std::string_view& text, char end) {
  const std::string_view part = text.substr(0, text.find(end));
  text.remove_prefix(std::min(text.size(), part.size() + 1));
  return part;
}

}  // namespace

CredentialHandover::CredentialHandover()
    : descriptor_(::memfd_create("mintfs-credentials", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {}

CredentialHandover::~CredentialHandover() {
  if (!memory_.empty()) {
    wipe(memory_);
    ::munmap(memory_.data(), memory_.size());
  }
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool CredentialHandover::write(const Secret& text) {
  const std::size_t size = text.size();
  if (descriptor_ < 0 || size == 0 || ::ftruncate(descriptor_, static_cast<off_t>(size)) != 0) return false;
  void* const base = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_, 0);
  if (base == MAP_FAILED) return false;
  memory_ = {static_cast<char*>(base), size};
  if (::mlock(base, size) != 0 || ::madvise(base, size, MADV_DONTDUMP) != 0) return false;
  // After this only the mapping that is there can change it: ours.
  if (::fcntl(descriptor_, F_ADD_SEALS, kSeals) != 0) return false;
  text.reveal().copy(memory_.data(), size);
  return true;
}

Secret CredentialHandover::read(int descriptor) {
  if (descriptor < 0) return {};
  struct stat status {};
  const bool fits = ::fstat(descriptor, &status) == 0 && status.st_size > 0 && status.st_size <= kMost &&
                    (::fcntl(descriptor, F_GET_SEALS) & kSeals) == kSeals;
  Secret text(fits ? static_cast<std::size_t>(status.st_size) : 0);
  std::size_t at = 0;
  while (at < text.size()) {
    const ssize_t count = ::pread(descriptor, text.bytes().data() + at, text.size() - at, static_cast<off_t>(at));
    if (count <= 0) break;
    at += static_cast<std::size_t>(count);
  }
  ::close(descriptor);
  return at == text.size() ? std::move(text) : Secret();
}

// A line each: the lease and what a request to store it would say.
Secret save(JobCredentials& credentials) {
  std::vector<Secret> lines;
  std::size_t size = 0;
  credentials.for_each([&](const std::string& lease, const JobCredential& credential) {
    const Secret json = to_json(credential, To::store);
    Secret line(lease.size() + 1 + json.size() + 1);
    char* out = std::copy(lease.begin(), lease.end(), line.bytes().data());
    *out++ = ' ';
    out = std::copy(json.reveal().begin(), json.reveal().end(), out);
    *out = '\n';
    size += line.size();
    lines.push_back(std::move(line));
  });
  Secret text(size);
  std::size_t at = 0;
  for (const Secret& line : lines) at += line.reveal().copy(text.bytes().data() + at, line.size());
  return text;
}

void restore(const Secret& text, JobCredentials& credentials, Broker& broker) {
  std::string_view rest = text.reveal();
  while (!rest.empty()) {
    std::string_view line = take_until(rest, '\n');
    const LeasePtr lease = broker.find_lease(take_until(line, ' '));
    std::string detail;
    auto request = parse_credential_request(line, detail);
    // One that does not fit any more is lost, as all are in a restart.
    if (lease && request && request->credential.where.host) [[maybe_unused]]
      const auto stored = credentials.store(*lease, std::move(request->credential));
  }
}

}  // namespace mintfs::broker
