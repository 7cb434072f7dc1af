"""Time of the scan, window attention and full attention against the number of tokens, as an SVG on logarithmic axes.

  ninja -C build hymba_ops
  python3 tests/peers/scaling.py --library build/kernels/libhymba_ops.so --svg docs/kernels-scaling.svg

Needs torch 2.11.0 for Python. One thread; each time is the least CPU time of --rounds runs. The slope of a curve is
fitted over its last four points: 1 is a straight line through the origin, 2 is quadratic."""
import argparse
import math
import os
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--library", default="build/kernels/libhymba_ops.so")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--longest", type=int, default=65536)
parser.add_argument("--longest-full", type=int, default=32768, help="of full attention, whose time is quadratic")
parser.add_argument("--svg", default="docs/kernels-scaling.svg")
options = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = "1"

import torch  # noqa: E402

torch.set_num_threads(1)
torch.ops.load_library(os.path.abspath(options.library))
hymba = torch.ops.hymba

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 400, 64, 48, 16, 190


def scan(length):
    u, dt, z = torch.randn(1, length, 128), torch.randn(1, length, 128) - 1, torch.randn(1, length, 128)
    A, B, C = -torch.rand(128, 16), torch.randn(1, length, 16), torch.randn(1, length, 16)
    return [u, dt, A, B, C, None, z], lambda *x: hymba.selective_scan(*x)[0]


def attention(window, prefix):
    def make(length):
        q, k, v = torch.randn(1, length, 2, 64), torch.randn(1, length, 1, 64), torch.randn(1, length, 1, 64)
        return [q, k, v], lambda *x: hymba.window_attention(*x, window, prefix)
    return make


def seconds(make, length, backward):
    inputs, f = make(length)
    best = math.inf
    for _ in range(options.rounds):
        leaves = [x.requires_grad_(backward) if x is not None else x for x in inputs]
        begin = time.process_time()
        y = f(*leaves)
        if backward:
            torch.autograd.grad(y, [x for x in leaves if x is not None], torch.ones_like(y))
        best = min(best, time.process_time() - begin)
        if best > 5:
            break
    return best


def slope(points):
    points = [(math.log(x), math.log(y)) for x, y in points[-4:]]
    mx, my = (sum(c) / len(points) for c in zip(*points))
    return sum((x - mx) * (y - my) for x, y in points) / sum((x - mx) ** 2 for x, _ in points)


def draw(curves):
    lengths = sorted({x for points in curves.values() for x, _ in points})
    times = [1000 * y for points in curves.values() for _, y in points]
    low, high = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))
    across = lambda n: LEFT + (WIDTH - LEFT - RIGHT) * math.log(n / lengths[0]) / math.log(lengths[-1] / lengths[0])  # noqa: E731
    up = lambda ms: HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (math.log10(ms) - low) / (high - low)  # noqa: E731
    text = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>']
    for n in lengths:
        text.append(f'<path d="M{across(n):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/><text x="{across(n):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle" font-size="10">{n}</text>')
    for e in range(low, high + 1):
        text.append(f'<path d="M{LEFT} {up(10 ** e):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/><text x="{LEFT - 6}" y="{up(10 ** e) + 4:.1f}" text-anchor="end">{10 ** e:g} ms</text>')
    taken = []
    for (name, points), colour in zip(curves.items(), ("#1b6ca8", "#7fb2d6", "#b8541a", "#e3a77c", "#555")):
        line = " ".join(f"{across(n):.1f},{up(1000 * t):.1f}" for n, t in points)
        y = up(1000 * points[-1][1]) + 4
        while any(abs(y - other) < 14 for other in taken):
            y += 14 if y < HEIGHT - BOTTOM else -14
        taken.append(y)
        text.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        text += [f'<circle cx="{across(n):.1f}" cy="{up(1000 * t):.1f}" r="2.5" fill="{colour}"/>' for n, t in points]
        text.append(f'<text x="{WIDTH - RIGHT + 8}" y="{y:.1f}" fill="{colour}">{name}: slope {slope(points):.2f}</text>')
    text.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">tokens</text></svg>')
    with open(options.svg, "w") as file:
        file.write("\n".join(text) + "\n")


def main():
    lengths = [256 << i for i in range(9) if 256 << i <= options.longest]
    curves = {}
    for name, make, backward, longest in (("scan fwd", scan, False, options.longest), ("scan fwd+bwd", scan, True, options.longest),
                                          ("window fwd", attention(256, 16), False, options.longest),
                                          ("window fwd+bwd", attention(256, 16), True, options.longest),
                                          ("full fwd", attention(-1, 0), False, options.longest_full)):
        curves[name] = [(n, seconds(make, n, backward)) for n in lengths if n <= longest]
        print(f"| {name} | " + " | ".join(f"{1000 * t:.2f}" for _, t in curves[name]) + f" | {slope(curves[name]):.2f} |", flush=True)
    draw(curves)


if __name__ == "__main__":
    main()
