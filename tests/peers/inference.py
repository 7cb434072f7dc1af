"""Prefill and decode tokens/s of `hymba throughput FOLDER` beside PyTorch transformers and llama.cpp on the same folder: Llama,
Mamba and Falcon-H1 (attention and Mamba-2 side by side), about 30M and 125M parameters, random weights.

  inference.py HYMBA [--family llama,mamba,falcon_h1] [--size 30M,125M] [--dtype fp32,bf16] [--batch 1,8] [--context 512,8192]
               [--rounds N] [--steps N] [--limit SECONDS] [--threads N] [--json FILE] [--transformers 0|1] [--llama-cpp SOURCES]

HYMBA: the program. Needs torch and transformers; nothing is downloaded. Turns alternate, the best of the rounds is shown. A
cell that the peer would take longer than --limit for (from its rate at a shorter context) is "not run". --json: a line a cell; cells that the file
holds already are shown from it, so an interrupted run goes on where it stopped (all 48 cells take about three hours).
transformers: generate(), prefill = the time until the first new token's logits, decode = that of `steps` more. A folder is first compared:
logits of both must agree within 3e-3 of the largest.
llama.cpp: llama_cpp_peer.py; its defaults (K and V in fp16, 2048 tokens a call, 512 at once), the same number of threads. Ours: K and V in 16 bits too
(fp16 beside float32 weights; with float32 ones llama.cpp decodes a fourth as fast).
"""
import argparse
import copy
import functools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time

os.environ["HF_HUB_OFFLINE"] = "1"
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LLAMA = {"30M": dict(vocab_size=8192, hidden_size=512, intermediate_size=1408, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=8),
         "125M": dict(vocab_size=32000, hidden_size=768, intermediate_size=2560, num_hidden_layers=12, num_attention_heads=12, num_key_value_heads=12)}
MAMBA = {"30M": dict(vocab_size=8192, hidden_size=512, num_hidden_layers=16), "125M": dict(vocab_size=32000, hidden_size=768, num_hidden_layers=28)}
FALCON = {"30M": dict(vocab_size=8192, hidden_size=512, intermediate_size=1024, num_hidden_layers=7, num_attention_heads=8, num_key_value_heads=2,
                      mamba_d_ssm=1024, mamba_n_heads=16, mamba_d_head=64),
          "125M": dict(vocab_size=32000, hidden_size=768, intermediate_size=1536, num_hidden_layers=11, num_attention_heads=12,
                       num_key_value_heads=4, mamba_d_ssm=1536, mamba_n_heads=24, mamba_d_head=64)}
for config in FALCON.values():
    config.update(head_dim=64, mamba_n_groups=1, mamba_d_state=64, mamba_d_conv=4, mamba_chunk_size=256)
FAMILIES = {"llama": LLAMA, "mamba": MAMBA, "falcon_h1": FALCON}


def build(family, size, dtype):
    config = transformers.AutoConfig.for_model(family, **FAMILIES[family][size], tie_word_embeddings=True, max_position_embeddings=16384,
                                               bos_token_id=1, eos_token_id=2, pad_token_id=0)
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for p in model.parameters():  # model.to() would round RoPE's angles too
        p.data = p.data.to(DTYPES[dtype]).float()
    return model


def check(program, model, folder):
    ids = torch.randint(3, model.config.vocab_size, (2, 40))
    save_file({"input_ids": ids}, folder + "/ids.st")
    subprocess.run([program, "logits", folder, "--input", folder + "/ids.st", "--out", folder + "/out.st", "-q"], check=True, stdout=subprocess.DEVNULL)
    with torch.no_grad():
        expected = model(ids).logits
    difference = ((load_file(folder + "/out.st")["logits"] - expected).abs().max() / expected.abs().max()).item()
    if difference > 3e-3:  # 28 layers in float32: either side is that far from double
        sys.exit("%s: logits differ by %.1e of the largest" % (folder, difference))


class Clock(transformers.LogitsProcessor):
    """Called once a new token, when its logits are there."""

    def __init__(self):
        self.times = []

    def __call__(self, input_ids, scores):
        self.times.append(time.perf_counter())
        return scores


def transformers_rates(model, batch, context, steps):
    ids = torch.randint(3, model.config.vocab_size, (batch, context))
    clock = Clock()
    with torch.no_grad():
        began = time.perf_counter()
        model.generate(ids, max_new_tokens=1 + steps, min_new_tokens=1 + steps, do_sample=False, eos_token_id=None,
                       attention_mask=torch.ones_like(ids), logits_processor=transformers.LogitsProcessorList([clock]))
    return batch * context / (clock.times[0] - began), batch * steps / (clock.times[-1] - clock.times[0])


class Peer:
    """A way to run a folder, with its rates so far, by which a cell that would take too long is left out."""

    def __init__(self, name, rates):
        self.name, self.rates, self.prefill_tok_s = name, rates, None

    def too_long(self, cell, limit):
        family, _, _, batch, context = cell
        # Attention's cost grows with the context besides.
        return self.prefill_tok_s and batch * context / self.prefill_tok_s * (2 if family == "llama" else 1) > limit


def ours(args, folder, dtype, batch, context, products="fp32"):
    fill = "real" if context * batch <= 8192 else "synthetic"
    out = subprocess.run([args.program, "throughput", folder, "--context", str(context), "--batch", str(batch), "--dtype", dtype, "--fill", fill,
                          "--products", products, "--kv-dtype", "fp16" if dtype == "fp32" else dtype,
                          "--rounds", "1", "--steps", str(args.steps), "--threads", str(args.threads), "--format", "json", "-q"],
                         check=True, stdout=subprocess.PIPE, text=True).stdout
    cell = json.loads(out.strip().splitlines()[0])
    if cell["batch"] != batch:
        sys.exit("no memory for batch %d" % batch)
    return cell["prefill_tok_s"], cell["decode_tok_s"]


def bf16_products():
    """Whether this processor has what `--products bf16` needs."""
    with open("/proc/cpuinfo") as f:
        return "avx512_bf16" in f.read()


def measure(args, folder, cell, peers):
    """Best prefill and decode of each over the rounds, in turns; None: not run."""
    family, size, dtype, batch, context = cell
    sides = [Peer("ours", lambda batch, context, steps: ours(args, folder, dtype, batch, context))]
    if dtype == "bf16" and bf16_products():
        sides.append(Peer("rounding", lambda batch, context, steps: ours(args, folder, dtype, batch, context, "bf16")))
    sides += peers
    best = {side.name: None if side.too_long(cell, args.limit) else [0, 0] for side in sides}
    for _ in range(args.rounds):
        for side in sides:
            if best[side.name] is not None:
                best[side.name] = [max(a, b) for a, b in zip(best[side.name], side.rates(batch, context, args.steps))]
    for peer in peers:
        if best[peer.name] is not None:
            peer.prefill_tok_s = min(peer.prefill_tok_s or best[peer.name][0], best[peer.name][0])
    return best


def header(names):
    columns = ["family", "size", "weights", "batch", "context", "ours: prefill", "--products bf16", "decode"]
    for name in names:
        columns += [name + ": prefill", "decode"]
    columns += ["ours / best: prefill", "decode"]
    return "| " + " | ".join(columns) + " |\n|" + " --- |" * 3 + " ---: |" * (len(columns) - 3)


def row(cell, best, names):
    """The ratios are to the faster peer that ran; with bf16 weights of ours that rounds what meets them, as the peers do."""
    rounding = best.get("rounding")
    text = "| %s | %s | %s | %d | %d | %.0f | %s | %.1f |" % (
        *cell, best["ours"][0], "%.0f" % rounding[0] if rounding else "", best["ours"][1])
    ran = [best[name] for name in names if best[name] is not None]
    for name in names:
        text += " not run | not run |" if best[name] is None else " %.0f | %.1f |" % tuple(best[name])
    if not ran:
        return text + " | |"
    return text + " %.2f x | %.2f x |" % ((rounding or best["ours"])[0] / max(peer[0] for peer in ran),
                                          best["ours"][1] / max(peer[1] for peer in ran))


def llama_cpp_peer(args, model, folder, family, dtype):
    import llama_cpp_peer as peer
    file = os.path.join(folder, "model.gguf")
    peer.convert(args.llama_cpp, folder, dtype, file)
    one = peer.Model(file, 1, 64, args.threads)
    ids = torch.randint(3, model.config.vocab_size, (40 if dtype == "fp32" else 1,))
    with torch.no_grad():
        expected = model(ids[None]).logits[0].float()
    difference = ((one.logits(ids) - expected).abs().max() / expected.abs().max()).item()
    one.close()
    # Its K and V are fp16; with 16-bit weights it rounds activations too, which random Mambas amplify from token to token.
    if difference > (1e-2 if dtype == "fp32" else 1e-1):
        sys.exit("%s of %s: llama.cpp's logits differ by %.1e of the largest" % (family, dtype, difference))
    state = {}

    def rates(batch, context, steps):
        if state.get("shape") != (batch, context):
            if state:
                state["model"].close()
            state.update(shape=(batch, context), model=peer.Model(file, batch, context + steps, args.threads))
        return state["model"].measure(context, steps)

    return Peer("llama.cpp", rates)


def finished(file):
    """The cells of a --json file with their rates."""
    if not file or not os.path.exists(file):
        return {}
    with open(file) as f:
        lines = [json.loads(line) for line in f]
    return {tuple(line.pop("cell")): line for line in lines}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    for name, value in (("family", "llama,mamba,falcon_h1"), ("size", "30M,125M"), ("dtype", "fp32,bf16"), ("batch", "1,8"), ("context", "512,8192")):
        parser.add_argument("--" + name, default=value)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--limit", type=float, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", default="")
    parser.add_argument("--llama-cpp", default="", help="the unpacked source distribution of llama-cpp-python, itself installed")
    parser.add_argument("--transformers", type=int, default=1, choices=(0, 1))
    args = parser.parse_args()
    args.program = os.path.abspath(args.program)
    torch.set_num_threads(args.threads)
    print("%s, %d threads; torch %s, transformers %s" % (platform.processor() or platform.machine(), args.threads, torch.__version__, transformers.__version__))
    names = ["transformers"] * args.transformers + ["llama.cpp"] * bool(args.llama_cpp)
    print(header(names))
    done = finished(args.json)
    for size in args.size.split(","):
        for family in args.family.split(","):
            for dtype in args.dtype.split(","):
                cells = [(family, size, dtype, batch, context) for context in sorted(map(int, args.context.split(",")))
                         for batch in map(int, args.batch.split(","))]
                if all(cell in done for cell in cells):
                    for cell in cells:
                        print(row(cell, done[cell], names), flush=True)
                    continue
                model = build(family, size, dtype)
                with tempfile.TemporaryDirectory() as folder:
                    copy.deepcopy(model).to(DTYPES[dtype]).save_pretrained(folder)
                    check(args.program, model, folder)
                    peers = []
                    if args.llama_cpp:
                        peers.append(llama_cpp_peer(args, model, folder, family, dtype))
                    model.to(DTYPES[dtype])
                    if args.transformers:
                        peers.insert(0, Peer("transformers", functools.partial(transformers_rates, model)))
                    for cell in cells:
                        best = done.get(cell) or measure(args, folder, cell, peers)
                        print(row(cell, best, names), flush=True)
                        if args.json and cell not in done:
                            with open(args.json, "a") as f:
                                f.write(json.dumps({"cell": cell, **best}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
