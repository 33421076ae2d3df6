// What the benchmarks of transfers run beside the daemon, and on.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace wdelta::bench {

// A child process, ended by the destructor. The benchmark ends when it cannot start.
class Process {
 public:
  explicit Process(std::vector<std::string> command);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // CPU time of all its threads so far.
  double CpuSeconds() const;
  // Since it started. 0 when the system does not tell.
  uint64_t PeakResidentBytes() const;

 private:
  pid_t pid_ = 0;
};

// All addresses that a server wrote to `file`, once it has. Ends the benchmark after a minute.
std::vector<std::string> AwaitAddresses(const std::filesystem::path& file);

// Serves Fetch.FetchFile on a free port, which it writes to `address_file`: as many bytes as are
// asked for, in pieces of 1 MiB from memory, and nothing else. Returns when the server ends.
int ServeBare(const std::string& address_file);

// Writes the checkpoints of a chain below `folder`, each a folder `0`, `1`, and so on, and returns
// them: bf16 weights N(0, 0.02), of which every model moves each by a relative 2e-2 of the one
// before. `bytes` of each, rounded down to whole tensors of 16 MiB, at least one.
std::vector<std::filesystem::path> WriteSyntheticChain(const std::filesystem::path& folder,
                                                       int models, uint64_t bytes);

}  // namespace wdelta::bench
