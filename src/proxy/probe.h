// One question to a connector's server, asked as the proxy would ask it: is it there, and does it take the credential?
//
// The way there is the proxy's own: an address that was checked, TLS that is verified, the egress proxy. The
// credential goes to the connector's own origin alone; a redirect is followed within it. Nothing of an answer is kept
// but its status. Of the executor's thread.
#pragma once

#include "broker/config.h"
#include "broker/error.h"
#include "proxy/asio.h"
#include "proxy/credentials/credential.h"
#include "proxy/egress.h"
#include "proxy/lookups.h"
#include "proxy/upstream_pool.h"

#include <chrono>
#include <string>
#include <string_view>

namespace mintfs::proxy {

struct ProbeQuestion {
  std::string target;             // path and query behind the address's prefix; canonical
  bool tries_credential = false;  // a server that does not take the credential answers 401 or 403 to it
};

// What to ask of a server of this class. `repository` is one that the credential may read, or empty; one that is not
// a path of a repository is as none.
ProbeQuestion question_for(broker::ConnectorClass connector_class, std::string_view repository);

class Prober {
 public:
  struct Limits {
    std::chrono::milliseconds connect{10'000};
    std::chrono::milliseconds whole{20'000};
  };

  // All outlive this.
  Prober(const Executor& executor, Lookups& lookups, const Egress& egress, Limits limits)
      : executor_(executor), lookups_(lookups), egress_(egress), limits_(limits) {}

  // The status of the answer, a redirect's where it leads elsewhere; or the Errc that the proxy would answer with:
  // address_denied, egress_refused, upstream_unreachable, upstream_untrusted, upstream_timeout, upstream_malformed.
  // `credential` may be null.
  Awaitable<broker::Result<unsigned>> ask(broker::ConnectorConfig connector, CredentialPtr credential,
                                          ProbeQuestion question);

 private:
  struct Answer {
    unsigned status = 0;
    std::string next{};  // where a redirect leads, where it may be followed
  };
  Awaitable<broker::Result<Answer>> ask_once(Upstream& upstream, const broker::ConnectorConfig& connector,
                                             std::string_view secret, const std::string& target, SteadyTime deadline);

  Executor executor_;
  Lookups& lookups_;
  const Egress& egress_;
  Limits limits_;
  IdleConnections idle_;  // none is kept
};

}  // namespace mintfs::proxy
