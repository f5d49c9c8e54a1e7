#include "mintfs/rewrites.h"

#include <algorithm>
#include <optional>

namespace mintfs::cli {
namespace {

constexpr std::string_view kFile = "file:";

// "url.<base>.insteadof\n<spelling>"
std::optional<Rewrite> parse_rewrite(std::string_view origin, std::string_view entry) {
  constexpr std::string_view kUrl = "url.";
  const std::size_t newline = entry.find('\n');
  const std::string_view key = entry.substr(0, newline);
  const std::size_t dot = key.rfind('.');
  if (newline == std::string_view::npos || !key.starts_with(kUrl) || dot < kUrl.size()) return std::nullopt;
  if (origin.starts_with(kFile)) origin.remove_prefix(kFile.size());
  return Rewrite{.origin = std::string(origin),
                 .base = std::string(key.substr(kUrl.size(), dot - kUrl.size())),
                 .spelling = std::string(entry.substr(newline + 1)),
                 .push = key.substr(dot + 1) == "pushinsteadof"};
}

}  // namespace

std::vector<Rewrite> parse_rewrites(std::string_view output) {
  std::vector<Rewrite> rewrites;
  const auto take = [&] {
    const std::size_t end = output.find('\0');
    const std::string_view text = output.substr(0, end);
    output.remove_prefix(end == std::string_view::npos ? output.size() : end + 1);
    return text;
  };
  while (!output.empty()) {
    const std::string_view origin = take();
    if (auto rewrite = parse_rewrite(origin, take())) rewrites.push_back(std::move(*rewrite));
  }
  return rewrites;
}

std::vector<Rewrite> overruling(const std::vector<Rewrite>& all, const std::filesystem::path& view) {
  const std::string folder = view.string() + "/";
  std::vector<Rewrite> found;
  for (auto foreign = all.begin(); foreign != all.end(); ++foreign) {
    const std::string_view theirs = foreign->spelling;
    const auto wins = [&](const Rewrite& rewrite) {
      const std::string_view ours = rewrite.spelling;
      if (!rewrite.origin.starts_with(folder) || rewrite.base == foreign->base) return false;
      if (foreign->push) return theirs.starts_with(ours) || ours.starts_with(theirs);
      return theirs.starts_with(ours) && (theirs.size() > ours.size() || &*foreign < &rewrite);
    };
    if (!foreign->origin.starts_with(folder) && std::any_of(all.begin(), all.end(), wins)) found.push_back(*foreign);
  }
  return found;
}

}  // namespace mintfs::cli
