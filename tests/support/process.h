// Programs as children of a test.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace wdelta::testing {

// A running program. What it writes to stderr is read by whoever calls here; stdin
// is empty, stdout is stderr. One thread at a time. Killed by the destructor.
class ChildProcess {
 public:
  // `arguments[0]` is the program's file. Fails the test when it cannot be started.
  explicit ChildProcess(const std::vector<std::string>& arguments);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Reads until the output contains `text`; false when it ends without.
  bool ReadUntil(const std::string& text);
  void Signal(int number) const;
  // Reads the output to its end and waits. The exit code, or 128 + number of the
  // signal that killed it.
  int Wait();

  const std::string& output() const { return output_; }
  // -1 once it was waited for.
  pid_t pid() const { return pid_; }

 private:
  bool ReadSome();

  pid_t pid_ = -1;  // -1: not running
  int output_fd_ = -1;
  std::string output_;
};

struct CommandResult {
  int exit_code = 0;  // as ChildProcess::Wait
  std::string out;
  std::string err;
};

// Runs a program to its end.
CommandResult RunCommand(const std::vector<std::string>& arguments);

}  // namespace wdelta::testing
