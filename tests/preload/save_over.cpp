// save_over FILE FILL: writes a safetensors file of a few tensors of that value over FILE. What failing_disk.cpp is let
// loose on.

#include <cstdio>
#include <string>

#include "core/safetensors.h"
#include "kernels/error.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  try {
    const float value = std::stof(argv[2]);
    weft::save_safetensors(argv[1],
                           {{"conv.weight", weft::Tensor::full({8, 3, 3, 3}, value)},
                            {"fc.weight", weft::Tensor::full({2, 8}, value)},
                            {"fc.bias", weft::Tensor::full({2}, value)}},
                           {{"format", "pt"}});
  } catch (const weft::Error& error) {
    std::fprintf(stderr, "save_over: %s\n", error.what());
    return 1;
  }
  return 0;
}
