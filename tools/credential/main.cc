// git-credential-mintfs: git's credential helper for a job. What is stored lives in mintfsd's memory under
// the job's lease, or in a helper of the machine that the lease names; a token for the proxy is minted when git
// asks for one.
//
// Silent where it has nothing to say: without a lease, without a daemon, with nothing found.
#include "broker/secret.h"
#include "client/control_client.h"
#include "credential/answer.h"
#include "credential/description.h"
#include "credential/machine_helper.h"

#include <CLI/CLI.hpp>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace mintfs::credential {
namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr std::chrono::seconds kPatience{60};  // as for a helper of the machine
constexpr std::chrono::milliseconds kPause{20};

struct Invocation {
  std::string lease;
  std::filesystem::path socket;
  std::string operation;
};

// No core dump and no debugger of the same user reads what passes through here.
void protect_memory() {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0);
}

// All of it, or one byte more than parse_description() takes.
broker::Secret read_input(std::size_t& size) {
  broker::Secret input(kMaxInput + 1);
  size = 0;
  while (size < input.size()) {
    const ssize_t count = ::read(STDIN_FILENO, input.bytes().data() + size, input.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw std::runtime_error("standard input cannot be read");
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  return input;
}

void write_output(std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(STDOUT_FILENO, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw std::runtime_error("standard output cannot be written");
    text.remove_prefix(static_cast<std::size_t>(count));
  }
}

// Where to store waits while an ended lease of the job has its own erased there.
std::optional<Places> find_places(const client::ControlClient& client, const std::string& lease,
                                  const Description& description, bool stores) {
  const auto question = to_question(description, stores);
  for (const auto until = std::chrono::steady_clock::now() + kPatience;;) {
    const auto answer = client.find_credential(lease, question);
    if (!answer) return std::nullopt;
    Places places = to_places(*answer);
    if (!stores || !places.lines.empty()) return places;
    if (std::chrono::steady_clock::now() >= until)
      throw std::runtime_error("the helper '" + places.helper + "' goes on erasing what the job has left before");
    std::this_thread::sleep_for(kPause);
  }
}

// Where the lease keeps what is stored in a helper of the machine, all of it is done there.
bool serve_in_helper(const client::ControlClient& client, const Invocation& invocation,
                     const Description& description) {
  const bool stores = invocation.operation == "store";
  const auto places = find_places(client, invocation.lease, description, stores);
  if (!places) return false;
  if (stores)
    store_in(*places, description);
  else if (invocation.operation == "erase")
    erase_from(*places, description);
  else if (const auto lines = get_from(*places, description))
    write_output(lines->reveal());
  return true;
}

void get(const client::ControlClient& client, const std::string& lease, const boost::json::object& wanted,
         bool can_authtype) {
  const auto answer = client.get_credential(lease, wanted);
  if (!answer) return;
  const auto lines = to_lines(*answer, can_authtype);
  if (!lines) throw std::runtime_error("mintfsd's answer holds what cannot be told to git");
  write_output(lines->reveal());
}

void serve(const Invocation& invocation, const Description& description) {
  const client::ControlClient client(invocation.socket.empty() ? client::default_socket() : invocation.socket);
  const bool gets = invocation.operation == "get", stores = invocation.operation == "store";
  const auto request = gets ? to_get(description) : stores ? to_store(description) : to_erase(description);
  if (!request || serve_in_helper(client, invocation, description)) return;
  if (gets)
    get(client, invocation.lease, *request, description.can_authtype);
  else if (stores)
    client.store_credential(invocation.lease, *request);
  else
    client.erase_credential(invocation.lease, *request);
}

int act(const Invocation& invocation) {
  const std::string& operation = invocation.operation;
  if (operation == "capability") {
    write_output("version 0\ncapability authtype\n");
    return 0;
  }
  // gitcredentials(7): operations that a helper does not know are passed over in silence.
  if (operation != "get" && operation != "store" && operation != "erase") return 0;
  if (invocation.lease.empty()) return 0;
  std::size_t size = 0;
  const broker::Secret input = read_input(size);
  std::string problem;
  const auto description = parse_description(input.reveal().substr(0, size), problem);
  if (!description) throw std::runtime_error("what git says cannot be trusted: " + problem);
  try {
    serve(invocation, *description);
  } catch (const client::Unreachable&) {
    // No daemon is no error of git's; "mintfs doctor" finds out why.
  } catch (const client::Refused& refusal) {
    if (refusal.reason() != "lease-closed") throw;
  }
  return 0;
}

int run(int argc, char** argv) {
  Invocation invocation;
  if (const char* lease = std::getenv("MINTFS_LEASE")) invocation.lease = lease;
  CLI::App app("Git credential helper for a job with a mintfs lease", "git-credential-mintfs");
  app.set_version_flag("--version", "git-credential-mintfs " MINTFS_VERSION);
  app.add_option("--lease", invocation.lease, "The job's lease (default: $MINTFS_LEASE)")->option_text("ID");
  app.add_option("--socket", invocation.socket, "Where mintfsd listens (default: $MINTFS_SOCKET, else by user)")
      ->option_text("PATH");
  app.add_option("OPERATION", invocation.operation, "What git asks for: get, store, erase or capability")->required();
  app.footer("git calls it. Example:\n  git config credential.helper mintfs");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& asked) {
    return app.exit(asked);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "git-credential-mintfs: %s; see 'git-credential-mintfs --help'\n", error.what());
    return kUsage;
  }
  protect_memory();
  try {
    return act(invocation);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "git-credential-mintfs: %s\n", error.what());
    return kFailed;
  }
}

}  // namespace
}  // namespace mintfs::credential

int main(int argc, char** argv) { return mintfs::credential::run(argc, argv); }
