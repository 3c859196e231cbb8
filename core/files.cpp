#include "core/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <new>
#include <system_error>

#include "kernels/error.h"

namespace weft {

namespace {

std::string reason(int error) {
  return std::generic_category().message(error);
}

// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) {
      ::close(number_);
    }
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }
  bool valid() const { return number_ >= 0; }
  // 0, or errno: NFS and quotas may tell of a failed write only here.
  int close() {
    const int number = number_;
    number_ = -1;
    return ::close(number) == 0 ? 0 : errno;
  }

 private:
  int number_;
};

// Removes the file it names, unless told that it is wanted.
class Temporary {
 public:
  explicit Temporary(std::string path) : path_(std::move(path)) {}
  ~Temporary() {
    if (!kept_) {
      ::unlink(path_.c_str());
    }
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  void keep() { kept_ = true; }

 private:
  std::string path_;
  bool kept_ = false;
};

// 0, or errno.
int write_all(int file, std::string_view piece) {
  while (!piece.empty()) {
    const ssize_t written = ::write(file, piece.data(), piece.size());
    if (written < 0) {
      if (errno == EINTR) {
        continue;
      }
      return errno;
    }
    if (written == 0) {
      return EIO;
    }
    piece.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

int fsync_retrying(int file) {
  int result = 0;
  do {
    result = ::fsync(file);
  } while (result != 0 && errno == EINTR);
  return result == 0 ? 0 : errno;
}

// The rename is on disk once its folder is. Folders that cannot be opened for reading, and file systems that know no
// fsync of a folder, give no way to do it: that is no failure of the write.
void sync_folder(const std::filesystem::path& path) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  const Descriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) {
    return;
  }
  const int error = fsync_retrying(directory.number());
  if (error != 0 && error != EINVAL && error != ENOTSUP && error != EBADF) {
    fail(path.string() + " is written, but its folder could not be synced to disk: " + reason(error));
  }
}

}  // namespace

void write_file_atomically(const std::filesystem::path& path, std::span<const std::string_view> pieces) {
  const std::string temporary_path = path.string() + ".tmp." + std::to_string(::getpid());
  const auto failed = [&](int error) { fail("cannot write " + path.string() + ": " + reason(error)); };

  Descriptor file(::open(temporary_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (!file.valid()) {
    failed(errno);
  }
  Temporary temporary(temporary_path);
  for (const std::string_view piece : pieces) {
    if (const int error = write_all(file.number(), piece)) {
      failed(error);
    }
  }
  if (const int error = fsync_retrying(file.number())) {
    failed(error);
  }
  if (const int error = file.close()) {
    failed(error);
  }
  if (std::rename(temporary_path.c_str(), path.c_str()) != 0) {
    failed(errno);
  }
  temporary.keep();
  sync_folder(path);
}

void write_file_atomically(const std::filesystem::path& path, std::string_view contents) {
  write_file_atomically(path, std::span<const std::string_view>(&contents, 1));
}

std::string read_file(const std::filesystem::path& path) {
  const auto failed = [&](int error) { fail("cannot read " + path.string() + ": " + reason(error)); };
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) {
    failed(errno);
  }
  struct stat status = {};
  if (::fstat(file.number(), &status) != 0) {
    failed(errno);
  }
  if (S_ISDIR(status.st_mode)) {
    failed(EISDIR);
  }
  std::string contents;
  try {
    // One byte more than there are: the read that finds the end needs no second buffer.
    contents.resize(static_cast<std::size_t>(std::max<off_t>(status.st_size, 0)) + 1);
    for (std::size_t done = 0;;) {
      const ssize_t got = ::read(file.number(), contents.data() + done, contents.size() - done);
      if (got < 0) {
        if (errno == EINTR) {
          continue;
        }
        failed(errno);
      }
      if (got == 0) {
        contents.resize(done);
        return contents;
      }
      done += static_cast<std::size_t>(got);
      if (done == contents.size()) {
        contents.resize(done + std::max<std::size_t>(done, 4096));
      }
    }
  } catch (const std::bad_alloc&) {
    failed(ENOMEM);
  }
  return contents;
}

}  // namespace weft
