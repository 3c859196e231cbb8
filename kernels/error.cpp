#include "kernels/error.h"

namespace weft {

Error::Error(const std::string& message) : std::runtime_error(message) {}
Error::~Error() = default;

UsageError::UsageError(const std::string& message) : Error(message) {}
UsageError::~UsageError() = default;

void fail(const std::string& message) {
  throw Error(message);
}

void fail_at(const char* file, int line, const std::string& message) {
  throw Error(std::string(file) + ":" + std::to_string(line) + ": " + message);
}

}  // namespace weft
