#!/bin/sh
# Every wrapped instruction has a test of its own, and is assembled: each function declared in kernels/ptx/*.h is called
# by name in a tests/kernels/ptx_*_test.cpp, and in tests/kernels/ptx_wrappers.cu.
#   ptx_tested_test.sh ROOT
set -u
root=$1
declared=$(sed -n 's/.*__device__ __forceinline__ [A-Za-z_:0-9]*[ *]* *\([a-z][a-z0-9_]*\)(.*/\1/p' "$root"/kernels/ptx/*.h | sort -u)
count=$(printf '%s\n' "$declared" | wc -l)
if [ "$count" -lt 80 ]; then
  echo "only $count functions found in kernels/ptx/*.h: this script cannot read them any more" >&2
  exit 1
fi
calls() {  # NAME FILE...
  name=$1
  shift
  grep -qE "(^|[^A-Za-z0-9_])$name(<[^(;]*>)?\(" "$@"
}
status=0
for name in $declared; do
  if ! calls "$name" "$root"/tests/kernels/ptx_*_test.cpp; then
    echo "no tests/kernels/ptx_*_test.cpp calls $name(), which kernels/ptx/ declares" >&2
    status=1
  fi
  # Every other wrapper calls this one.
  [ "$name" = shared_address ] && continue
  if ! calls "$name" "$root"/tests/kernels/ptx_wrappers.cu; then
    echo "tests/kernels/ptx_wrappers.cu does not call $name(), which kernels/ptx/ declares" >&2
    status=1
  fi
done
[ $status -eq 0 ] && echo "$count wrapped instructions, each called in a test of its own and in ptx_wrappers.cu"
exit $status
