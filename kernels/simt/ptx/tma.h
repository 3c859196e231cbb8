#pragma once
// Bulk copies on the SIMT machine: the body of kernels/ptx/tma.h.

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "kernels/simt/site.h"

namespace weft::simt {

struct TensorMap;

/// Where in the tensor a copy begins, innermost axis first, and, in im2col mode, the position within the filter.
struct BulkCoordinates {
  int rank = 0;
  int at[5] = {};
  bool im2col = false;
  int filter[3] = {};  ///< W outwards
};

/// A box into the shared memory of the blocks in `ranks` (multicast: a bit set, and where it is empty no block gets
/// anything; none given: this block's alone), at the same place in each, whose mbarriers at the place of `barrier` then
/// get its bytes.
void emulate_tensor_load(void* shared, const TensorMap& map, const BulkCoordinates& from, std::uint64_t* barrier,
                         std::optional<std::uint16_t> ranks, const char* what, Site site);
/// A box, or, in im2col mode, a column of pixels, out of this block's shared memory; `add`: added to what lies there.
void emulate_tensor_store(const TensorMap& map, const BulkCoordinates& to, const void* shared, bool add,
                          const char* what, Site site);
/// Plain bytes.
void emulate_bulk_load(void* shared, const void* global, unsigned bytes, std::uint64_t* barrier, Site site);
void emulate_bulk_store(void* global, const void* shared, unsigned bytes, Site site);

void emulate_bulk_commit_group(Site site);
/// Until at most `pending` of the thread's newest groups are under way; `read`: until their sources have been read.
void emulate_bulk_wait_group(unsigned pending, bool read, Site site);
/// Prefetches do nothing here that can be seen; what they are given must be right.
void emulate_map_prefetch(const TensorMap& map, Site site);
void emulate_tensor_prefetch(const TensorMap& map, const BulkCoordinates& from, const char* what, Site site);

}  // namespace weft::simt
