#pragma once
// Gathering, from graph to graph: a convolution in front of a batch norm that takes statistics finds them itself, while
// its sums are in registers.
//
//   conv2d + batch_norm_train        conv2d_statistics + batch_norm_train_gathered
//
// What batch_norm_train was fused with (add, ReLU) stays with it, and so does the backward pass: the mean and the
// inverse deviation are saved as before. Of the convolution's output, E = N P Q K elements of w bytes, these move:
//
//                                                  read     written    bfloat16    float32
//   batch_norm_train that reads x twice            2 w E    w E        6 E         12 E
//   batch_norm_train that keeps x on the chip      w E      w E        4 E         8 E
//   batch_norm_train_gathered                      w E      w E        4 E         8 E
//   gathering, beyond conv2d                       E / 8    E / 8      E / 4       E / 4
//
// (8 bytes for each 64 pixels of a channel are written, and read when they are put together.) So it saves 29% of a
// batch norm's bytes where x is read twice, and costs 6% where x is kept: a tensor that fits the chip is left alone. On
// an H100 eight blocks keep 106,000 rows of 8 channels in bfloat16 between them: of a ResNet-50 with 128 pictures of
// 224 pixels the layers of 112 x 112 and 56 x 56 gather (1,605,632 and 401,408 rows), half of its batch norms'
// elements. Where there are no clusters (8.0, 8.9) a block keeps 6,000 rows, and every layer gathers.
//
// And only where the rung that would convolve anyway is one that gathers: conv2d's implicit ones, whether the op chose
// it or a table of what was measured (kernels/rung_table.h). The others write y first and read it again: no byte saved,
// or a faster convolution given up. But a 1x1 that would go to gemm, whose epilogue gathers nothing, goes to the
// implicit rung that does: the same product, in tiles of half the size at worst, and one reading of y less. Not so in
// float32, which is bound by its multiplications, and whose implicit rung keeps them waiting where gemm's does not.
// There the layers that gather are those that go to implicit-gemm: 3x3 of 64 channels, and those with a stride;
// Winograd's and the stem's rungs do not. Where TF32 is allowed, float32 goes to tensor cores, and gathers as bfloat16
// does.

#include "core/graph.h"
#include "core/rung_of.h"

namespace weft {

/// The graph with statistics gathered where by `rung_of` that saves bytes: the same leaves and marked outputs, the same
/// numbers within rounding. Names stay; the two ops' names tell.
Graph gathered(const Graph& graph, const RungOf& rung_of);

}  // namespace weft
