"""Hymba's forward pass in plain PyTorch, written from the released layout: the same tensors, names and masks, none of our
code. Random models of every option for families.py."""
import json
import math

import torch
import torch.nn.functional as F


def random_config(r):
    kv = r.choice([1, 2, 3])
    heads, dim, expand = kv * r.choice([1, 2]), r.choice([4, 8, 16]), r.choice([1, 2, 3])
    layers, hidden = r.choice([1, 4, 7]), heads * dim
    config = dict(model_type="hymba", vocab_size=r.choice([40, 77]), hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
                  num_key_value_heads=kv, intermediate_size=r.choice([0, 24, 56]), mamba_expand=expand, mamba_d_state=r.choice([4, 16]),
                  mamba_d_conv=r.choice([2, 4]), mamba_dt_rank=r.choice(["auto", 5]), mamba_conv_bias=r.random() < 0.7,
                  mamba_proj_bias=r.random() < 0.4, mamba_inner_layernorms=r.random() < 0.7, num_memory_tokens=r.choice([0, 1, 6]),
                  sliding_window=r.choice([None, 1, 5, 9, 500]), global_attn_idx=sorted(r.sample(range(layers), r.randrange(layers + 1))),
                  kv_reuse_group=None, kv_reuse_every_i_layer=-1, kq_norm=r.choice(["none", "rms", "perhead-rms", None]), rope=r.random() < 0.85,
                  rope_theta=r.choice([10000.0, 500000.0]), rope_type=r.choice(["default", None, "ntk", "dynamic_ntk"]),
                  max_position_embeddings=r.choice([64, 8192]), orig_max_position_embeddings=r.choice([16, 64, 2048]), rms_norm_eps=r.choice([1e-6, 1e-3]),
                  mlp_hidden_act=r.choice(["silu", "relu2"]), num_experts=1, tie_word_embeddings=r.random() < 0.6, pad_token_id=0, num_mamba=1,
                  memory_tokens_interspersed_every=0, v_head_dim=7, kq_head_dim=-1, attn_hidden_size=-1, torch_dtype="float32")
    if dim == 4 and config["rope_type"] == "ntk":
        config["orig_max_position_embeddings"] = 16
    config["max_position_embeddings"] = max(config["max_position_embeddings"], config["orig_max_position_embeddings"])
    kind = r.choice(["none", "groups", "every"])
    if kind == "groups":
        groups, i = [], r.randrange(2)
        while i < layers:
            size = r.choice([1, 2, 3])
            groups.append(list(range(i, min(layers, i + size))))
            i += size + r.randrange(2)
        config["kv_reuse_group"] = groups
    elif kind == "every":
        config["kv_reuse_every_i_layer"] = r.choice([1, 2, 3])
    return config


def producers(c):
    source = list(range(c["num_hidden_layers"]))
    if c["kv_reuse_group"] is not None:
        for group in c["kv_reuse_group"]:
            for i in group:
                source[i] = group[0]
    elif c["kv_reuse_every_i_layer"] > 0:
        source = [i - i % c["kv_reuse_every_i_layer"] for i in source]
    return source


def sizes(c):
    d, h, k = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"]
    inner = c["mamba_expand"] * d
    rank = math.ceil(d / 16) if c["mamba_dt_rank"] == "auto" else c["mamba_dt_rank"]
    return d, h, k, inner, d // h, inner // h, rank, c["mamba_d_state"]


def random_weights(c, generator):
    d, h, k, inner, dh, dv, rank, n = sizes(c)
    w = {}

    def matrix(name, *shape):
        w[name] = torch.randn(*shape, generator=generator) * (1.2 / shape[-1] ** 0.5)

    def vector(name, *shape, middle=1.0, spread=0.3):
        w[name] = middle + spread * torch.randn(*shape, generator=generator)

    matrix("model.embed_tokens.weight", c["vocab_size"], d)
    if c["num_memory_tokens"]:
        matrix("model.memory_tokens", c["num_memory_tokens"], d)
    for i, source in enumerate(producers(c)):
        p, m = "model.layers.%d." % i, "model.layers.%d.mamba." % i
        rows = d + 2 * inner + (k * (dh + dv) if source == i else 0)
        vector(p + "input_layernorm.weight", d)
        matrix(m + "in_proj.weight", rows, d)
        if c["mamba_proj_bias"]:
            vector(m + "in_proj.bias", rows, middle=0)
            vector(m + "out_proj.bias", d, middle=0)
        matrix(m + "conv1d.weight", inner, 1, c["mamba_d_conv"])
        if c["mamba_conv_bias"]:
            vector(m + "conv1d.bias", inner, middle=0)
        matrix(m + "x_proj.0.weight", rank + 2 * n, inner)
        matrix(m + "dt_proj.0.weight", inner, rank)
        vector(m + "dt_proj.0.bias", inner, middle=-2)
        vector(m + "A_log.0", inner, n, middle=0.5)
        vector(m + "D.0", inner)
        if c["mamba_inner_layernorms"]:
            vector(m + "dt_layernorm.weight", rank)
            vector(m + "B_layernorm.weight", n)
            vector(m + "C_layernorm.weight", n)
        vector(m + "pre_avg_layernorm1.weight", inner)
        vector(m + "pre_avg_layernorm2.weight", inner)
        matrix(m + "out_proj.weight", d, inner)
        if c["kq_norm"] in ("rms", "perhead-rms"):
            heads = lambda count: (dh,) if c["kq_norm"] == "rms" else (1, count, 1, dh)
            vector(m + "self_attn.q_norm.weight", *heads(h))
            vector(m + "self_attn.k_norm.weight", *heads(k))  # consumers own one that nothing reads
        if c["intermediate_size"]:
            vector(p + "pre_moe_layernorm.weight", d)
            if c["mlp_hidden_act"] == "silu":
                matrix(p + "moe.experts.0.gate_proj.weight", c["intermediate_size"], d)
            matrix(p + "moe.experts.0.up_proj.weight", c["intermediate_size"], d)
            matrix(p + "moe.experts.0.down_proj.weight", d, c["intermediate_size"])
    vector("model.final_layernorm.weight", d)
    if not c["tie_word_embeddings"]:
        matrix("lm_head.weight", c["vocab_size"], d)
    return w


def norm(x, weight, eps):
    return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps))


def rotate(c, x):
    """x [B, heads, S, dim]"""
    if not c["rope"]:
        return x
    dim, length, base = x.shape[-1], x.shape[2], c["rope_theta"]
    ratio = None
    if c["rope_type"] == "ntk":
        ratio = 2 * c["max_position_embeddings"] / c["orig_max_position_embeddings"] - 1
    elif c["rope_type"] == "dynamic_ntk" and length > c["orig_max_position_embeddings"]:
        ratio = 2 * length / c["orig_max_position_embeddings"] - 1
    if ratio:
        base = base * ratio ** (dim / (dim - 2))
    angle = torch.arange(length, dtype=torch.float64)[:, None] * base ** (-2 * torch.arange(dim // 2, dtype=torch.float64) / dim)
    cos, sin = torch.cat([angle.cos()] * 2, -1).to(x), torch.cat([angle.sin()] * 2, -1).to(x)
    low, high = x.chunk(2, -1)
    return x * cos + torch.cat([-high, low], -1) * sin


def attention(c, w, i, q, kv):
    d, h, k, inner, dh, dv, rank, n = sizes(c)
    s = q.shape[2]
    a, b = torch.arange(s)[:, None], torch.arange(s)[None, :]
    mask = b <= a
    if c["sliding_window"] is not None and i not in c["global_attn_idx"]:
        mask = mask & ((a - b <= c["sliding_window"]) | (b < c["num_memory_tokens"]))
    keys, values = (t.repeat_interleave(h // k, 1) for t in kv)
    scores = (q @ keys.transpose(2, 3)) / dh ** 0.5
    out = scores.masked_fill(~mask, float("-inf")).softmax(-1) @ values
    return out.transpose(1, 2).reshape(q.shape[0], s, inner)


def scan(c, w, m, u, gate):
    d, h, k, inner, dh, dv, rank, n = sizes(c)
    width = c["mamba_d_conv"]
    u = F.conv1d(F.pad(u.transpose(1, 2), (width - 1, 0)), w[m + "conv1d.weight"], w.get(m + "conv1d.bias"), groups=inner).transpose(1, 2)
    u = F.silu(u)
    dt, B, C = (u @ w[m + "x_proj.0.weight"].T).split([rank, n, n], -1)
    if c["mamba_inner_layernorms"]:
        dt, B, C = (norm(t, w[m + name + "_layernorm.weight"], c["rms_norm_eps"]) for t, name in ((dt, "dt"), (B, "B"), (C, "C")))
    dt = F.softplus(dt @ w[m + "dt_proj.0.weight"].T + w[m + "dt_proj.0.bias"])
    A, state, out = -w[m + "A_log.0"].exp(), torch.zeros(u.shape[0], inner, n, dtype=u.dtype), []
    for t in range(u.shape[1]):
        state = (dt[:, t, :, None] * A).exp() * state + (dt[:, t] * u[:, t])[:, :, None] * B[:, t, None, :]
        out.append((state * C[:, t, None, :]).sum(-1) + w[m + "D.0"] * u[:, t])
    return torch.stack(out, 1) * F.silu(gate)


def forward(c, w, ids):
    """Logits, in double precision."""
    w = {name: tensor.double() for name, tensor in w.items()}
    d, h, k, inner, dh, dv, rank, n = sizes(c)
    x, batch = w["model.embed_tokens.weight"][ids], ids.shape[0]
    if c["num_memory_tokens"]:
        x = torch.cat([w["model.memory_tokens"].expand(batch, -1, -1), x], 1)
    made = {}
    for i, source in enumerate(producers(c)):
        p, m = "model.layers.%d." % i, "model.layers.%d.mamba." % i
        rows = norm(x, w[p + "input_layernorm.weight"], c["rms_norm_eps"]) @ w[m + "in_proj.weight"].T
        if c["mamba_proj_bias"]:
            rows = rows + w[m + "in_proj.bias"]
        heads = lambda t, count: t.reshape(batch, -1, count, t.shape[-1] // count).transpose(1, 2)
        qk_norm = lambda t, name: t if c["kq_norm"] in ("none", None) else norm(t, w[m + "self_attn." + name + ".weight"], 1e-6)
        parts = rows.split([d, k * dh, k * dv, inner, inner] if source == i else [d, inner, inner], -1)
        q = rotate(c, qk_norm(heads(parts[0], h), "q_norm"))
        if source == i:
            made[i] = (rotate(c, qk_norm(heads(parts[1], k), "k_norm")), heads(parts[2], k))
        seen = attention(c, w, i, q, made[source])
        remembered = scan(c, w, m, parts[-2], parts[-1])
        fused = (norm(seen, w[m + "pre_avg_layernorm1.weight"], c["rms_norm_eps"]) + norm(remembered, w[m + "pre_avg_layernorm2.weight"], c["rms_norm_eps"])) / 2
        x = x + fused @ w[m + "out_proj.weight"].T + (w[m + "out_proj.bias"] if c["mamba_proj_bias"] else 0)
        if c["intermediate_size"]:
            y = norm(x, w[p + "pre_moe_layernorm.weight"], c["rms_norm_eps"])
            up = y @ w[p + "moe.experts.0.up_proj.weight"].T
            up = F.silu(y @ w[p + "moe.experts.0.gate_proj.weight"].T) * up if c["mlp_hidden_act"] == "silu" else F.relu(up) ** 2
            x = x + up @ w[p + "moe.experts.0.down_proj.weight"].T
    x = norm(x, w["model.final_layernorm.weight"], c["rms_norm_eps"])[:, c["num_memory_tokens"]:]
    return x @ w.get("lm_head.weight", w["model.embed_tokens.weight"]).T


def save(c, w, folder, dtype, shards):
    from safetensors.torch import save_file
    json.dump(c, open(folder + "/config.json", "w"))
    w = {name: tensor.to(dtype).contiguous() for name, tensor in w.items()}
    if not shards:
        return save_file(w, folder + "/model.safetensors")
    names, index = sorted(w), {}
    for part in range(2):
        file = "model-%05d-of-00002.safetensors" % (part + 1)
        save_file({n: w[n] for n in names[part::2]}, folder + "/" + file)
        index.update({n: file for n in names[part::2]})
    json.dump({"metadata": {}, "weight_map": index}, open(folder + "/model.safetensors.index.json", "w"))
