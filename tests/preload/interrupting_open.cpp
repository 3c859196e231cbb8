// Ctrl-C at a named moment: preloaded (LD_PRELOAD) into a program, this sends it SIGINT just before it opens, for the
// n-th time, a file whose path contains WEFT_INTERRUPT_PATH; n comes from WEFT_INTERRUPT_AT, counted from 1. A training
// picture is opened to train or to compute features, a validation picture to validate: so a test can choose the phase,
// where a timer could only hope for it. Files opened before the program handles SIGINT do not count: it looks through
// the folders first, where Ctrl-C has nothing to save. WEFT_INTERRUPT_SIGNAL names another signal by its number: 9 ends
// the program with no chance to save anything. A file that is renamed counts too, by its new name, before it has it: so
// a test can end a program in the middle of what it writes.

#include <dlfcn.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

std::atomic<long> seen{0};

bool handled() {
  struct sigaction action = {};
  return sigaction(SIGINT, nullptr, &action) == 0 && action.sa_handler != SIG_DFL;
}

int signal_to_send() {
  const char* const number = std::getenv("WEFT_INTERRUPT_SIGNAL");
  return number == nullptr ? SIGINT : std::atoi(number);
}

void count(const char* path) {
  static const char* const part = std::getenv("WEFT_INTERRUPT_PATH");
  static const char* const at = std::getenv("WEFT_INTERRUPT_AT");
  if (part == nullptr || at == nullptr || std::strstr(path, part) == nullptr || !handled()) return;
  if (seen.fetch_add(1) + 1 == std::atol(at)) kill(getpid(), signal_to_send());
}

using Open = FILE* (*)(const char*, const char*);
using Rename = int (*)(const char*, const char*);

}  // namespace

extern "C" {

FILE* fopen(const char* path, const char* mode) {
  static const auto next = reinterpret_cast<Open>(dlsym(RTLD_NEXT, "fopen"));
  count(path);
  return next(path, mode);
}

FILE* fopen64(const char* path, const char* mode) {
  static const auto next = reinterpret_cast<Open>(dlsym(RTLD_NEXT, "fopen64"));
  count(path);
  return next(path, mode);
}

int rename(const char* from, const char* to) {
  static const auto next = reinterpret_cast<Rename>(dlsym(RTLD_NEXT, "rename"));
  count(to);
  return next(from, to);
}

}  // extern "C"
