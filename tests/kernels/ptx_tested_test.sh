#!/bin/sh
# Every wrapped instruction has a test of its own: each function declared in kernels/ptx/*.h is called by name in a
# tests/kernels/ptx_*_test.cpp.
#   ptx_tested_test.sh ROOT
set -u
root=$1
declared=$(sed -n 's/.*__device__ __forceinline__ [A-Za-z_:0-9]*[ *]* *\([a-z][a-z0-9_]*\)(.*/\1/p' "$root"/kernels/ptx/*.h | sort -u)
count=$(printf '%s\n' "$declared" | wc -l)
if [ "$count" -lt 80 ]; then
  echo "only $count functions found in kernels/ptx/*.h: this script cannot read them any more" >&2
  exit 1
fi
status=0
for name in $declared; do
  grep -qE "(^|[^A-Za-z0-9_])$name(<[^(;]*>)?\(" "$root"/tests/kernels/ptx_*_test.cpp && continue
  echo "no tests/kernels/ptx_*_test.cpp calls $name(), which kernels/ptx/ declares" >&2
  status=1
done
[ $status -eq 0 ] && echo "$count wrapped instructions, each called in a test of its own"
exit $status
