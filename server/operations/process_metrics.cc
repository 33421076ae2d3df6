#include "server/operations/process_metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <memory>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace wdelta {
namespace {

// Of the process, as near as it matters: taken before main.
const absl::Time kProcessStart = absl::Now();

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

struct CloseFolder {
  void operator()(DIR* folder) const { closedir(folder); }
};

// -1: not known.
int64_t CountOpenFds() {
  const std::unique_ptr<DIR, CloseFolder> folder(opendir("/proc/self/fd"));
  if (folder == nullptr) return -1;
  int64_t count = 0;
  while (const dirent* entry = readdir(folder.get())) count += entry->d_name[0] != '.';
  return count - 1;  // that of the folder itself
}

// -1: not known.
int64_t ReadResidentBytes() {
  std::ifstream file("/proc/self/statm");
  int64_t all_pages = 0;
  int64_t resident_pages = 0;
  if (!(file >> all_pages >> resident_pages)) return -1;
  return resident_pages * sysconf(_SC_PAGESIZE);
}

}  // namespace

absl::Status CollectProcess(MetricWriter& writer) {
  writer.Add(MetricId::kBuildInfo, 1, {{"version", WDELTA_VERSION}});
  writer.Add(MetricId::kStartTime, absl::ToDoubleSeconds(kProcessStart - absl::UnixEpoch()));
  rusage usage{};
  rlimit fd_limit{};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    writer.Add(MetricId::kCpuSeconds, Seconds(usage.ru_utime) + Seconds(usage.ru_stime));
  }
  if (getrlimit(RLIMIT_NOFILE, &fd_limit) == 0) {
    writer.Add(MetricId::kMaxFds, static_cast<double>(fd_limit.rlim_cur));
  }
  const int64_t open_fds = CountOpenFds();
  const int64_t resident_bytes = ReadResidentBytes();
  if (open_fds < 0 || resident_bytes < 0) return absl::InternalError("cannot read /proc/self");
  writer.Add(MetricId::kOpenFds, static_cast<double>(open_fds));
  writer.Add(MetricId::kResidentBytes, static_cast<double>(resident_bytes));
  return absl::OkStatus();
}

}  // namespace wdelta
