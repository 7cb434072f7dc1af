"""Tables of `hymba bench` in Markdown, one of each op: median milliseconds and the share of the machine's limit, for several instruction
sets and thread counts. Every row is checked against the double reference before it is timed.

  bench_table.py build/kernels/hymba_bench [--runs avx512:1,avx512:2,avx2:1,avx2:2] [--filter REGEX] [--json FILE]
"""
import argparse
import json
import subprocess
import sys

# Shapes of the paper and of larger models; the benchmark has smaller ones beside them.
ROWS = ("selective_scan/(B8_L256|B1_L2048|B1_L16384)|selective_state|window_attention/(B16|B1_)|ssd/(B8_L256_H8_P32|B1_)|"
        "causal_conv1d/(B8|B1_L2048)|conv_update|rms_norm|swiglu|rope/B1|decode_attention|gemv")


def run(program, isa, threads, rows):
    command = [program, "--isa", isa, "--threads", threads, "--filter", rows, "--format", "json"]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True).stdout
    return {b["name"].removesuffix("/manual_time"): b for b in json.loads(text)["benchmarks"]}


def cell(row):
    if row is None:
        return "not run"
    ms = 1e3 * row["median_s"]
    return ("%.0f (%.0f %%)" if ms >= 1000 else "%.3g (%.0f %%)") % (ms, row["percent_of_limit"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--runs", default="avx512:1,avx512:2,avx2:1,avx2:2")
    parser.add_argument("--filter", default=ROWS)
    parser.add_argument("--json", default="")
    args = parser.parse_args()
    runs = [tuple(r.split(":")) for r in args.runs.split(",")]
    results = [run(args.program, isa, threads, args.filter) for isa, threads in runs]
    names = list(dict.fromkeys(name for result in results for name in result))
    print("| row | bound by | " + " | ".join("%s, %s thread%s" % (isa, n, "" if n == "1" else "s") for isa, n in runs) + " |")
    print("| --- | --- |" + " ---: |" * len(runs))
    for name in names:
        rows = [result.get(name) for result in results]
        print("| %s | %s | %s |" % (name, next(r["label"] for r in rows if r), " | ".join(map(cell, rows))))
    if args.json:
        with open(args.json, "w") as f:
            json.dump([{"isa": isa, "threads": n, "rows": r} for (isa, n), r in zip(runs, results)], f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
