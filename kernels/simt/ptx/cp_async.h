#pragma once
// The emulated bodies of kernels/ptx/cp_async.h. Throw weft::Error for an address or a size that the ISA forbids.

#include <cstdint>

#include "kernels/simt/site.h"

namespace weft::simt {

void emulate_cp_async(void* shared, const void* global, int bytes, int source_bytes, const char* what, Site site);
void emulate_cp_async_commit_group(Site site);
void emulate_cp_async_wait_group(int pending, Site site);
void emulate_cp_async_wait_all(Site site);
void emulate_cp_async_mbarrier_arrive_noinc(std::uint64_t* mbarrier, Site site);

}  // namespace weft::simt
