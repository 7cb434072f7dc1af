"""Tokens/s of a training step (forward, backward, AdamW) of `hymba train` beside PyTorch transformers, eager, on the same shapes:
Llama, Mamba, and attention with an SSM side by side (ours: Mamba-1 beside attention; theirs: Falcon-H1, Mamba-2).

  training.py HYMBA [--family llama,mamba,parallel] [--size 1M,5M,30M] [--rounds N] [--batch N] [--length N] [--threads N] [--json FILE]

HYMBA: the program. Needs torch and transformers; nothing is downloaded. Both train on the same bytes (vocabulary 259) in float32. Turns
alternate; a turn is a warm-up and then some steps, whose median counts; the best rate of the rounds is shown. `parallel` compares designs of
about equal parameters, not of equal layers: transformers has no block of attention beside Mamba-1. transformers' Mamba is its slow path,
the only one on a CPU.
"""
import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["HF_HUB_OFFLINE"] = "1"
import torch  # noqa: E402
import transformers  # noqa: E402

VOCAB = 259
SHAPES = {"1M": dict(hidden=128, layers=4, heads=4, ffn=352), "5M": dict(hidden=256, layers=6, heads=4, ffn=704),
          "30M": dict(hidden=512, layers=9, heads=8, ffn=1408)}
# Layers that make up about the same parameters where a block is another one.
MAMBA_LAYERS = {"1M": 7, "5M": 11, "30M": 17}
FALCON_LAYERS = {"1M": 3, "5M": 5, "30M": 7}
PARALLEL_FFN = {"1M": 264, "5M": 560, "30M": 1160}


def theirs(family, size):
    s = SHAPES[size]
    common = dict(vocab_size=VOCAB, hidden_size=s["hidden"], tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    if family == "llama":
        common.update(intermediate_size=s["ffn"], num_hidden_layers=s["layers"], num_attention_heads=s["heads"], num_key_value_heads=s["heads"])
        return transformers.AutoConfig.for_model("llama", **common)
    if family == "mamba":
        return transformers.AutoConfig.for_model("mamba", num_hidden_layers=MAMBA_LAYERS[size], **common)
    common.update(intermediate_size=2 * s["hidden"], num_hidden_layers=FALCON_LAYERS[size], num_attention_heads=s["heads"],
                  num_key_value_heads=max(1, s["heads"] // 4), head_dim=s["hidden"] // s["heads"], mamba_d_ssm=2 * s["hidden"],
                  mamba_n_heads=2 * s["hidden"] // 64, mamba_d_head=64, mamba_n_groups=1, mamba_d_state=16, mamba_d_conv=4, mamba_chunk_size=64)
    return transformers.AutoConfig.for_model("falcon_h1", **common)


def ours(family, size):
    s = SHAPES[size]
    keys = {"hidden": s["hidden"], "ffn.hidden": s["ffn"], "layers": s["layers"]}
    heads = {"attention.heads": s["heads"], "attention.kv_heads": s["heads"], "attention.head_dim": s["hidden"] // s["heads"]}
    if family == "llama":
        return "llama", {**keys, **heads}
    if family == "mamba":
        del keys["ffn.hidden"]
        return "mamba", {**keys, "layers": MAMBA_LAYERS[size], "mamba.state": 16}
    heads["attention.kv_heads"] = max(1, s["heads"] // 4)
    return "9", {**keys, **heads, "layers": FALCON_LAYERS[size], "ffn.hidden": PARALLEL_FFN[size], "mamba.state": 16,
                 "attention.window": 1024, "attention.v_dim": heads["attention.head_dim"]}


class Theirs:
    def __init__(self, args, family, size):
        torch.manual_seed(1)
        self.model = transformers.AutoModelForCausalLM.from_config(theirs(family, size))
        self.model.train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, fused=True)
        self.shape, self.parameters = (args.batch, args.length), sum(p.numel() for p in self.model.parameters())
        self.slow = 0

    def step(self):
        ids = torch.randint(3, VOCAB, self.shape)
        self.model(ids, labels=ids).loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def rate(self, steps):
        """The median of `steps` steps after a warm-up; of a step above 15 s the warm-up itself, once."""
        tokens, times = self.shape[0] * self.shape[1], []
        if self.slow:
            return self.slow
        for _ in range(steps + 1):
            began = time.perf_counter()
            self.step()
            times.append(time.perf_counter() - began)
            if times[0] > 15:
                self.slow = tokens / times[0]
                return self.slow
        return tokens / statistics.median_high(times[1:])


class Ours:
    def __init__(self, args, family, size, text):
        design, keys = ours(family, size)
        options = ["--%s=%s" % item for item in keys.items()]
        self.base = [args.program, "train", design, "--size", "quick", "--data", text, "--threads", str(args.threads), "--format", "json", "-q",
                     "--train.batch=%d" % args.batch, "--train.length=%d" % args.length, "--train.short_part=0",
                     "--train.short_length=0", "--train.optimizer=adamw", "--train.log_every=1", "--train.checkpoint_every=1000"] + options
        show = [args.program, "show", design, "--size", "quick", "--vocab=%d" % VOCAB] + options  # train takes the tokenizer's
        text = subprocess.run(show, check=True, stdout=subprocess.PIPE, text=True).stdout
        self.parameters = int(re.search(r"parameters .*\((\d+)\)", text).group(1))

    def rate(self, steps):
        with tempfile.TemporaryDirectory() as out:
            text = subprocess.run(self.base + ["--steps", str(steps + 2), "--out", out], check=True, stdout=subprocess.PIPE, text=True).stdout
            points = [json.loads(line) for line in text.splitlines()]
            return statistics.median_high(point["tokens_per_s"] for point in points[2:] if "tokens_per_s" in point)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--family", default="llama,mamba,parallel")
    parser.add_argument("--size", default="1M,5M,30M")
    for name, value in (("rounds", 2), ("batch", 8), ("length", 256), ("threads", 2), ("steps", 5)):
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--json", default="")
    args = parser.parse_args()
    args.program = os.path.abspath(args.program)
    torch.set_num_threads(args.threads)
    print("%d threads; torch %s, transformers %s" % (args.threads, torch.__version__, transformers.__version__))
    print("| family | size | parameters: ours | theirs | ours: tokens/s | transformers | ratio |\n| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        text = os.path.join(folder, "text.txt")
        random.seed(1)
        with open(text, "w") as f:
            for _ in range(4000):
                f.write(" ".join("".join(random.choices("etaoinshrdlu", k=random.randint(1, 9))) for _ in range(20)) + "\n")
        for size in args.size.split(","):
            for family in args.family.split(","):
                a, b = Ours(args, family, size, text), Theirs(args, family, size)
                best = [0, 0]
                for _ in range(args.rounds):
                    best = [max(best[0], a.rate(args.steps)), max(best[1], b.rate(args.steps))]
                print("| %s | %s | %.2f M | %.2f M | %.0f | %.0f | %.2f x |" % (
                    family, size, a.parameters / 1e6, b.parameters / 1e6, best[0], best[1], best[0] / best[1]), flush=True)
                if args.json:
                    with open(args.json, "a") as f:
                        f.write(json.dumps({"family": family, "size": size, "ours": best[0], "transformers": best[1],
                                            "parameters": [a.parameters, b.parameters]}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
