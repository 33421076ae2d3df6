#include "tests/support/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "gtest/gtest.h"

extern char** environ;

namespace wdelta::testing {
namespace {

// Starts a program with empty stdin and the given stdout and stderr. The parent's
// other descriptors are closed on exec. -1 after failing the test.
pid_t Spawn(const std::vector<std::string>& arguments, int out_fd, int err_fd) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out_fd, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err_fd, STDERR_FILENO);
  pid_t pid = -1;
  const int error = posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error == 0) return pid;
  ADD_FAILURE() << "cannot start " << arguments[0] << ": " << std::strerror(error);
  return -1;
}

int WaitFor(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// False at the end.
bool AppendFrom(int fd, std::string& text) {
  char buffer[4096];
  ssize_t got = 0;
  do {
    got = read(fd, buffer, sizeof(buffer));
  } while (got < 0 && errno == EINTR);
  if (got > 0) text.append(buffer, static_cast<size_t>(got));
  return got > 0;
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& arguments) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    ADD_FAILURE() << "pipe: " << std::strerror(errno);
    return;
  }
  output_fd_ = ends[0];
  pid_ = Spawn(arguments, ends[1], ends[1]);
  close(ends[1]);
}

ChildProcess::~ChildProcess() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    WaitFor(pid_);
  }
  if (output_fd_ >= 0) close(output_fd_);
}

bool ChildProcess::ReadSome() { return output_fd_ >= 0 && AppendFrom(output_fd_, output_); }

bool ChildProcess::ReadUntil(const std::string& text) {
  while (output_.find(text) == std::string::npos) {
    if (!ReadSome()) return false;
  }
  return true;
}

void ChildProcess::Signal(int number) const {
  if (pid_ > 0) kill(pid_, number);
}

int ChildProcess::Wait() {
  if (pid_ < 0) return -1;
  while (ReadSome()) {
  }
  const int code = WaitFor(pid_);
  pid_ = -1;
  return code;
}

CommandResult RunCommand(const std::vector<std::string>& arguments) {
  CommandResult result;
  int out[2], err[2];
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) {
    ADD_FAILURE() << "pipe: " << std::strerror(errno);
    return result;
  }
  const pid_t pid = Spawn(arguments, out[1], err[1]);
  close(out[1]);
  close(err[1]);
  pollfd fds[] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
  std::string* const texts[] = {&result.out, &result.err};
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    if (poll(fds, 2, -1) < 0) continue;  // EINTR
    for (int i = 0; i < 2; ++i) {
      if (fds[i].fd >= 0 && fds[i].revents != 0 && !AppendFrom(fds[i].fd, *texts[i])) {
        fds[i].fd = -1;
      }
    }
  }
  close(out[0]);
  close(err[0]);
  result.exit_code = pid > 0 ? WaitFor(pid) : -1;
  return result;
}

}  // namespace wdelta::testing
