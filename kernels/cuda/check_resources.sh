#!/usr/bin/env bash
# Compiles every cuda.cu for sm_90 and reads what ptxas says of each kernel: registers, static shared memory, spills.
# Fails where a kernel spills or keeps an array in local memory. Prints a Markdown table. Exit 77: there is no nvcc.
# Usage: check_resources.sh NVCC SOURCE_FOLDER BUILD_FOLDER [ARCH]
set -euo pipefail
nvcc="$1" source="$2" out="$3/resources" arch="${4:-sm_90}"
if [ ! -x "$nvcc" ]; then
  echo "skipped: no nvcc on this machine (looked for '$nvcc'); registers and spills are not checked"
  exit 77
fi
mkdir -p "$out"

# A log a source, made again only where something it may include is newer.
compile() {
  local cu="$1" log="$2"
  if [ -f "$log" ] && [ -z "$(find "$source/kernels" \( -name '*.cu' -o -name '*.cuh' -o -name 'tile.h' -o -name 'cuda.h' \
      -o -name 'kernel.h' -o -path '*/cuda/*.h' \) -newer "$log" -print -quit)" ]; then
    return
  fi
  "$nvcc" -std=c++20 -O3 -arch="$arch" -cubin -Xptxas -v -I"$source" -I"$source/src" -o /dev/null "$cu" >"$log.part" 2>&1 ||
    { cat "$log.part"; return 1; }
  mv "$log.part" "$log"
}

bad=0 kernels=0
echo "| op | kernel | registers | static shared, bytes | stack, bytes | spill stores, bytes |"
echo "| --- | --- | --- | --- | --- | --- |"
for cu in "$source"/kernels/*/cuda.cu; do
  op="$(basename "$(dirname "$cu")")"
  log="$out/$op.$arch.log"
  compile "$cu" "$log" || { echo "FAILED: $cu does not compile"; exit 1; }
  while IFS='|' read -r name stack spill registers shared; do
    [ -n "$name" ] || continue
    kernels=$((kernels + 1))
    echo "| $op | $name | $registers | $shared | $stack | $spill |"
    if [ "$stack" != 0 ] || [ "$spill" != 0 ]; then bad=$((bad + 1)); fi
  done < <(awk '
    /Compiling entry function/ { split($0, q, "\x27"); name = q[2] }
    /bytes stack frame/ { stack = $1; spill = $5 }
    /Used [0-9]+ registers/ {
      registers = ""; shared = 0
      for (i = 1; i <= NF; ++i) {
        if ($(i) == "registers," || $(i) == "registers") registers = $(i - 1)
        if ($(i) ~ /^smem/) shared = $(i - 2)
      }
      print name "|" stack "|" spill "|" registers "|" shared
    }' "$log" | c++filt | sed -E 's/^void //; s/\(anonymous namespace\):://g; s/hymba::kernels::[a-z_]*::?//g; s/\([^)]*\)\|/|/; s/\(Result\)0/out/; s/\(Result\)1/dq/; s/\(Result\)2/dk/; s/\(Result\)3/dv/; s/\(CacheType\)0/float32/; s/\(CacheType\)1/bfloat16/; s/\(CacheType\)2/float16/; s/\((int|bool)\)//g' | sort)
done
echo
echo "$kernels kernels for $arch, $bad with spills or local memory"
[ "$kernels" -gt 0 ] && [ "$bad" -eq 0 ]
