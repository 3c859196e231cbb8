#!/bin/sh
# clang_test.sh ROOT [CLANG]
# Kernels and the SIMT machine are C++ to clang too: the machine, and a file for each family of instructions that it
# emulates. They are only read, which takes seconds; preset clang compiles everything.
set -eu
root=$1
clang=${2:-}
if [ -z "$clang" ]; then
  echo "skipped: no clang++ here"
  exit 77
fi
# An older one, or one whose C++ library it does not understand, says nothing about these files.
if ! printf '#include <compare>\n#include <span>\n#include <string>\n#if __clang_major__ < 14\n#error old\n#endif\n' |
  "$clang" -fsyntax-only -std=c++20 -x c++ - 2>/dev/null; then
  echo "skipped: $clang is older than 14, or has no C++20 library"
  exit 77
fi
cd "$root"
# Each with what it stands for.
files="
kernels/simt/machine.cpp            launches
kernels/simt/block.cpp              fibers that wait for each other
kernels/simt/static_shared.cpp      shared memory
kernels/relu.cu                     16-byte packs
kernels/softmax.cu                  shuffles, barriers
kernels/gemm/8_cp_async.cu          cp.async
kernels/gemm/9_mma_sync.cu          ldmatrix, mma.sync
kernels/gemm/11_wgmma_tma.cu        wgmma, TMA, mbarrier
kernels/gemm/15_cluster_multicast.cu  clusters, multicast
kernels/gemm/16_tma_store.cu        stmatrix, TMA stores
"
failed=0
echo "$files" | {
  while read -r file stands_for; do
    [ -n "$file" ] || continue
    if ! "$clang" -fsyntax-only -x c++ -std=c++20 -Wall -Wextra -Wno-unknown-pragmas -Wno-missing-field-initializers \
      -Wno-unused-const-variable -I. "$file"; then
      echo "$file ($stands_for): clang refuses it"
      failed=1
    fi
  done
  exit $failed
}
"$clang" --version | head -n 1
