// Files that are never half written. tests/preload/ goes through every failure of write, fsync and rename.
#include "core/files.h"

#include <doctest/doctest.h>

#include <array>

#include "tests/temporary_folder.h"

using namespace weft;
using weft::test::error_of;
using weft::test::TemporaryFolder;

TEST_CASE("a file is replaced as a whole, and read back") {
  const TemporaryFolder folder;
  const std::string binary("a\0b\xff\n", 5);
  write_file_atomically(folder / "x", binary);
  CHECK(read_file(folder / "x") == binary);
  const std::array<std::string_view, 3> pieces = {"one ", "", "two"};
  write_file_atomically(folder / "x", pieces);
  CHECK(read_file(folder / "x") == "one two");
  write_file_atomically(folder / "x", "");
  CHECK(read_file(folder / "x").empty());
  CHECK(folder.names() == std::vector<std::string>{"x"});
}

TEST_CASE("a failed write says where and why, and leaves nothing") {
  const TemporaryFolder folder;
  write_file_atomically(folder / "file", "kept");
  CHECK(error_of([&] { write_file_atomically(folder / "file" / "below", "x"); }) ==
        "cannot write " + (folder / "file" / "below").string() + ": Not a directory");
  CHECK(
      error_of([&] { write_file_atomically(folder / "missing" / "x", "x"); }).ends_with(": No such file or directory"));
  std::filesystem::create_directory(folder / "taken");
  CHECK(error_of([&] { write_file_atomically(folder / "taken", "x"); }) ==
        "cannot write " + (folder / "taken").string() + ": Is a directory");
  CHECK(folder.names().size() == 2);
  CHECK(read_file(folder / "file") == "kept");
}

TEST_CASE("reading says what is wrong") {
  const TemporaryFolder folder;
  CHECK(error_of([&] { read_file(folder / "none"); }) ==
        "cannot read " + (folder / "none").string() + ": No such file or directory");
  CHECK(error_of([&] { read_file(folder.path()); }).ends_with(": Is a directory"));
  // A file whose size the system gives as 0 though it has contents.
  if (std::filesystem::exists("/proc/self/status")) {
    CHECK(read_file("/proc/self/status").find("Name:") == 0);
  }
}
