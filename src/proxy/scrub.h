// Keeps a stored credential out of what an upstream sends back.
//
// A debug page or an error may echo the request. Every form in which the credential is likely to
// come back is starred out in place, so that lengths stay as announced: raw, percent-encoded, as
// JSON and HTML escape it, in base64 and base64url as a whole ("user:password") and inside a longer
// text at each of the three alignments. A base64 character that mixes bits of the credential with
// those of its neighbour stays, which tells at most four bits at each end.
#pragma once

#include "broker/secret.h"
#include "proxy/body_filter.h"

#include <bitset>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::proxy {

// All spellings of one credential. Immutable, so shared by threads; wipes itself.
class ScrubPatterns {
 public:
  ScrubPatterns() = default;  // finds nothing
  // `username` is empty for a bearer token. A secret of one byte is not looked for.
  ScrubPatterns(std::string_view username, std::string_view secret);

  bool contains(std::string_view text) const noexcept;
  // Stars every occurrence; for header sections and short texts.
  void scrub(std::span<char> text) const noexcept;
  void scrub(std::string& text) const noexcept { scrub(std::span<char>(text)); }

  std::size_t longest() const noexcept { return longest_; }

 private:
  friend class Scrubber;
  void add(std::string_view pattern);
  // The length of the longest pattern that begins at `text`; 0 where none does.
  std::size_t match(std::string_view text) const noexcept;

  std::vector<broker::Secret> patterns_;
  std::bitset<65536> starts_;  // pairs of bytes that some pattern begins with: most positions end there
  std::size_t longest_ = 0;
};

// Scrubs a stream of buffers: an occurrence that is split between buffers is found as well. Holds
// back at most longest() - 1 bytes. `patterns` outlives it.
class Scrubber final : public BodyFilter {
 public:
  explicit Scrubber(const ScrubPatterns& patterns) noexcept : patterns_(&patterns) {}
  ~Scrubber() override { broker::wipe(held_); }

  void feed(std::string_view in, std::string& out) override;
  void finish(std::string& out) override;

 private:
  void release(std::size_t certain, std::string& out);

  const ScrubPatterns* patterns_;
  std::string held_;         // original bytes
  std::size_t starred_ = 0;  // of held_: the part that an occurrence found earlier covers
};

}  // namespace mintfs::proxy
