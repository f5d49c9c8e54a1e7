#include "mintfs/table.h"

#include <algorithm>

namespace mintfs::cli {

std::string format_table(const std::vector<Row>& rows) {
  std::vector<std::size_t> widths;
  const auto shown = [](const std::string& cell) { return cell.empty() ? std::string("-") : cell; };
  for (const Row& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], shown(row[i]).size());
  }
  std::string text;
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string cell = shown(row[i]);
      text += cell;
      if (i + 1 < row.size()) text.append(widths[i] - cell.size() + 2, ' ');
    }
    text += '\n';
  }
  return text;
}

}  // namespace mintfs::cli
