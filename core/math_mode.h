#pragma once
// How exactly a device multiplies: the programs' --math.

#include <string>
#include <string_view>
#include <vector>

namespace weft {

/// fast: each product as its type has it, and convolutions may go by Winograd. strict: no Winograd, whose transforms
/// add and subtract neighbours before they multiply. tf32: as fast, and where a product of float32 goes to tensor cores
/// its operands are rounded to TF32, 10 bits of fraction instead of 23 (PyTorch's torch.backends.cudnn.allow_tf32 and
/// torch.backends.cuda.matmul.allow_tf32); sums stay float32. Kernel devices alone (cuda, simt) have it.
enum class Math { fast, strict, tf32 };

/// "fast", "strict", "tf32".
std::string_view name_of(Math math);
std::vector<std::string> math_names();
/// Throws UsageError for any other name.
Math math_named(std::string_view name);

}  // namespace weft
