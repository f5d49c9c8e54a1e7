#include "mintfs/commands.h"

#include <boost/json.hpp>

namespace mintfs::cli {

int upgrade(const ControlClient& client, Format format) {
  const boost::json::object answer = client.upgrade();
  if (format == Format::json)
    print(answer);
  else
    print("mintfsd is now process " + client::text(answer, "pid") + "\n");
  return 0;
}

}  // namespace mintfs::cli
