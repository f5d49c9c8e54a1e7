// Text for people: columns that line up.
#pragma once

#include <string>
#include <vector>

namespace mintfs::cli {

using Row = std::vector<std::string>;

// One line per row, columns two spaces apart, nothing behind the last one; an empty cell is "-".
std::string format_table(const std::vector<Row>& rows);

}  // namespace mintfs::cli
