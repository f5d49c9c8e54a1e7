#include "proxy/receive_pack.h"

#include "proxy/pkt_line.h"

#include <algorithm>
#include <array>

namespace mintfs::proxy {
namespace {

using boost::system::error_code;
using broker::Errc;
using broker::ReferenceChange;

constexpr std::string_view kBlank = " \t\n\v\f\r";

bool is_object_id(std::string_view text) {
  return (text.size() == 40 || text.size() == 64) &&
         text.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
}

bool is_null(std::string_view id) { return id.find_first_not_of('0') == std::string_view::npos; }

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= broker::kMaxReference && std::all_of(name.begin(), name.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte > 0x20 && byte != 0x7f;
  });
}

std::string_view take_word(std::string_view& line) {
  const std::size_t space = line.find(' ');
  const auto word = line.substr(0, space);
  line.remove_prefix(space == std::string_view::npos ? line.size() : space + 1);
  return word;
}

// What begins a signature in git (gpg-interface.c). A line that only some server takes for one is no command
// either, so that every server refuses it.
bool begins_signature(std::string_view line) {
  constexpr std::array kBegins = {
      std::string_view("-----BEGIN PGP SIGNATURE-----"), std::string_view("-----BEGIN PGP MESSAGE-----"),
      std::string_view("-----BEGIN SIGNED MESSAGE-----"), std::string_view("-----BEGIN SSH SIGNATURE-----")};
  return std::any_of(kBegins.begin(), kBegins.end(), [&](auto begin) { return line.starts_with(begin); });
}

}  // namespace

error_code PushReader::read(std::string_view bytes) {
  while (!done()) {
    std::string_view rest = bytes.substr(at_);
    PktLine line;
    const PktStatus status = take_pkt_line(rest, line);
    if (status == PktStatus::malformed) return Errc::request_malformed;
    if (status == PktStatus::incomplete)
      return bytes.size() > kMaxBytes ? error_code(Errc::body_too_large) : error_code();
    at_ = bytes.size() - rest.size();
    if (at_ > kMaxBytes || commands_.size() > kMaxCommands) return Errc::body_too_large;
    if (line.kind == PktLine::Kind::flush && (state_ == State::commands || state_ == State::certified)) {
      state_ = State::done;
      continue;
    }
    if (line.kind != PktLine::Kind::data || !accept(line.payload)) return Errc::request_malformed;
  }
  return commands_.size() > kMaxCommands ? error_code(Errc::body_too_large) : error_code();
}

bool PushReader::accept(std::string_view payload) {
  switch (state_) {
    case State::commands:
      if (payload.ends_with('\n')) payload.remove_suffix(1);
      return accept_line(payload);
    case State::certificate_version:
    case State::certificate_header:
    case State::certificate_commands:
    case State::certificate_signature:
      // git joins the packets and then looks for lines: one line in each leaves nothing to join.
      if (payload.empty() || payload.find('\n') != payload.size() - 1 || payload.find('\0') != std::string_view::npos)
        return false;
      payload.remove_suffix(1);
      return accept_certificate_line(payload);
    case State::certified:
    case State::done:
      return false;
  }
  return false;
}

bool PushReader::accept_line(std::string_view line) {
  if (line.starts_with("shallow ")) return is_object_id(line.substr(8));
  const std::size_t null = line.find('\0');
  if (null != std::string_view::npos) {
    const auto capabilities = line.substr(null + 1);
    if (!commands_.empty() || capabilities.find('\0') != std::string_view::npos) return false;
    accept_capabilities(capabilities);
    line = line.substr(0, null);
  }
  if (line != "push-cert") return accept_command(line);
  state_ = State::certificate_version;
  return commands_.empty();
}

bool PushReader::accept_certificate_line(std::string_view line) {
  const bool signature = begins_signature(line);
  const bool end = line == "push-cert-end";
  switch (state_) {
    case State::certificate_version:
      state_ = State::certificate_header;
      return line == "certificate version 0.1";
    case State::certificate_header:
      if (line.empty()) state_ = State::certificate_commands;
      return !signature && !end;
    case State::certificate_commands:
      if (end) state_ = State::certified;
      if (signature) state_ = State::certificate_signature;
      return end || signature || accept_command(line);
    case State::certificate_signature:
      if (end) state_ = State::certified;
      return !signature;  // git takes what is in front of the last one for commands
    case State::commands:
    case State::certified:
    case State::done:
      return false;
  }
  return false;
}

bool PushReader::accept_command(std::string_view line) {
  const auto from = take_word(line);
  const auto to = take_word(line);
  if (!is_object_id(from) || !is_object_id(to) || from.size() != to.size() || !is_name(line)) return false;
  // Without a new id it is a deletion, whatever the old one is.
  const auto change = is_null(to)     ? ReferenceChange::remove
                      : is_null(from) ? ReferenceChange::create
                                      : ReferenceChange::update;
  commands_.push_back({std::string(line), change});
  return true;
}

void PushReader::accept_capabilities(std::string_view list) {
  while (!list.empty()) {
    const std::size_t blank = std::min(list.find_first_of(kBlank), list.size());
    const auto word = list.substr(0, blank);
    if (word == "report-status" || word == "report-status-v2") wants_report_ = true;
    if (word == "side-band-64k") side_band_ = true;
    list.remove_prefix(std::min(blank + 1, list.size()));
  }
}

std::string report_status(const PushReader& push, const std::vector<std::string>& reasons) {
  std::string report;
  append_pkt_line(report, "unpack ok\n");
  for (std::size_t i = 0; i < reasons.size(); ++i)
    append_pkt_line(report, "ng " + push.commands()[i].reference + " " + reasons[i] + "\n");
  report += kFlushPkt;
  if (!push.side_band()) return report;
  std::string framed;
  append_side_band(framed, 1, report);
  return framed.append(kFlushPkt);
}

}  // namespace mintfs::proxy
