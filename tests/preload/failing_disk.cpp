// A disk that fails once: preloaded (LD_PRELOAD) into a program, this makes its n-th write, fsync or rename fail with
// ENOSPC. n comes from WEFT_FAIL_AT, counted from 1; with 0 nothing fails, and the number that was seen is printed to
// stderr at the end, so that a test knows how far to count.
//
// Only regular files count, and not the three standard streams: a program must be able to say what went wrong. Writes
// through C++ streams arrive here; those through stdio do not, since the C library does not call itself by name.

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace {

std::atomic<long> seen{0};

long fail_at() {
  static const char* text = std::getenv("WEFT_FAIL_AT");
  return text == nullptr ? -1 : std::atol(text);
}

/// Counts one operation; true where it is the one to fail.
bool fails() {
  const bool chosen = seen.fetch_add(1) + 1 == fail_at();
  if (chosen) errno = ENOSPC;
  return chosen;
}

bool counts(int file) {
  struct stat status = {};
  const int before = errno;
  const bool regular = file > STDERR_FILENO && fstat(file, &status) == 0 && S_ISREG(status.st_mode);
  errno = before;
  return regular;
}

bool counts(int folder, const char* path) {
  struct stat status = {};
  const int before = errno;
  const bool regular = fstatat(folder, path, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode);
  errno = before;
  return regular;
}

/// The function of this name that the program would have called without us.
template <class Function>
Function real(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

struct Report {
  ~Report() {
    if (fail_at() == 0) std::fprintf(stderr, "failing_disk: %ld writes, fsyncs and renames\n", seen.load());
  }
} report;

}  // namespace

extern "C" {

ssize_t write(int file, const void* data, size_t bytes) {
  static const auto next = real<ssize_t (*)(int, const void*, size_t)>("write");
  return counts(file) && fails() ? -1 : next(file, data, bytes);
}

ssize_t pwrite(int file, const void* data, size_t bytes, off_t at) {
  static const auto next = real<ssize_t (*)(int, const void*, size_t, off_t)>("pwrite");
  return counts(file) && fails() ? -1 : next(file, data, bytes, at);
}

ssize_t writev(int file, const iovec* pieces, int count) {
  static const auto next = real<ssize_t (*)(int, const iovec*, int)>("writev");
  return counts(file) && fails() ? -1 : next(file, pieces, count);
}

int fsync(int file) {
  static const auto next = real<int (*)(int)>("fsync");
  return counts(file) && fails() ? -1 : next(file);
}

int fdatasync(int file) {
  static const auto next = real<int (*)(int)>("fdatasync");
  return counts(file) && fails() ? -1 : next(file);
}

int rename(const char* from, const char* to) noexcept {
  static const auto next = real<int (*)(const char*, const char*)>("rename");
  return counts(AT_FDCWD, from) && fails() ? -1 : next(from, to);
}

int renameat(int from_folder, const char* from, int to_folder, const char* to) noexcept {
  static const auto next = real<int (*)(int, const char*, int, const char*)>("renameat");
  return counts(from_folder, from) && fails() ? -1 : next(from_folder, from, to_folder, to);
}

}  // extern "C"
