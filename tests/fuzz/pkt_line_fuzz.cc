// A push reads the same however its bytes arrive; what was read is what stands in the bytes, and each
// command that is found can be refused in a report that is well-formed.
#include "broker/error.h"
#include "proxy/pkt_line.h"
#include "proxy/receive_pack.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

using namespace mintfs::proxy;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

bool same(const PushReader& a, const PushReader& b) {
  if (a.done() != b.done() || a.size() != b.size() || a.commands().size() != b.commands().size()) return false;
  for (std::size_t i = 0; i < a.commands().size(); ++i)
    if (a.commands()[i].reference != b.commands()[i].reference || a.commands()[i].change != b.commands()[i].change)
      return false;
  return a.wants_report() == b.wants_report() && a.side_band() == b.side_band();
}

void check_pkt_lines(std::string_view bytes) {
  PktLine line;
  for (std::string_view rest = bytes; take_pkt_line(rest, line) == PktStatus::complete;) {
    if (line.kind != PktLine::Kind::data) continue;
    std::string text;
    append_pkt_line(text, line.payload);
    std::string_view again = text;
    PktLine read;
    require(take_pkt_line(again, read) == PktStatus::complete && read.payload == line.payload && again.empty());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  check_pkt_lines(bytes);

  PushReader whole;
  const auto error = whole.read(bytes);
  PushReader pieces;
  boost::system::error_code later;
  const std::size_t step = 1 + (size > 0 ? data[size - 1] % 7 : 0);
  for (std::size_t end = 0; !later && end < size; end += step) later = pieces.read(bytes.substr(0, end));
  if (!later) later = pieces.read(bytes);
  require(error == later);
  if (error) return 0;
  require(same(whole, pieces) && whole.size() <= size);
  if (!whole.done()) return 0;

  // Nothing behind the commands changes them.
  PushReader longer;
  require(!longer.read(std::string(bytes) + "0000PACK") && same(whole, longer));
  for (const auto& command : whole.commands())
    require(bytes.substr(0, whole.size()).find(command.reference) != std::string_view::npos);
  const std::string report = report_status(whole, std::vector<std::string>(whole.commands().size(), "mintfs: no"));
  std::string_view rest = report;
  PktLine line;
  while (take_pkt_line(rest, line) == PktStatus::complete) {
  }
  require(rest.empty());
  return 0;
}
