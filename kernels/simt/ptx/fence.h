#pragma once
// Proxy fences, elect.sync, setmaxnreg and named barriers on the SIMT machine: the body of kernels/ptx/fence.h.
//
// What fence.proxy.async shows is told in proxy_view.h. setmaxnreg: every thread begins with what the launch allows it
// (65536 registers over the block's threads, 255 at most, in eights); what a warp gives back is the block's pool, out
// of which others take. More than there is in it is waited for, and where that can never end, it is reported.

#include "kernels/simt/ptx/mbarrier.h"
#include "kernels/simt/site.h"

namespace weft::simt {

void emulate_fence_proxy_async(Site site);
bool emulate_elect_one(Site site);
void emulate_set_max_registers(unsigned count, bool more, Site site);
void emulate_named_barrier(unsigned id, unsigned threads, bool wait, Site site);

}  // namespace weft::simt
