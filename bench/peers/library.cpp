#include "bench/peers/library.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "kernels/error.h"

namespace weft::bench {

Library::Library(const std::vector<std::string>& names) {
  std::vector<std::string> folders;
  const char* wanted = std::getenv("WEFT_PEER_PATH");
  std::stringstream list(wanted == nullptr ? "" : wanted);
  for (std::string folder; std::getline(list, folder, ':');)
    if (!folder.empty()) folders.push_back(folder + "/");
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) folders.push_back(program.parent_path().string() + "/");
  folders.emplace_back();  // where the loader looks
  std::string last;
  for (const std::string& name : names) {
    for (const std::string& folder : folders) {
      if (!folder.empty() && !std::filesystem::exists(folder + name, error)) continue;
      // Global: these libraries open parts of themselves later, which look for each other's symbols.
      handle_ = dlopen((folder + name).c_str(), RTLD_NOW | RTLD_GLOBAL);
      if (handle_ != nullptr) {
        path_ = folder + name;
        return;
      }
      last = dlerror();
    }
  }
  fail(fmt::format("{} could not be opened ({}); WEFT_PEER_PATH may name its folder", names.front(), last));
}

Library::~Library() {
  // Left open: what these libraries have registered with the CUDA runtime does not survive being unloaded.
}

void* Library::symbol(const char* name) const {
  void* const found = dlsym(handle_, name);
  if (found == nullptr) fail(fmt::format("{} has no function {}", path_, name));
  return found;
}

}  // namespace weft::bench
