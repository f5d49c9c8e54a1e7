#include "mintfs/commands.h"
#include "mintfs/table.h"

#include <boost/json.hpp>

namespace mintfs::cli {

int status(const ControlClient& client, Format format) {
  const boost::json::object status = ControlClient(client.socket(), ControlClient::kShortPatience).status();
  if (format == Format::json) {
    print(status);
    return 0;
  }
  // In the daemon's order; a member that a newer daemon adds shows as well.
  std::vector<Row> rows = {{"socket", client.socket().string()}};
  for (const auto& member : status) {
    std::string name(member.key());
    for (char& c : name)
      if (c == '_') c = ' ';
    rows.push_back({name, client::text(status, std::string_view(member.key().data(), member.key().size()))});
  }
  print(format_table(rows));
  return 0;
}

}  // namespace mintfs::cli
