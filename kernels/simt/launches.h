#pragma once
// What launches ask of a multiprocessor, noted while somebody watches: how a table of rungs can name the dynamic shared
// memory, which a compiler does not know.

#include <compare>
#include <cstddef>
#include <string>
#include <vector>

namespace weft::simt {

/// One launch, told apart by its place and by what it asked for.
struct LaunchShape {
  std::string file;  ///< where its LaunchConfig is written
  int line = 0;
  unsigned threads = 0;         ///< of a block
  unsigned cluster_blocks = 0;  ///< of a cluster; 1 where there is none
  std::size_t dynamic_shared_bytes = 0;
  /// Of the `__shared__` variables that a block came by, at most: their sizes, without what aligns them. 0 where the
  /// program's symbol table cannot be read (shared_poison_available()).
  std::size_t static_shared_bytes = 0;

  auto operator<=>(const LaunchShape&) const = default;
};

/// Notes every launch on the machine from its construction to stop(). One at a time; nothing is noted without one.
class LaunchWatch {
 public:
  /// Throws weft::Error where another one is watching.
  LaunchWatch();
  ~LaunchWatch();
  LaunchWatch(const LaunchWatch&) = delete;
  LaunchWatch& operator=(const LaunchWatch&) = delete;

  /// Ends the watch. The different launches, in order of place; one that failed is among them.
  std::vector<LaunchShape> stop();

 private:
  bool stopped_ = false;
};

/// What the machine calls, one launch at a time: before a launch, from its threads where a block has come by `bytes` of
/// shared variables, and after it.
void note_launch_begins();
void note_static_shared(std::size_t bytes);
void note_launch(LaunchShape shape);
/// Whether anybody watches.
bool launches_watched();

}  // namespace weft::simt
