// Preloaded into a daemon: while the file exists that WDELTA_FULL_DISK_FLAG names, writes to
// files fail as on a full disk. Sockets, pipes and the log are not concerned.
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

bool IsRefused(int fd) {
  static const char* const flag = getenv("WDELTA_FULL_DISK_FLAG");
  struct stat info {};
  return flag != nullptr && fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
         access(flag, F_OK) == 0;
}

template <typename Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" ssize_t write(int fd, const void* data, size_t size) {
  static auto* const next = Next<ssize_t(int, const void*, size_t)>("write");
  if (!IsRefused(fd)) return next(fd, data, size);
  errno = ENOSPC;
  return -1;
}

extern "C" ssize_t pwrite64(int fd, const void* data, size_t size, off64_t offset) {
  static auto* const next = Next<ssize_t(int, const void*, size_t, off64_t)>("pwrite64");
  if (!IsRefused(fd)) return next(fd, data, size, offset);
  errno = ENOSPC;
  return -1;
}
