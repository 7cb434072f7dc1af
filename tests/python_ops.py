"""torch.ops.hymba.* against the definitions in plain torch: python3 tests/python_ops.py build/kernels/libhymba_ops.so

Exit code 77 (skipped) where there is no torch of the right version or no library; a word on stderr says which."""
import math
import os
import sys

WANTED = "2.11.0"


def skip(why):
    print("python_ops: skipped:", why, file=sys.stderr)
    sys.exit(77)


def scan(u, dt, A, B, C, D, z, bias):
    dt = torch.nn.functional.softplus(dt + bias)
    h = torch.zeros(u.shape[0], u.shape[2], A.shape[1], dtype=u.dtype)
    rows = []
    for t in range(u.shape[1]):
        h = torch.exp(dt[:, t, :, None] * A) * h + (dt[:, t] * u[:, t])[:, :, None] * B[:, t, None, :]
        rows.append((h * C[:, t, None, :]).sum(-1) + D * u[:, t])
    return torch.stack(rows, 1) * torch.nn.functional.silu(z), h


def conv(x, weight, bias):
    width = weight.shape[1]
    padded = torch.nn.functional.pad(x.transpose(1, 2), (width - 1, 0))
    y = torch.nn.functional.conv1d(padded, weight[:, None], bias, groups=x.shape[2])
    return torch.nn.functional.silu(y).transpose(1, 2)


def attention(q, k, v, window, prefix):
    length, group = q.shape[1], q.shape[2] // k.shape[2]
    i, j = torch.arange(length)[:, None], torch.arange(length)[None]
    visible = (j <= i) & ((i - j < window) | (j < prefix))
    k, v = k.repeat_interleave(group, 2), v.repeat_interleave(group, 2)
    scores = torch.einsum("blhp,bshp->bhls", q, k) / math.sqrt(q.shape[3])
    return torch.einsum("bhls,bshv->blhv", scores.masked_fill(~visible, -math.inf).softmax(-1), v)


def rms_norm(x, weight):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * weight


def swiglu(x):
    gate, up = x.chunk(2, -1)
    return torch.nn.functional.silu(gate) * up


def check(name, ours, plain, inputs):
    """Outputs and all gradients within 1e-4 of the definition in double."""
    single = [x.float().requires_grad_() for x in inputs]
    double = [x.double().requires_grad_() for x in inputs]
    y, expected = ours(*single), plain(*double)
    up = torch.randn(expected.shape, dtype=torch.double)
    pairs = [(y.detach(), expected.detach())]
    pairs += zip(torch.autograd.grad(y, single, up.float()), torch.autograd.grad(expected, double, up))
    for n, (a, e) in enumerate(pairs):
        error = (a.double() - e).abs().max().item() / max(1e-3, e.abs().max().item())
        assert error < 1e-4, f"{name}, tensor {n}: error {error}"
    print(f"{name}: {len(pairs)} tensors agree")


def main():
    torch.manual_seed(0)
    ops, r = torch.ops.hymba, lambda *s: torch.randn(*s, dtype=torch.double)
    B, L, E, N = 2, 37, 24, 5
    check("selective_scan", lambda *x: ops.selective_scan(*x)[0], lambda *x: scan(*x)[0],
          [r(B, L, E), r(B, L, E) - 1, -r(E, N).exp(), r(B, L, N), r(B, L, N), r(E), r(B, L, E), r(E)])
    check("causal_conv1d", lambda *x: ops.causal_conv1d(*x)[0], conv, [r(B, L, E), r(E, 4), r(E)])
    check("window_attention", lambda *x: ops.window_attention(*x, 9, 3), lambda *x: attention(*x, 9, 3),
          [r(B, L, 6, 8), r(B, L, 2, 8), r(B, L, 2, 16)])
    check("rms_norm", lambda *x: ops.rms_norm(*x, 1e-6), rms_norm, [r(B, L, E), r(E)])
    check("swiglu", ops.swiglu, swiglu, [r(B, L, 2 * E)])
    check("linear", ops.linear, lambda x, w, y: x @ w.T + y, [r(B, L, E), r(7, E), r(B, L, 7)])
    u, h = r(B, E).float(), torch.zeros(B, E, N)
    step = [u, r(B, E).float(), -r(E, N).exp().float(), r(B, N).float(), r(B, N).float()]
    y = ops.selective_state_update(h, *step)
    one, state = ops.selective_scan(*[x if x.shape == (E, N) else x[:, None] for x in step])
    assert torch.allclose(y, one[:, 0], atol=1e-5) and torch.allclose(h, state, atol=1e-5), "selective_state_update"
    try:
        ops.rms_norm(torch.zeros(2, 8), torch.zeros(7), 1e-6)
        raise AssertionError("a wrong shape was accepted")
    except RuntimeError as error:
        assert "[rms_norm] weight: expected float32 [8]" in str(error), error
    bound = ops.keep_freed_outputs(0)
    assert bound > 0 and ops.keep_freed_outputs(bound) == 0, "keep_freed_outputs"


if __name__ == "__main__":
    library = sys.argv[1] if len(sys.argv) > 1 else "build/kernels/libhymba_ops.so"
    if not os.path.exists(library):
        skip(f"{library} is not built (ninja -C build hymba_ops)")
    try:
        import torch
    except (ImportError, OSError) as error:
        skip(f"no Python torch: {error}")
    if torch.__version__.split("+")[0] != WANTED:
        skip(f"torch {torch.__version__} is here, the library is for {WANTED}")
    torch.ops.load_library(os.path.abspath(library))
    main()
