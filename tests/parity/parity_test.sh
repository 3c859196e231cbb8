#!/bin/sh
# Runs parity on every file of the folder WEFT_PARITY, on cpu in both modes: parity_test.sh PARITY. Skipped (77) without one.
set -eu
if [ -z "${WEFT_PARITY:-}" ]; then
  echo "skipped: WEFT_PARITY names no folder of PyTorch's training steps"
  exit 77
fi
set -- "$1" "$WEFT_PARITY"/*.safetensors
if [ ! -e "$2" ]; then
  echo "WEFT_PARITY=$WEFT_PARITY holds no .safetensors file" >&2
  exit 1
fi
program=$1
shift
"$program" --device cpu --math strict "$@"
"$program" --device cpu --math fast "$@"
