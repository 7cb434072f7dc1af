#!/usr/bin/env bash
# The checks and measurements that need a GPU, each with a time limit of its own; under 8 minutes in all.
#   tests/gpu.sh OUT [PART ...]      parts: doctor kernels device bench throughput train (default: all)
# BUILD: the build folder, or one that holds the binaries themselves (default: build). The environment says where the
# libraries are: LD_LIBRARY_PATH, HYMBA_CUDA_PLUGIN, HYMBA_LIBTORCH_CUDA (docs/cuda.md); HYMBA_HOME where ablations/ is.
# Writes OUT/PART.log (and .json, records/), goes on after a failure, and ends with OUT/summary.txt. Exit: failed parts.
set -u
OUT=${1:?"usage: tests/gpu.sh OUT [PART ...]"}
shift
PARTS=${*:-doctor kernels device bench throughput train}
BUILD=${BUILD:-build}
export HYMBA_HOME=${HYMBA_HOME:-$(cd "$(dirname "$0")/.." && pwd)}
mkdir -p "$OUT"
: > "$OUT/summary.txt"

binary() {  # NAME PATH_IN_BUILD
  if [ -x "$BUILD/$1" ]; then echo "$BUILD/$1"; else echo "$BUILD/$2"; fi
}
HYMBA=$(binary hymba src/cli/hymba)
say() { echo "$*" | tee -a "$OUT/summary.txt"; }

failed=0
part() {  # NAME SECONDS COMMAND...: into OUT/NAME.log
  local name=$1 limit=$2 begin status
  shift 2
  begin=$(date +%s)
  timeout -k 5 "$limit" "$@" > "$OUT/$name.log" 2>&1
  status=$?
  case $status in
    0) say "ok      $name ($(($(date +%s) - begin)) s)" ;;
    124 | 137) say "TIME    $name: stopped after $limit s"; failed=$((failed + 1)) ;;
    *) say "FAILED  $name: exit $status ($(($(date +%s) - begin)) s): $(grep -v '^$' "$OUT/$name.log" | tail -1 | cut -c1-300)"
       failed=$((failed + 1)) ;;
  esac
}

run_kernels() { HYMBA_TEST_DEVICE=cuda exec "$(binary test_kernels kernels/test_kernels)" --gtest_brief=1; }
run_device() { HYMBA_TEST_DEVICE=cuda exec "$(binary test_device tests/test_device)" --gtest_brief=1; }
run_bench() {
  exec "$(binary hymba_bench kernels/hymba_bench)" --device cuda --machine --format json --benchmark_out="$OUT/bench.json" \
    --benchmark_out_format=json
}
run_throughput() {
  exec "$HYMBA" throughput all --size paper --context 8000 --batch 128 --dtype bf16 --fill synthetic --device cuda \
    --rounds 3 --steps 16 --format json --out "$OUT/records"
}
# Tokens/s of a few steps at quick size, on both devices.
run_train() {
  local device row steps status=0
  for row in 1 4 6 9 13; do
    for device in cuda cpu; do
      steps=$([ $device = cuda ] && echo 40 || echo 8)
      if ! "$HYMBA" train $row --size quick --steps $steps --train.log_every=$((steps / 4)) --train.short_part=0 --train.short_length=0 --device $device \
          --out "$OUT/train/$row-$device" > "$OUT/train-$row-$device.log" 2>&1; then
        echo "row $row on $device: $(tail -1 "$OUT/train-$row-$device.log")"
        status=1
        continue
      fi
      echo "row $row on $device: $(grep -o 'tokens_per_s=[0-9]*' "$OUT/train-$row-$device.log" | tail -1)," \
        "$(grep -o 'loss=[0-9.]*' "$OUT/train-$row-$device.log" | tail -1)"
    done
  done
  return $status
}
export OUT HYMBA BUILD
export -f binary run_kernels run_device run_bench run_throughput run_train

for name in $PARTS; do
  case $name in
    doctor) part doctor 30 "$HYMBA" doctor ;;
    kernels) part kernels 90 bash -c run_kernels ;;
    device) part device 80 bash -c run_device ;;
    bench) part bench 80 bash -c run_bench ;;
    throughput) part throughput 120 bash -c run_throughput ;;
    train) part train 70 bash -c run_train ;;
    *) say "no part '$name'"; failed=$((failed + 1)) ;;
  esac
done
rm -rf "$OUT/train"
[ -f "$OUT/train.log" ] && say "$(cat "$OUT/train.log")"
exit $failed
