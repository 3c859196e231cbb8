#pragma once
// The one exception that Weft throws, and the checks that throw it.

#include <stdexcept>
#include <string>

namespace weft {

/// Something went wrong that the caller can read about: one line that says what, where and what to do.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message);
  ~Error() override;
};

/// A bad command line rather than a failed run: programs end with status 2 instead of 1.
class UsageError : public Error {
 public:
  explicit UsageError(const std::string& message);
  ~UsageError() override;
};

/// Throws Error. For code that has more to say than WEFT_CHECK's literal; files format their own message.
[[noreturn]] void fail(const std::string& message);

/// Throws Error with the place in Weft's own source: for what should not happen whatever the user does.
[[noreturn]] void fail_at(const char* file, int line, const std::string& message);

}  // namespace weft

/// Weft's own invariants. Not for bad input, which deserves a sentence of its own.
#define WEFT_CHECK(condition, message)                                                                 \
  do {                                                                                                 \
    if (!(condition)) ::weft::fail_at(__FILE__, __LINE__, std::string(message) + " (" #condition ")"); \
  } while (false)
