// mintfs: the command line. Reads the options and hands over to one of the commands.
#include "mintfs/commands.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>

namespace mintfs::cli {
namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;

// Everything the command line can say; `act` is the command that was chosen.
struct Invocation {
  std::filesystem::path socket;
  Format format = Format::text;
  Via via = Via::env;
  Engine engine = Engine::none;
  LeaseOptions lease;
  std::string id;
  bool keep = false;
  std::string connector;
  std::string repository;
  PolicyOptions policy;
  std::filesystem::path config;
  std::vector<std::string> command;  // behind "--"
  std::function<int(const ControlClient&)> act;
};

// An option whose value is one of a few words.
template <class Value>
void add_choice(CLI::App& command, const std::string& name, Value& chosen, const std::string& what,
                const std::map<std::string, Value>& choices) {
  std::vector<std::string> words;
  words.reserve(choices.size());
  for (const auto& choice : choices) words.push_back(choice.first);
  command
      .add_option_function<std::string>(
          name, [&chosen, choices](const std::string& word) { chosen = choices.at(word); }, what)
      ->check(CLI::IsMember(words))
      ->option_text(CLI::detail::join(words, "|"));
}

void add_text_or_json(CLI::App& command, Invocation& invocation) {
  add_choice<Format>(command, "--format", invocation.format, "How to print it (default: text)",
                     {{"text", Format::text}, {"json", Format::json}});
}

void add_via(CLI::App& command, Invocation& invocation) {
  add_choice<Via>(command, "--via", invocation.via, "Which variables point git at the view (default: env)",
                  {{"env", Via::env}, {"global", Via::global}, {"system", Via::system}, {"xdg", Via::xdg}});
}

void add_every_format(CLI::App& command, Invocation& invocation) {
  add_choice<Format>(command, "--format", invocation.format, "How to print it (default: text)",
                     {{"text", Format::text},
                      {"env", Format::env},
                      {"podman", Format::podman},
                      {"docker", Format::docker},
                      {"json", Format::json}});
}

void add_engines(CLI::App& command, Invocation& invocation) {
  const auto add = [&](const std::string& name, Engine engine) {
    const std::string what = "The command is '" + name + " run ...': serve the git in that container";
    return command.add_flag_callback(
        "--" + name, [&invocation, engine] { invocation.engine = engine; }, what);
  };
  add("podman", Engine::podman)->excludes(add("docker", Engine::docker));
}

void add_lease_options(CLI::App& command, Invocation& invocation) {
  LeaseOptions& lease = invocation.lease;
  const auto list = [&](const std::string& name, std::vector<std::string>& values, const std::string& what) {
    return command.add_option(name, values, what)->allow_extra_args(false);
  };
  list("-c,--connector", lease.connectors, "A connector to use; may be given again")->required()->option_text("NAME");
  command.add_option("--ttl", lease.ttl, "How long the lease lives at most, such as 30m or 2h")
      ->option_text("DURATION");
  command.add_flag("--read-only", lease.read_only, "Fetch only, no push");
  list("--repository", lease.repositories, "Only these repositories, such as 'acme/*'; may be given again")
      ->option_text("GLOB");
  list("--ref", lease.references, "Push to these references only, such as 'refs/heads/bot/*'; may be given again")
      ->option_text("GLOB");
  command.add_option("--origin", lease.origins,
                     "Tokens work from this address, network or 'unix' only; may be given again");
  command.add_option("--cgroup", lease.cgroup, "Only processes in this cgroup may read the view; 'self': yours")
      ->option_text("CGROUP|self");
  list("--configuration", lease.configurations,
       "Which tools' files the view holds (default: gitconfig); may be given again")
      ->option_text("NAME,...");
  command.add_flag("--exact-protocol", lease.exact_protocol,
                   "What the job stores for http is not given for https, nor the other way round");
  command
      .add_option("--credential-store", lease.credential_store,
                  "Have the job's git keep what it stores here and nowhere else: in mintfsd's memory, or a helper of "
                  "the machine")
      ->option_text("memory|cache|store|libsecret|manager|osxkeychain|PATH");
  command
      .add_option("--proxy-url", lease.proxy_url, "How the job reaches the proxy: one of the URLs that it is known by")
      ->option_text("URL");
  command.add_option("--seen-at", lease.seen_at, "Where the job sees the view, such as /run/git in a container")
      ->option_text("PATH");
  list("--label", lease.labels, "A note on the lease; may be given again")->option_text("KEY=VALUE");
  add_via(command, invocation);
}

void add_run(CLI::App& app, Invocation& invocation) {
  CLI::App& run = *app.add_subcommand("run", "Run a command whose git may use some connectors");
  run.footer(
      "The command stands behind '--'. Its lease is closed when it ends.\n"
      "Example:\n  mintfs run -c github --read-only -- git clone https://github.com/acme/app");
  add_lease_options(run, invocation);
  add_engines(run, invocation);
  run.add_flag("--keep", invocation.keep, "Leave the credentials that it stores to the lease that MINTFS_LEASE names");
  run.callback([&invocation] {
    if (invocation.command.empty())
      throw CLI::ValidationError("write the command behind '--', for example: mintfs run -c github -- git fetch", 0);
    invocation.act = [&](const ControlClient& client) {
      return cli::run(client, invocation.lease, invocation.via, invocation.engine, invocation.keep, invocation.command);
    };
  });
}

void add_lease(CLI::App& app, Invocation& invocation) {
  CLI::App& lease = *app.add_subcommand("lease", "Open, close and look at leases");
  lease.require_subcommand(1)->footer("Example:\n  mintfs lease open -c github --format env");

  CLI::App& open = *lease.add_subcommand("open", "Open a lease and say where its view is");
  add_lease_options(open, invocation);
  open.add_option("--uid", invocation.lease.uid,
                  "Whose lease it is (root and the user of mintfsd only): a number or a name")
      ->option_text("USER");
  open.add_option("--pid", invocation.lease.pid, "Close the lease when this process ends")->option_text("PID");
  add_every_format(open, invocation);
  open.footer(
      "text prints the view's path, env prints shell lines that point git at it, podman and docker print\n"
      "options for 'podman run' and 'docker run'.\n"
      "Example:\n  eval \"$(mintfs lease open -c github --ttl 1h --format env)\"\n"
      "  git fetch; mintfs lease close \"$MINTFS_LEASE\"");
  open.callback([&] {
    invocation.act = [&](const ControlClient& client) {
      return lease_open(client, invocation.lease, invocation.via, invocation.format);
    };
  });

  CLI::App& close = *lease.add_subcommand("close", "Close a lease: its tokens are dead at once");
  close.add_option("ID", invocation.id, "The lease")->required();
  close.add_flag("--keep", invocation.keep,
                 "Leave the credentials stored under it to the lease that MINTFS_LEASE names");
  close.footer("Example:\n  mintfs lease close \"$MINTFS_LEASE\"");
  close.callback([&] {
    invocation.act = [&](const ControlClient& client) { return lease_close(client, invocation.id, invocation.keep); };
  });

  CLI::App& list = *lease.add_subcommand("list", "List your leases (root: all)");
  add_text_or_json(list, invocation);
  list.footer("Example:\n  mintfs lease list --format json");
  list.callback(
      [&] { invocation.act = [&](const ControlClient& client) { return lease_list(client, invocation.format); }; });

  CLI::App& show = *lease.add_subcommand("show", "Show one lease");
  show.add_option("ID", invocation.id, "The lease")->required();
  add_every_format(show, invocation);
  add_via(show, invocation);
  show.footer(
      "env prints the shell lines of 'lease open' again, for a later step of the same job.\n"
      "Example:\n  mintfs lease show \"$MINTFS_LEASE\"");
  show.callback([&] {
    invocation.act = [&](const ControlClient& client) {
      return lease_show(client, invocation.id, invocation.via, invocation.format);
    };
  });
}

void add_connector(CLI::App& app, Invocation& invocation) {
  CLI::App& connector = *app.add_subcommand("connector", "List and check connectors");
  connector.require_subcommand(1)->footer("Example:\n  mintfs connector check github --repository acme/app");

  CLI::App& list = *connector.add_subcommand("list", "List the connectors there are");
  add_text_or_json(list, invocation);
  list.footer("Example:\n  mintfs connector list");
  list.callback(
      [&] { invocation.act = [&](const ControlClient& client) { return connector_list(client, invocation.format); }; });

  CLI::App& check = *connector.add_subcommand("check", "Ask a connector's server whether its credential is good");
  check.add_option("NAME", invocation.connector, "The connector")->required();
  check.add_option("--repository", invocation.repository, "A repository that is there")->option_text("OWNER/NAME");
  add_text_or_json(check, invocation);
  check.footer("Example:\n  mintfs connector check github --repository acme/app");
  check.callback([&] {
    invocation.act = [&](const ControlClient& client) {
      return connector_check(client, invocation.connector, invocation.repository, invocation.format);
    };
  });
}

void add_policy(CLI::App& app, Invocation& invocation) {
  CLI::App& policy = *app.add_subcommand("policy", "Ask what a job may do");
  policy.require_subcommand(1)->footer("Example:\n  mintfs policy test -c github acme/app push refs/heads/main");
  CLI::App& test = *policy.add_subcommand("test", "Say whether it is allowed, and which rule says so");
  PolicyOptions& options = invocation.policy;
  test.add_option("-c,--connector", options.connector, "The connector")->required()->option_text("NAME");
  test.add_option("--lease", options.lease, "A lease, which may narrow it")->option_text("ID");
  test.add_option("PATH", options.repository, "The repository, such as acme/app")->required();
  test.add_option("OPERATION", options.operation, "What is done")
      ->required()
      ->check(CLI::IsMember({"fetch", "push", "lfs-download", "lfs-upload"}))
      ->option_text("fetch|push|lfs-download|lfs-upload");
  test.add_option("REF", options.reference, "The reference that is pushed to, such as refs/heads/main");
  test.add_option("--change", options.change, "What becomes of the reference (default: update)")
      ->check(CLI::IsMember({"create", "update", "delete"}))
      ->option_text("create|update|delete");
  add_text_or_json(test, invocation);
  test.footer(
      "The exit status is 0 when it is allowed, 1 when it is refused.\n"
      "Example:\n  mintfs policy test -c github --lease \"$MINTFS_LEASE\" acme/app push refs/heads/bot/x");
  test.callback([&] {
    invocation.act = [&](const ControlClient& client) {
      return cli::policy_test(client, invocation.policy, invocation.format);
    };
  });
}

void add_config(CLI::App& app, Invocation& invocation) {
  CLI::App& config = *app.add_subcommand("config", "Check a configuration");
  config.require_subcommand(1)->footer("Example:\n  mintfs config check /etc/mintfs/mintfs.toml");
  CLI::App& check = *config.add_subcommand("check", "Read a configuration as mintfsd would");
  check.add_option("FILE", invocation.config, "The configuration")->required();
  add_text_or_json(check, invocation);
  check.footer("Example:\n  mintfs config check /etc/mintfs/mintfs.toml");
  check.callback([&] {
    invocation.act = [&](const ControlClient&) { return config_check(invocation.config, invocation.format); };
  });
}

void add_status_and_doctor(CLI::App& app, Invocation& invocation) {
  CLI::App& upgrade = *app.add_subcommand("upgrade", "Start mintfsd's program anew, without a gap (root or its user)");
  add_text_or_json(upgrade, invocation);
  upgrade.footer(
      "The new one takes the mount and the sockets over; the old one ends when its transfers have. If the\n"
      "new one fails, the old one serves on.\nExample:\n  mintfs upgrade");
  upgrade.callback(
      [&] { invocation.act = [&](const ControlClient& client) { return cli::upgrade(client, invocation.format); }; });

  CLI::App& status = *app.add_subcommand("status", "Show what mintfsd is doing");
  add_text_or_json(status, invocation);
  status.footer("Example:\n  mintfs status --format json");
  status.callback(
      [&] { invocation.act = [&](const ControlClient& client) { return cli::status(client, invocation.format); }; });

  CLI::App& doctor = *app.add_subcommand("doctor", "Find out what is wrong and say what to type");
  doctor.add_option("--config", invocation.config, "The configuration of mintfsd (default: /etc/mintfs/mintfs.toml)")
      ->option_text("FILE");
  add_text_or_json(doctor, invocation);
  doctor.footer("Example:\n  mintfs doctor --config /etc/mintfs/mintfs.toml");
  doctor.callback([&] {
    if (invocation.config.empty()) invocation.config = "/etc/mintfs/mintfs.toml";
    invocation.act = [&](const ControlClient& client) {
      return cli::doctor(client, invocation.config, invocation.format);
    };
  });
}

// "mintfs lease open": as far as the command line was understood.
std::string spelled(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? app.get_name() : app.get_name() + " " + spelled(*chosen.front());
}

std::string to_clause(const CLI::App& app, const CLI::ParseError& error, bool marked) {
  const auto words = app.remaining(true);
  const auto is_option = [](const std::string& word) { return word.starts_with('-'); };
  if (app.got_subcommand("run") && !marked && !words.empty() && std::none_of(words.begin(), words.end(), is_option))
    return "the command to run goes behind '--', as in: mintfs run -c NAME -- COMMAND";
  const bool unknown = error.get_exit_code() == static_cast<int>(CLI::ExitCodes::RequiredError) && !words.empty();
  return unknown ? "'" + words.front() + "' is not understood" : error.what();
}

// What stands behind the first "--" is the command of `run`, word by word: CLI11 would take words
// such as "[a]" or "{}" apart.
int parse(int argc, char** argv, Invocation& invocation) {
  std::vector<std::string> words(argv + 1, argv + argc);
  const auto marker = std::find(words.begin(), words.end(), "--");
  const bool marked = marker != words.end();
  if (marked) invocation.command.assign(marker + 1, words.end());
  words.erase(marker, words.end());

  CLI::App app("Git for jobs that hold no credential", "mintfs");
  app.set_version_flag("--version", "mintfs " MINTFS_VERSION);
  app.add_option("--socket", invocation.socket, "Where mintfsd listens (default: $MINTFS_SOCKET, else by user)")
      ->option_text("PATH");
  app.require_subcommand(1)->fallthrough()->footer("Example:\n  mintfs run -c github -- git fetch");
  add_run(app, invocation);
  add_lease(app, invocation);
  add_connector(app, invocation);
  add_policy(app, invocation);
  add_config(app, invocation);
  add_status_and_doctor(app, invocation);
  try {
    std::reverse(words.begin(), words.end());  // as CLI11 wants it
    app.parse(words);
    if (marked && !app.got_subcommand("run")) throw CLI::ValidationError("'--' belongs to 'mintfs run'", 0);
    return 0;
  } catch (const CLI::Success& asked) {
    app.exit(asked);
    return -1;
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "mintfs: %s; see '%s --help'\n", to_clause(app, error, marked).c_str(), spelled(app).c_str());
    return kUsage;
  }
}

int run_command(int argc, char** argv) {
  Invocation invocation;
  if (const int status = parse(argc, argv, invocation); status != 0) return status < 0 ? 0 : status;
  try {
    return invocation.act(ControlClient(invocation.socket.empty() ? client::default_socket() : invocation.socket));
  } catch (const UsageError& error) {
    std::fprintf(stderr, "mintfs: %s\n", error.what());
    return kUsage;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mintfs: %s\n", error.what());
    return kFailed;
  }
}

}  // namespace
}  // namespace mintfs::cli

int main(int argc, char** argv) { return mintfs::cli::run_command(argc, argv); }
