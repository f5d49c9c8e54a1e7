// Which of git's url.<base>.insteadOf and pushInsteadOf lines win over those of a view. Pure.
//
// git takes the longest spelling that a URL begins with and of equal ones the first it read, so a
// line of the user's own, read before the view, can send git past mintfs. A push asks pushInsteadOf
// before insteadOf, and a view has none.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::cli {

struct Rewrite {
  std::string origin;    // the file as git names it
  std::string base;      // what a URL then begins with; may hold a password
  std::string spelling;  // what a URL began with
  bool push = false;     // pushInsteadOf
};

// The output of `git config --null --show-origin --get-regexp '^url\..*\.(push)?insteadof$'`.
std::vector<Rewrite> parse_rewrites(std::string_view output);

// Those, in the order read, that send a URL of `view` somewhere else.
std::vector<Rewrite> overruling(const std::vector<Rewrite>& all, const std::filesystem::path& view);

}  // namespace mintfs::cli
