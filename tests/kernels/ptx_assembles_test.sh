#!/bin/sh
# ptx_assembles_test.sh ROOT [NVCC]
# All PTX of kernels/ptx/ is read by nvcc and assembled by ptxas, for an architecture of each kind: the simt target never
# sees it, and most of it no kernel uses.
set -eu
root=$1
nvcc=${2:-}
if [ -z "$nvcc" ]; then
  echo "skipped: no nvcc here"
  exit 77
fi
cd "$root"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
known=$("$nvcc" --list-gpu-arch)
assembled=0
for architecture in 80 90a; do
  echo "$known" | grep -qx "compute_${architecture%a}" || continue
  if ! "$nvcc" -std=c++20 -O3 -I. --expt-relaxed-constexpr -Werror=all-warnings -arch=sm_$architecture -cubin \
    --keep --keep-dir="$work" -o "$work/$architecture.cubin" tests/kernels/ptx_wrappers.cu; then
    echo "the wrappers of kernels/ptx/ are refused for sm_$architecture"
    exit 1
  fi
  # Bodies that a condition has emptied would be assembled too.
  instruction=mma.sync
  [ "$architecture" = 90a ] && instruction=wgmma.mma_async
  if ! grep -q "$instruction" "$work/ptx_wrappers.ptx"; then
    echo "no $instruction in what was assembled for sm_$architecture: this test looks in the wrong place"
    exit 1
  fi
  echo "sm_$architecture: all assembled"
  assembled=1
done
if [ $assembled -eq 0 ]; then
  echo "skipped: $nvcc knows neither sm_80 nor sm_90a"
  exit 77
fi
