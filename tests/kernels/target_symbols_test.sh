#!/bin/sh
# target_symbols_test.sh LIBWEFT_SIMT LIBWEFT_CUDA
# Both libraries are compiled from the same files and meet in one program. A function or variable that both define under
# one name would be taken from either, silently: kernels of one target would call code of the other. So no project symbol
# may be in both; and the cuda library must have come from nvcc, the simt library not.
set -eu
if [ $# -lt 2 ] || [ -z "$2" ]; then
  echo "skipped: built without cuda"
  exit 77
fi
simt=$1
cuda=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Whatever the linker sees of namespace weft: functions, variables, tables, guards and statics of functions.
project_symbols() {
  nm --defined-only --extern-only --format=posix "$1" 2>/dev/null | awk 'NF > 1 {print $1}' | grep -E '^_Z[A-Z]*4weft' | sort -u
}
project_symbols "$simt" > "$work/simt"
project_symbols "$cuda" > "$work/cuda"
for target in simt cuda; do
  if ! [ -s "$work/$target" ]; then
    echo "the $target library defines no project symbol at all: this test looks in the wrong place"
    exit 1
  fi
done
comm -12 "$work/simt" "$work/cuda" > "$work/both"
if [ -s "$work/both" ]; then
  echo "defined in both targets (put them into namespace weft::WEFT_TARGET, or into a .cpp of kernels/):"
  c++filt < "$work/both"
  exit 1
fi

# nvcc leaves a fat binary in every object it makes.
objects() { readelf -SW "$1" | awk '/^File: / {name = $2; all[name] = 1} / \.nv_fatbin / {fat[name] = 1} END {for (n in all) print (n in fat) ? "nvcc" : "host", n}'; }
objects "$cuda" > "$work/cuda_objects"
objects "$simt" > "$work/simt_objects"
if grep '^host' "$work/cuda_objects"; then
  echo "the objects above, of the cuda library, were not compiled by nvcc"
  exit 1
fi
if ! grep -q '^nvcc' "$work/cuda_objects" || grep '^nvcc' "$work/simt_objects"; then
  echo "the cuda library has no object compiled by nvcc, or the simt library has those above"
  exit 1
fi
echo "$(wc -l < "$work/simt") simt and $(wc -l < "$work/cuda") cuda symbols, none in both; $(wc -l < "$work/cuda_objects") objects from nvcc"
