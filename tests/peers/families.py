"""Random small models of Hugging Face transformers against `hymba logits`, option by option, and our exports against
transformers: logits must agree within 1e-4 of their largest magnitude.

  families.py HYMBA [--seeds N] [--only FAMILY]      HYMBA: the program or its wrapper

Needs torch, transformers and safetensors. Every model is made here from a seed; nothing is downloaded.
"""
import argparse
import os
import random
import subprocess
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

import hymba_reference  # noqa: E402

DTYPES = [torch.float32, torch.float32, torch.bfloat16, torch.float16]


def heads(r):
    kv = r.choice([1, 2, 3])
    return kv * r.choice([1, 2, 3]), kv


def rope(r, config):
    kind = r.choice([None, None, "llama3", "linear"])
    theta = r.choice([10000.0, 500000.0, 1e11])
    config["rope_theta"] = theta
    if kind:
        config["rope_scaling"] = {"rope_type": kind, "factor": r.choice([2.0, 8.0]), "rope_theta": theta}
        if kind == "llama3":
            config["rope_scaling"].update(low_freq_factor=1.0, high_freq_factor=r.choice([2.0, 4.0]),
                                          original_max_position_embeddings=r.choice([16, 64]))


def transformer(r):
    q, kv = heads(r)
    dim = r.choice([8, 16])
    config = dict(vocab_size=r.choice([50, 97]), hidden_size=r.choice([q * dim, 40]), num_hidden_layers=r.choice([1, 3]),
                  num_attention_heads=q, num_key_value_heads=kv, head_dim=dim, intermediate_size=r.choice([24, 56]),
                  max_position_embeddings=256, rms_norm_eps=r.choice([1e-6, 1e-3]), tie_word_embeddings=r.random() < 0.5)
    rope(r, config)
    return config


def llama(r):
    return dict(transformer(r), attention_bias=r.random() < 0.5, mlp_bias=r.random() < 0.5)


def mistral(r):
    return dict(transformer(r), sliding_window=r.choice([None, 1, 5, 300]))


def qwen2(r):
    config = transformer(r)
    config.update(use_sliding_window=r.random() < 0.5, sliding_window=6, max_window_layers=r.choice([0, 1, 9]))
    return config


def mamba(r):
    return dict(vocab_size=61, hidden_size=r.choice([24, 40]), state_size=r.choice([4, 16]), num_hidden_layers=r.choice([1, 3]),
                expand=r.choice([1, 2, 3]), conv_kernel=r.choice([2, 4]), use_bias=r.random() < 0.5,
                use_conv_bias=r.random() < 0.7, time_step_rank=r.choice(["auto", 3]), layer_norm_epsilon=r.choice([1e-5, 1e-3]),
                tie_word_embeddings=r.random() < 0.5)


def mamba2(r):
    groups = r.choice([1, 2, 4])
    n = groups * r.choice([1, 2])
    dim, expand = r.choice([4, 8]), r.choice([1, 2])
    return dict(vocab_size=61, hidden_size=n * dim // expand, num_heads=n, head_dim=dim, n_groups=groups, expand=expand,
                state_size=r.choice([8, 16]), num_hidden_layers=r.choice([1, 3]), conv_kernel=r.choice([2, 4]),
                chunk_size=r.choice([4, 16, 256]), use_bias=r.random() < 0.5, use_conv_bias=r.random() < 0.7,
                time_step_limit=r.choice([(0.0, float("inf")), (0.05, 0.4)]), tie_word_embeddings=r.random() < 0.5,
                layer_norm_epsilon=r.choice([1e-5, 1e-3]))


def jamba(r):
    q, kv = heads(r)
    period, eperiod = r.choice([1, 2, 3]), r.choice([1, 2, 3])
    return dict(vocab_size=61, hidden_size=q * 8, num_attention_heads=q, num_key_value_heads=kv, intermediate_size=28,
                num_hidden_layers=r.choice([2, 5]), attn_layer_period=period, attn_layer_offset=r.randrange(period),
                expert_layer_period=eperiod, expert_layer_offset=r.randrange(eperiod), num_experts=r.choice([1, 4]),
                num_experts_per_tok=r.choice([1, 2]), mamba_d_state=r.choice([4, 16]), mamba_d_conv=r.choice([2, 4]),
                mamba_expand=r.choice([1, 2]), mamba_dt_rank=r.choice(["auto", 5]), mamba_conv_bias=r.random() < 0.7,
                mamba_proj_bias=r.random() < 0.5, use_mamba_kernels=False, tie_word_embeddings=r.random() < 0.5, pad_token_id=0)


def falcon_h1(r):
    config = transformer(r)
    groups = r.choice([1, 2])
    n, dim = groups * r.choice([1, 2, 3]), r.choice([4, 8])
    norm = r.random() < 0.5
    config.update(mamba_d_ssm=n * dim, mamba_n_heads=n, mamba_d_head=r.choice(["auto", dim]), mamba_n_groups=groups,
                  mamba_d_state=r.choice([8, 16]), mamba_d_conv=r.choice([2, 4]), mamba_chunk_size=r.choice([8, 256]),
                  mamba_conv_bias=r.random() < 0.7, mamba_proj_bias=r.random() < 0.4, projectors_bias=r.random() < 0.4,
                  attention_bias=r.random() < 0.4, mlp_bias=r.random() < 0.4, mamba_rms_norm=norm,
                  mamba_norm_before_gate=r.random() < 0.5, time_step_limit=r.choice([(0.0, float("inf")), (0.05, 0.4)]))
    if r.random() < 0.7:
        f = lambda: round(r.uniform(0.3, 2.0), 3)
        config.update(embedding_multiplier=f(), lm_head_multiplier=f(), key_multiplier=f(), attention_in_multiplier=f(),
                      attention_out_multiplier=f(), ssm_in_multiplier=f(), ssm_out_multiplier=f(),
                      ssm_multipliers=[f() for _ in range(5)], mlp_multipliers=[f(), f()])
    return config


FAMILIES = {"hymba": None, "llama": llama, "mistral": mistral, "qwen2": qwen2, "mamba": mamba, "mamba2": mamba2, "jamba": jamba, "falcon_h1": falcon_h1}


def build(family, r):
    config = None
    while config is None:
        try:
            config = transformers.AutoConfig.for_model(family, **FAMILIES[family](r))
        except Exception as error:  # some releases refuse head counts that others take
            if "multiple of" not in str(error):
                raise
    config._attn_implementation = "eager"
    torch.manual_seed(r.randrange(1 << 30))
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, p in model.named_parameters():  # nothing may be 0 or 1 by default: every tensor must matter
            if name.endswith("A_log"):
                p.add_(0.2 * torch.randn_like(p))
            elif p.ndim == 1:
                p.add_(0.3 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) * (1.5 / p.shape[-1] ** 0.5))
    return model.eval()


def ours(program, folder, ids, work):
    save_file({"input_ids": ids}, work + "/ids.safetensors")
    done = subprocess.run([program, "logits", folder, "--input", work + "/ids.safetensors", "--out", work + "/out.safetensors"],
                          capture_output=True, text=True)
    if done.returncode != 0:
        return None, done.stderr.strip()
    return load_file(work + "/out.safetensors")["logits"], ""


def compare(expected, found, what):
    error = (expected - found).abs().max().item() / max(1.0, expected.abs().max().item())
    ok = error <= 1e-4
    if not ok:
        print("DIFFERS %s: %.2e" % (what, error))
    return ok


def check_hymba(program, seed, work):
    """transformers has no Hymba: hymba_reference.py has its forward pass."""
    r = random.Random("hymba %d" % seed)
    config = hymba_reference.random_config(r)
    weights = hymba_reference.random_weights(config, torch.Generator().manual_seed(seed))
    dtype, shards = r.choice(DTYPES), r.random() < 0.3
    weights = {name: tensor.to(dtype).float() for name, tensor in weights.items()}
    hymba_reference.save(config, weights, work, dtype, shards)
    ids = torch.randint(0, config["vocab_size"], (2, r.choice([1, 7, 45])), generator=torch.Generator().manual_seed(seed))
    found, message = ours(program, work, ids, work)
    what = "hymba seed %d %s %s" % (seed, dtype, config)
    if found is None:
        print("REFUSED %s: %s" % (what, message))
        return False
    return compare(hymba_reference.forward(config, weights, ids).float(), found, what)


def check_import(program, family, seed, work):
    if family == "hymba":
        return check_hymba(program, seed, work)
    r = random.Random("%s %d" % (family, seed))
    model = build(family, r)
    dtype = r.choice(DTYPES)
    for p in model.parameters():  # the values of a file of that type, computed in float32; model.to() would round RoPE's angles too
        p.data = p.data.to(dtype).float()
    folder = work + "/model"
    shards = r.choice(["10GB", "40KB"])
    ids = torch.randint(0, model.config.vocab_size, (2, r.choice([1, 7, 45])))
    with torch.no_grad():
        expected = model(ids, use_cache=False).logits.float()
    model.to(dtype).save_pretrained(folder, max_shard_size=shards, safe_serialization=True)
    found, message = ours(program, folder, ids, work)
    what = "%s seed %d %s %s %s" % (family, seed, dtype, shards, open(folder + "/config.json").read().replace("\n", " "))
    if found is None:
        print("REFUSED %s: %s" % (what, message))
        return False
    return compare(expected, found, what)


EXPORTS = [("row-06", []), ("row-06", ["attention.window=6"]), ("row-06", ["attention.bias=all", "ffn.bias=true", "tied=false"]),
           ("row-06", ["attention.rope_scaling=llama3", "attention.rope_factor=8", "attention.rope_original=16"]),
           ("row-01", ["ffn=none", "mamba.inner_norms=false"]), ("row-01", ["ffn=none", "mamba.inner_norms=false", "mamba.proj_bias=true"]),
           ("mamba2", []), ("mamba2", ["mamba2.groups=2", "mamba2.in_bias=true", "mamba2.out_bias=true"])]


def check_export(program, design, changes, work):
    """A few steps of training make the weights differ from their start; then both sides read the same folder."""
    what = "export %s %s" % (design, " ".join(changes))
    steps = [[program, "train", design, "--size", "smoke", "--out", work + "/run", "--train.tokens=4000"] +
             ["--" + c for c in changes], [program, "export", work + "/run", work + "/hf"]]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True)
        if done.returncode != 0:
            print("REFUSED %s: %s" % (what, done.stderr.strip()[-300:]))
            return False
    model = transformers.AutoModelForCausalLM.from_pretrained(work + "/hf", attn_implementation="eager").eval().float()
    ids = torch.randint(0, model.config.vocab_size, (2, 40))
    with torch.no_grad():
        expected = model(ids, use_cache=False).logits
    found, message = ours(program, work + "/run", ids, work)
    if found is None:
        print("REFUSED %s: %s" % (what, message))
        return False
    return compare(expected, found, what)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    program, bad, total = os.path.abspath(args.program), 0, 0
    for family in FAMILIES:
        if args.only not in ("", family):
            continue
        good = 0
        for seed in range(args.first, args.first + args.seeds):
            with tempfile.TemporaryDirectory() as work:
                good += check_import(program, family, seed, work)
        print("%s: %d of %d equal transformers %s" % (family, good, args.seeds, transformers.__version__), flush=True)
        bad, total = bad + args.seeds - good, total + args.seeds
    for design, changes in EXPORTS if args.only in ("", "export") else []:
        with tempfile.TemporaryDirectory() as work:
            good = check_export(program, design, changes, work)
        bad, total = bad + (not good), total + 1
    print("%d of %d equal" % (total - bad, total))
    return 1 if bad else 0


sys.exit(main())
