// Who may do what: operations, repository patterns, users. Pure and exact.
//
// A repository is named by its path on the server without leading slash and without one trailing
// ".git" ("acme/app"). A pattern is such a path in which `*` stands for any characters within one
// segment and `**`, as a whole segment, for any number of segments, none included. Letter case
// counts, so that another spelling of a name is refused and not guessed, unless the connector says that
// its server knows each repository by all of them. Rights are only ever intersected: a lease's rights
// narrow its connector's, and both are asked on every request.
#pragma once

#include "broker/letter_case.h"
#include "broker/reference.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <sys/types.h>

namespace mintfs::broker {

enum class Operation : std::uint8_t { fetch = 1, push = 2 };
std::string_view to_string(Operation operation) noexcept;

// A set of operations.
class Operations {
 public:
  constexpr Operations() = default;
  static constexpr Operations all() { return Operations(3); }
  static constexpr Operations only(Operation one) { return Operations(static_cast<std::uint8_t>(one)); }
  constexpr bool contains(Operation one) const { return (bits_ & static_cast<std::uint8_t>(one)) != 0; }
  constexpr bool empty() const { return bits_ == 0; }
  constexpr Operations operator&(Operations other) const { return Operations(bits_ & other.bits_); }
  constexpr Operations operator|(Operations other) const { return Operations(bits_ | other.bits_); }
  constexpr bool operator==(const Operations&) const = default;
  std::vector<std::string_view> names() const;

 private:
  constexpr explicit Operations(int bits) : bits_(static_cast<std::uint8_t>(bits)) {}
  std::uint8_t bits_ = 0;
};

class RepositoryPattern {
 public:
  // The canonical text; `text` must pass is_valid().
  explicit RepositoryPattern(std::string_view text);
  // 1 to 255 printable ASCII characters without space and any of "\%;#? ; no empty, "." or ".."
  // segment; not ".git" twice at the end.
  static bool is_valid(std::string_view text);

  bool matches(std::string_view repository, LetterCase letters = LetterCase::counts) const;
  // Whether every repository that `other` matches is matched by this. Never a wrong yes; a wrong no
  // where the wildcards stand in another order ("**/*" and "*/**").
  bool covers(const RepositoryPattern& other, LetterCase letters = LetterCase::counts) const;
  // The longest leading part that holds no wildcard, up to a slash unless the pattern is literal:
  // "acme/" for "acme/*", "acme/app" for "acme/app", "" where the rest is not "*" or "**".
  std::string literal_prefix() const;
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// "acme/app.git" and "/acme/app" name the same repository "acme/app".
std::string_view canonical_repository(std::string_view path);

struct Rights {
  Operations operations = Operations::all();
  std::vector<RepositoryPattern> repositories;  // empty: all
  ReferenceRules references{};                  // of a lease: `allow` alone

  bool restricts_repositories() const { return !repositories.empty(); }
  // The first pattern that gives the repository; null where none does.
  const RepositoryPattern* giving(std::string_view repository, LetterCase letters) const;
};

// Names of users and groups, or decimal ids. Resolved when asked, so that a configuration may name
// users that do not exist yet.
struct Allow {
  std::vector<std::string> users{};
  std::vector<std::string> groups{};
};

// The ids of users and groups by name; asks the system (NSS) for each name once. For one request: what
// it keeps does not age.
class Names {
 public:
  // Nothing where there is no such name.
  std::optional<uid_t> user(const std::string& name);
  std::optional<gid_t> group(const std::string& name);

 private:
  std::unordered_map<std::string, std::optional<uid_t>> users_;
  std::unordered_map<std::string, std::optional<gid_t>> groups_;
};

// A process at the other end of the control socket, as the kernel vouches for it.
struct Caller {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups{};  // supplementary
  pid_t pid = 0;                // 0 where it is not visible in our pid namespace
  std::uint64_t started = 0;    // when that process did, as process_watch.h tells: its number is given again
};

// Root and the daemon's own user always may.
bool admits(const Allow& allow, const Caller& caller, Names& names);
bool admits(const Allow& allow, const Caller& caller);
bool is_administrator(uid_t uid);

}  // namespace mintfs::broker
