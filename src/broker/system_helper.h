// The machine's own credential helpers (gitcredentials(7)) behind git-credential-mintfs: what the daemon and that
// program must agree on. Pure.
//
// The job's program runs a helper to get and store, in the job's session; the daemon runs it to erase when the
// lease has ended. Neither uses a shell, and both give it the same few variables.
#pragma once

#include "broker/job_credential.h"

#include <array>
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace mintfs::broker {

// "cache", "store", "libsecret", "manager", "osxkeychain", or the absolute path of a program.
bool is_system_helper(std::string_view text);

// What a lease may say of where its job's git keeps what it stores: one of these, or "memory", that of the daemon.
bool is_credential_store(std::string_view text);
inline constexpr std::string_view kOwnMemory = "memory";
inline constexpr std::string_view kCredentialStores =
    "memory, cache, store, libsecret, manager, osxkeychain or an absolute path";

// Its arguments from argv[0] on; `operation` is "get", "store" or "erase". What a "cache" is given to store it
// forgets by itself after `lifetime`.
std::vector<std::string> helper_command(std::string_view helper, std::string_view operation,
                                        std::chrono::seconds lifetime = {});

// The variables of a session by which a helper finds what it keeps.
inline constexpr std::array<std::string_view, 14> kHelperVariables = {"HOME",
                                                                      "USER",
                                                                      "LOGNAME",
                                                                      "PATH",
                                                                      "XDG_DATA_HOME",
                                                                      "XDG_CACHE_HOME",
                                                                      "XDG_CONFIG_HOME",
                                                                      "XDG_RUNTIME_DIR",
                                                                      "DISPLAY",
                                                                      "WAYLAND_DISPLAY",
                                                                      "GNUPGHOME",
                                                                      "DBUS_SESSION_BUS_ADDRESS",
                                                                      "GCM_CREDENTIAL_STORE",
                                                                      "GCM_PLAINTEXT_STORE_PATH"};
bool is_helper_variable(std::string_view name);

// A description as a helper reads it, without what ends it.
std::string to_lines(const CredentialPattern& place);

}  // namespace mintfs::broker
