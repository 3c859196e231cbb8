#!/bin/bash
# lesson1_test.sh BENCH_LESSON1: which trainings it runs, that none is run twice, and the table that it makes of them. dogs_vs_cats
# is a stand-in here, which says the accuracy that the run's name and seed stand for.
set -u
lesson1=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/data" && touch "$work/weights"
cat >"$work/dogs_vs_cats" <<'END'
#!/bin/bash
echo "$*" >>"$CALLS"
case $1 in
  --version) echo "weft 0" ;;
  train)
    run=${@: -1}
    [ "${run##*/}" != "${BREAKS:-}" ] || { echo "dogs_vs_cats: it broke" >&2; exit 1; }
    mkdir -p "$run" && touch "$run/predictions.json"
    case $run in *scratch) echo "Accuracy 84.40% on 500 validation pictures" ;; *unfrozen*) echo "Accuracy 98.${run: -1}0% on 500" ;; *) echo "Accuracy 97.${run: -1}0% on 500" ;; esac ;;
  evaluate) touch "$2/predictions.json" && echo "500 pictures, loss 0.0803, accuracy 99.00%" ;;
  compare) printf '{\n "mended": 7,\n "broken": 2\n}\n' ;;
esac
END
chmod +x "$work/dogs_vs_cats"
export WEFT_BIN=$work CALLS=$work/calls
failed=0
check() { [ "$2" = "$3" ] || { echo "$1: \"$2\", not \"$3\""; failed=1; }; }
run() { "$lesson1" "$work/data" "$work/weights" "$work/out" "$@" >"$work/said" 2>&1; }

"$lesson1" "$work/data" >"$work/said" 2>&1
check "too few arguments" "$?" 2
run frozn
check "a stage there is not" "$? $(cat "$work/said")" "2 lesson1: there is no stage frozn; it is frozen, unfrozen or scratch"
: >"$CALLS"
BREAKS=unfrozen1 run
check "a training that breaks ends it, and says why" "$? $(tail -n 1 "$work/said")" "1 dogs_vs_cats: it broke"
check "trainings until then" "$(grep -c '^train' "$CALLS")" 5
: >"$CALLS"
run
check "status" "$?" 0
check "the rest alone was trained" "$(grep '^train' "$CALLS" | sed 's/.*--out .*\///' | tr '\n' ' ')" "unfrozen1 unfrozen2 scratch "
check "the frozen runs' table" "$(grep '^| [012m]' "$work/out/lesson1.md" | tr '\n' '/')" \
  "| 0 | 97.00 | 98.00 | 99.00 | 7 | 2 |/| 1 | 97.10 | 98.10 | 99.00 | 7 | 2 |/| 2 | 97.20 | 98.20 | 99.00 | 7 | 2 |/| mean | 97.10 | 98.10 | 99.00 | 21 | 6 |/"
check "from scratch" "$(grep -c '^From scratch: .*: 84.40% after [0-9]* s' "$work/out/lesson1.md")" 1
: >"$CALLS"
run
check "nothing is run twice" "$(grep -c '^train\|^evaluate' "$CALLS")" 0
exit $failed
