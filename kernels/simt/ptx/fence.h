#pragma once
// Proxy fences, elect.sync, setmaxnreg and named barriers on the SIMT machine: the body of kernels/ptx/fence.h.

#include "kernels/simt/ptx/mbarrier.h"
#include "kernels/simt/site.h"

namespace weft::simt {

void emulate_fence_proxy_async(Site site);
bool emulate_elect_one(Site site);
void emulate_set_max_registers(unsigned count, bool more, Site site);
void emulate_named_barrier(unsigned id, unsigned threads, bool wait, Site site);

}  // namespace weft::simt
