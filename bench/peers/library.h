#pragma once
// A shared library opened at run time.

#include <string>
#include <vector>

namespace weft::bench {

class Library {
 public:
  /// Opens the first of `names` that is found: in the folders of WEFT_PEER_PATH (with colons between), beside the
  /// program, then where the loader looks. Throws Error that says what was tried and what the loader said.
  explicit Library(const std::vector<std::string>& names);
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library();

  /// A function by its name: `library.function<decltype(&cublasCreate_v2)>("cublasCreate_v2")`. Throws Error where
  /// there is none.
  template <class Pointer>
  Pointer function(const char* name) const {
    return reinterpret_cast<Pointer>(symbol(name));
  }
  const std::string& path() const { return path_; }

 private:
  void* symbol(const char* name) const;
  void* handle_ = nullptr;
  std::string path_;
};

}  // namespace weft::bench
