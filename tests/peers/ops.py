"""The ops beside the best peers of torch, in one process, on the same tensors and threads, in turns.

  ninja -C build hymba_ops
  python3 tests/peers/ops.py --library build/kernels/libhymba_ops.so --threads 1 --out kernels.json

Needs torch 2.11.0 for Python, and g++ for torch.compile. A row is one shape, forward or forward + backward; its sides
take turns for --rounds rounds, and each side's time is its least: CPU time of the process with one thread (other
programs on the machine then cost nothing but cache), wall-clock time with more. The peers' results are compared with
ours before anything is timed. --limits takes the JSON of `hymba bench --machine --format json` for the share of the
machine's limit. Prints Markdown, writes JSON."""
import argparse
import json
import math
import os
import tempfile
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--library", default="build/kernels/libhymba_ops.so")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--rows", default="", help="part of a row's name; empty: all")
parser.add_argument("--limits", nargs=2, type=float, metavar=("GEXP", "GFLOP"), help="exp rate (G/s) and sgemm rate (GFLOP/s)")
parser.add_argument("--out", default="")
options = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(options.threads)
# Compiled FlexAttention has the number of threads in it, its cache does not: code for one thread, run with two, writes beyond its buffers.
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.join(tempfile.gettempdir(), f"torchinductor_{options.threads}_threads"))

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

torch.set_num_threads(options.threads)
torch._dynamo.config.recompile_limit = 64  # at 8, the default, the later shapes of the peer run uncompiled
torch.ops.load_library(os.path.abspath(options.library))
hymba = torch.ops.hymba
clock = time.process_time if options.threads == 1 else time.perf_counter

CHUNK = 16


def scan_chunks(u, dt, A, B, C, D, z):
    """The best peer found: time-major chunks of 16 steps, unrolled and compiled; the state is carried between calls."""
    h = u.new_zeros(u.shape[1], u.shape[2], A.shape[1])
    rows = []
    for t in range(0, u.shape[0], CHUNK):
        y, h = scan_chunk(h, u[t:t + CHUNK], dt[t:t + CHUNK], A, B[t:t + CHUNK], C[t:t + CHUNK])
        rows.append(y)
    return (torch.cat(rows) + D * u) * F.silu(z)


def one_chunk(h, u, dt, A, B, C):
    rows = []
    step = F.softplus(dt)
    for t in range(CHUNK):
        h = torch.exp(step[t, :, :, None] * A) * h + (step[t] * u[t])[:, :, None] * B[t, :, None, :]
        rows.append((h * C[t, :, None, :]).sum(-1))
    return torch.stack(rows), h


scan_chunk = torch.compile(one_chunk, dynamic=False)


def scan_row(B, D, L, N):
    inputs = [torch.randn(B, L, D), torch.randn(B, L, D) - 1, -torch.rand(D, N) - 0.1, torch.randn(B, L, N),
              torch.randn(B, L, N), torch.randn(D), torch.randn(B, L, D)]

    def ours(u, dt, A, Bm, C, Dv, z):
        return hymba.selective_scan(u, dt, A, Bm, C, Dv, z)[0]

    def peer(u, dt, A, Bm, C, Dv, z):
        major = [x.transpose(0, 1).contiguous() for x in (u, dt, Bm, C, z)]
        return scan_chunks(major[0], major[1], A, major[2], major[3], Dv, major[4]).transpose(0, 1)

    exps = B * L * D * (N + 2)
    return {"name": f"selective_scan {B}x{D}x{L}x{N}", "inputs": inputs, "ours": ours,
            "peers": {"torch.compile, chunks of 16": (peer, True)}, "exps": (exps, 2 * exps), "flops": (0, 0)}


def attention_row(L, H=25, K=5, P=64, V=128, window=1024, prefix=128):
    i, j = torch.arange(L)[:, None], torch.arange(L)[None]
    visible = (j <= i) & ((i - j < window) | (j < prefix))
    inputs = [torch.randn(1, L, H, P), torch.randn(1, L, K, P), torch.randn(1, L, K, V)]

    def ours(q, k, v):
        return hymba.window_attention(q, k, v, window, prefix)

    def padded(q, k, v):
        q, k = (F.pad(x, (0, V - P)).transpose(1, 2) for x in (q, k))
        k, v = (x.repeat_interleave(H // K, 1) for x in (k, v.transpose(1, 2)))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=visible, scale=1 / math.sqrt(P)).transpose(1, 2)

    from torch.nn.attention.flex_attention import create_block_mask, flex_attention
    blocks = create_block_mask(lambda b, h, q, k: (k <= q) & ((q - k < window) | (k < prefix)), None, None, L, L, device="cpu")
    compiled = torch.compile(flex_attention, dynamic=False)

    def flex(q, k, v):
        q, k, v = (x.transpose(1, 2).contiguous() for x in (q, k, v))
        return compiled(q, k, v, block_mask=blocks, scale=1 / math.sqrt(P), enable_gqa=True).transpose(1, 2)

    pairs = int(visible.sum()) * H
    return {"name": f"window_attention L={L}, window {window} + {prefix}", "inputs": inputs, "ours": ours,
            "peers": {"SDPA, mask, K padded": (padded, True), "FlexAttention, compiled": (flex, False)},
            "exps": (0, 0), "flops": (2 * pairs * (P + V), 2 * pairs * (4 * P + 3 * V))}


def runner(f, inputs, backward):
    if not backward:
        def run():
            with torch.no_grad():
                return f(*inputs)
        return run
    leaves = [x.clone().requires_grad_() for x in inputs]

    def run():
        y = f(*leaves)
        return torch.autograd.grad(y, leaves, torch.ones_like(y))
    return run


def measure(row, backward):
    sides = {"ours": runner(row["ours"], row["inputs"], backward)}
    for name, (f, differentiable) in row["peers"].items():
        if differentiable or not backward:
            sides[name] = runner(f, row["inputs"], backward)
    results = {name: run() for name, run in sides.items()}  # compiles, and is compared
    for name, result in results.items():
        for a, e in zip(*(r if backward else [r] for r in (result, results["ours"]))):
            error = (a - e).abs().max().item() / e.abs().max().item()
            assert error < 1e-3, f"{row['name']}: {name} differs by {error}"
    best = dict.fromkeys(sides, math.inf)
    for _ in range(options.rounds):
        for name, run in sides.items():
            begin = clock()
            run()
            best[name] = min(best[name], clock() - begin)
    return best


def main():
    torch.manual_seed(0)
    rows = [lambda: scan_row(8, 256, 256, 16), lambda: scan_row(4, 1024, 512, 16), lambda: scan_row(1, 2048, 2048, 16),
            lambda: attention_row(2048), lambda: attention_row(8192)]
    names = ["selective_scan 8x256", "selective_scan 4x1024", "selective_scan 1x2048", "window_attention L=2048", "window_attention L=8192"]
    written = []
    print("| row | side | ms | best peer / ours | % of limit |\n| --- | --- | ---: | ---: | ---: |")
    for name, make in zip(names, rows):
        if options.rows not in name:
            continue
        row = make()
        for backward in (False, True):
            if backward and "8192" in name:
                continue  # minutes a run for the peer
            best = measure(row, backward)
            kind = "forward + backward" if backward else "forward"
            peer = min(t for side, t in best.items() if side != "ours")
            for side, t in best.items():
                share = ratio = ""
                if side == "ours":
                    ratio = f"{peer / t:.1f}"
                    if options.limits:
                        gexp, gflop = options.limits
                        least = row["exps"][backward] / gexp / 1e9 + row["flops"][backward] / gflop / 1e9
                        share = f"{100 * least / t:.0f}"
                print(f"| {row['name']}, {kind} | {side} | {1000 * t:.2f} | {ratio} | {share} |", flush=True)
                written.append({"row": row["name"], "kind": kind, "side": side, "seconds": t, "threads": options.threads})
    if options.out:
        with open(options.out, "w") as file:
            json.dump(written, file, indent=1)


if __name__ == "__main__":
    main()
