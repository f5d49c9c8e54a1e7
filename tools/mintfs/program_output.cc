#include "mintfs/program_output.h"

#include "broker/exec_vector.h"

#include <array>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace mintfs::cli {
namespace {

std::string read_all(int descriptor) {
  std::string text;
  std::array<char, 4096> buffer;
  for (ssize_t count = 0; (count = ::read(descriptor, buffer.data(), buffer.size())) > 0;)
    text.append(buffer.data(), static_cast<std::size_t>(count));
  return text;
}

}  // namespace

std::string output_of(const std::vector<std::string>& command, const std::vector<std::string>& environment) {
  const auto arguments = broker::exec_vector(command);
  const auto variables = broker::exec_vector(environment);
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return {};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe[1], STDOUT_FILENO);
  for (const int other : {STDIN_FILENO, STDERR_FILENO})
    posix_spawn_file_actions_addopen(&actions, other, "/dev/null", O_RDWR, 0);
  pid_t child = 0;
  const int error = ::posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), variables.data());
  posix_spawn_file_actions_destroy(&actions);
  ::close(pipe[1]);
  std::string text = error == 0 ? read_all(pipe[0]) : std::string();
  ::close(pipe[0]);
  if (error == 0) ::waitpid(child, nullptr, 0);
  return text;
}

}  // namespace mintfs::cli
