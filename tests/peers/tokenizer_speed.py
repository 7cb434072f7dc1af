"""`hymba tokenize` beside the Python packages on the same files: the ids must be equal, and MB/s stand side by side.

  tokenizer_speed.py HYMBA FILE.txt [FILE.txt ...] [--repeats N]

HYMBA: the program. Needs the packages tokenizers and sentencepiece. The tokenizer.json files are those of tests/tokenizers and
any named by --tokenizer (also *.model). One thread on both sides; the fastest of N runs each.
"""
import argparse
import glob
import json
import os
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
import sentencepiece  # noqa: E402
import tokenizers  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))


def theirs(path):
    if path.endswith(".model"):
        return sentencepiece.SentencePieceProcessor(model_file=path).encode
    tokenizer = tokenizers.Tokenizer.from_file(path)
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--tokenizer", action="append", default=[])
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    bad = 0
    print("| tokenizer | text | MB | ours MB/s | Python package MB/s | ratio |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for path in args.tokenizer + sorted(glob.glob(HERE + "/../tokenizers/*.json")):
        encode = theirs(path)
        for file in args.files:
            with open(file, encoding="utf-8", newline="") as f:
                text = f.read()
            with tempfile.TemporaryDirectory() as folder:
                out = subprocess.run([args.program, "tokenize", path, "--input", file, "--repeats", str(args.repeats), "--threads", "1",
                                      "--out", folder + "/ids.bin", "--format", "json"], check=True, stdout=subprocess.PIPE, text=True)
                ours = json.loads(out.stdout)
                width = {"uint16": 2, "uint32": 4}[json.load(open(folder + "/ids.bin.json"))["dtype"]]
                raw = open(folder + "/ids.bin", "rb").read()
            ids = [int.from_bytes(raw[i:i + width], "little") for i in range(0, len(raw), width)]
            best = float("inf")
            for _ in range(args.repeats):
                began = time.perf_counter()
                expected = encode(text)
                best = min(best, time.perf_counter() - began)
            rate = ours["bytes"] / best / 1e6
            equal = ids == list(expected)
            bad += not equal
            print("| %s | %s | %.2f | %.1f | %.1f | %.1f x%s |" % (
                os.path.basename(path), os.path.basename(file), ours["bytes"] / 1e6, ours["mb_per_s"], rate, ours["mb_per_s"] / rate,
                "" if equal else " IDS DIFFER"), flush=True)
    print("%d differences" % bad)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
