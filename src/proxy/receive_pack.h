// What a push asks for: the commands that stand in front of the pack in a request for git-receive-pack
// (gitprotocol-pack, "Reference Update Request"), and the answer to a push that is refused.
//
// Read as git reads them, and refused where another reader might find other commands in the same bytes:
// what is let through must be what the server carries out. A push certificate's commands are those within
// it (git carries them out whether the signature is good or not). The rest of the request, push options and
// the pack, is not looked at.
#pragma once

#include "broker/error.h"
#include "broker/reference.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::proxy {

struct PushCommand {
  std::string reference;  // 1 to broker::kMaxReference bytes, no space or control character among them
  broker::ReferenceChange change = broker::ReferenceChange::update;
};

class PushReader {
 public:
  static constexpr std::size_t kMaxBytes = 1024 * 1024;
  static constexpr std::size_t kMaxCommands = 10'000;

  // `bytes` is the body as far as it has come, from its first byte on; goes on where it stopped.
  // request_malformed; body_too_large over the bounds above.
  boost::system::error_code read(std::string_view bytes);

  bool done() const { return state_ == State::done; }  // the commands have ended
  std::size_t size() const { return at_; }             // bytes that were read; the pack is behind them
  // Empty also for the lone flush by which git tries out whether it may push before it sends much.
  const std::vector<PushCommand>& commands() const { return commands_; }
  bool wants_report() const { return wants_report_; }  // report-status or report-status-v2
  bool side_band() const { return side_band_; }        // side-band-64k

 private:
  enum class State : std::uint8_t {
    commands,
    certificate_version,
    certificate_header,
    certificate_commands,
    certificate_signature,
    certified,
    done
  };
  bool accept(std::string_view payload);
  bool accept_line(std::string_view line);
  bool accept_certificate_line(std::string_view line);
  bool accept_command(std::string_view line);
  void accept_capabilities(std::string_view list);

  State state_ = State::commands;
  std::size_t at_ = 0;
  std::vector<PushCommand> commands_;
  bool wants_report_ = false;
  bool side_band_ = false;
};

// The result of git-receive-pack in which each command has failed, `reasons[i]` being why the i-th has.
std::string report_status(const PushReader& push, const std::vector<std::string>& reasons);

}  // namespace mintfs::proxy
