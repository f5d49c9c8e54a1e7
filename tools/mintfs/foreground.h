// Running a command in the foreground on behalf of the user, as env(1) and timeout(1) do.
#pragma once

#include <string>
#include <vector>

#include <signal.h>

namespace mintfs::cli {

// Holds back, while it lives, the signals from outside that would end this process.
class HeldSignals {
 public:
  HeldSignals();
  ~HeldSignals();
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;

  const sigset_t& held() const { return held_; }
  const sigset_t& before() const { return before_; }

 private:
  sigset_t held_;
  sigset_t before_;
};

// Runs `command` (found in PATH) in this process group, so that terminal and job control stay as
// they are, and waits for it. A signal that was sent to this process alone is passed on; one from
// the terminal reaches the command by itself. Returns the exit status a shell would give.
int run_in_foreground(const std::vector<std::string>& command, const std::vector<std::string>& environment,
                      const HeldSignals& signals);

}  // namespace mintfs::cli
