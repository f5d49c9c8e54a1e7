#include "mintfs/table.h"

#include <gtest/gtest.h>

namespace mintfs::cli {
namespace {

TEST(Table, LinesUpItsColumns) {
  EXPECT_EQ(format_table({{"ID", "UID", "LABELS"}, {"abcdef", "0", ""}, {"x", "1000", "a=b"}}),
            "ID      UID   LABELS\n"
            "abcdef  0     -\n"
            "x       1000  a=b\n");
}

TEST(Table, MayBeEmpty) { EXPECT_EQ(format_table({}), ""); }

}  // namespace
}  // namespace mintfs::cli
