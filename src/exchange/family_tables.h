// Which tensor of a family's files is which parameter of ours (family.h explains the notation).
#pragma once

#include "exchange/family.h"

namespace hymba::family {

inline constexpr TensorRule kLlama[] = {
    {"", "embedding.weight", "model.embed_tokens.weight"},
    {"", "norm.weight", "model.norm.weight"},
    {"", "head.weight", "lm_head.weight"},
    {"attention", "norm.weight", "~input_layernorm.weight"},
    {"attention", "in_proj.weight", "~self_attn.q_proj.weight|q ~self_attn.k_proj.weight|k ~self_attn.v_proj.weight|v"},
    {"attention", "in_proj.bias", "~self_attn.q_proj.bias|q ~self_attn.k_proj.bias|k ~self_attn.v_proj.bias|v"},
    {"attention", "out_proj.weight", "~self_attn.o_proj.weight"},
    {"attention", "out_proj.bias", "~self_attn.o_proj.bias"},
    {"swiglu", "norm.weight", "~post_attention_layernorm.weight"},
    {"swiglu", "in_proj.weight", "~mlp.gate_proj.weight|I ~mlp.up_proj.weight|I"},
    {"swiglu", "in_proj.bias", "~mlp.gate_proj.bias|I ~mlp.up_proj.bias|I"},
    {"swiglu", "out_proj.weight", "~mlp.down_proj.weight"},
    {"swiglu", "out_proj.bias", "~mlp.down_proj.bias"},
};
inline constexpr const char* kLlamaIgnored[] = {"lm_head.weight", "~self_attn.rotary_emb.inv_freq"};

inline constexpr TensorRule kHymba[] = {
    {"", "embedding.weight", "model.embed_tokens.weight"},
    {"", "meta_tokens", "model.memory_tokens"},
    {"", "norm.weight", "model.final_layernorm.weight"},
    {"", "head.weight", "lm_head.weight"},
    {"parallel(attention,mamba)", "norm.weight", "~input_layernorm.weight"},
    {"parallel(attention,mamba)", "in_proj.weight", "~mamba.in_proj.weight"},
    {"parallel(attention,mamba)", "in_proj.bias", "~mamba.in_proj.bias"},
    {"parallel(attention,mamba)", "out_proj.weight", "~mamba.out_proj.weight"},
    {"parallel(attention,mamba)", "out_proj.bias", "~mamba.out_proj.bias"},
    {"parallel(attention,mamba)", "attention.q_norm.weight", "~mamba.self_attn.q_norm.weight", TensorView::kHeads},
    {"parallel(attention,mamba)", "attention.k_norm.weight", "~mamba.self_attn.k_norm.weight", TensorView::kHeads},
    {"parallel(attention,mamba)", "attention.branch_norm.weight", "~mamba.pre_avg_layernorm1.weight"},
    {"parallel(attention,mamba)", "mamba.branch_norm.weight", "~mamba.pre_avg_layernorm2.weight"},
    {"parallel(attention,mamba)", "mamba.conv.weight", "~mamba.conv1d.weight", TensorView::kConv},
    {"parallel(attention,mamba)", "mamba.conv.bias", "~mamba.conv1d.bias"},
    {"parallel(attention,mamba)", "mamba.x_proj.weight", "~mamba.x_proj.0.weight"},
    {"parallel(attention,mamba)", "mamba.dt_proj.weight", "~mamba.dt_proj.0.weight"},
    {"parallel(attention,mamba)", "mamba.dt_proj.bias", "~mamba.dt_proj.0.bias"},
    {"parallel(attention,mamba)", "mamba.A_log", "~mamba.A_log.0"},
    {"parallel(attention,mamba)", "mamba.D", "~mamba.D.0"},
    {"parallel(attention,mamba)", "mamba.dt_norm.weight", "~mamba.dt_layernorm.weight"},
    {"parallel(attention,mamba)", "mamba.B_norm.weight", "~mamba.B_layernorm.weight"},
    {"parallel(attention,mamba)", "mamba.C_norm.weight", "~mamba.C_layernorm.weight"},
    {"swiglu", "norm.weight", "~pre_moe_layernorm.weight"},
    {"swiglu", "in_proj.weight", "~moe.experts.0.gate_proj.weight|I ~moe.experts.0.up_proj.weight|I"},
    {"swiglu", "out_proj.weight", "~moe.experts.0.down_proj.weight"},
    {"relu2", "norm.weight", "~pre_moe_layernorm.weight"},
    {"relu2", "in_proj.weight", "~moe.experts.0.up_proj.weight"},
    {"relu2", "out_proj.weight", "~moe.experts.0.down_proj.weight"},
};
// A layer that uses another one's K and V owns a k_norm that nothing reads.
inline constexpr const char* kHymbaIgnored[] = {"lm_head.weight", "~mamba.self_attn.k_norm.weight"};

inline constexpr TensorRule kMamba[] = {
    {"", "embedding.weight", "backbone.embeddings.weight"},
    {"", "norm.weight", "backbone.norm_f.weight"},
    {"", "head.weight", "lm_head.weight"},
    {"mamba", "norm.weight", "~norm.weight"},
    {"mamba", "in_proj.weight", "~mixer.in_proj.weight"},
    {"mamba", "in_proj.bias", "~mixer.in_proj.bias"},
    {"mamba", "out_proj.weight", "~mixer.out_proj.weight"},
    {"mamba", "out_proj.bias", "~mixer.out_proj.bias"},
    {"mamba", "mamba.conv.weight", "~mixer.conv1d.weight", TensorView::kConv},
    {"mamba", "mamba.conv.bias", "~mixer.conv1d.bias"},
    {"mamba", "mamba.x_proj.weight", "~mixer.x_proj.weight"},
    {"mamba", "mamba.dt_proj.weight", "~mixer.dt_proj.weight"},
    {"mamba", "mamba.dt_proj.bias", "~mixer.dt_proj.bias"},
    {"mamba", "mamba.A_log", "~mixer.A_log"},
    {"mamba", "mamba.D", "~mixer.D"},
};
inline constexpr const char* kMambaIgnored[] = {"lm_head.weight"};

inline constexpr TensorRule kMamba2[] = {
    {"", "embedding.weight", "backbone.embeddings.weight"},
    {"", "norm.weight", "backbone.norm_f.weight"},
    {"", "head.weight", "lm_head.weight"},
    {"mamba2", "norm.weight", "~norm.weight"},
    {"mamba2", "in_proj.weight", "~mixer.in_proj.weight"},
    {"mamba2", "in_proj.bias", "~mixer.in_proj.bias"},
    {"mamba2", "out_proj.weight", "~mixer.out_proj.weight"},
    {"mamba2", "out_proj.bias", "~mixer.out_proj.bias"},
    {"mamba2", "mamba2.conv.weight", "~mixer.conv1d.weight", TensorView::kConv},
    {"mamba2", "mamba2.conv.bias", "~mixer.conv1d.bias"},
    {"mamba2", "mamba2.dt_bias", "~mixer.dt_bias"},
    {"mamba2", "mamba2.A_log", "~mixer.A_log"},
    {"mamba2", "mamba2.D", "~mixer.D"},
    {"mamba2", "mamba2.norm.weight", "~mixer.norm.weight"},
};

inline constexpr TensorRule kJamba[] = {
    {"", "embedding.weight", "model.embed_tokens.weight"},
    {"", "norm.weight", "model.final_layernorm.weight"},
    {"", "head.weight", "lm_head.weight"},
    {"attention", "norm.weight", "~input_layernorm.weight"},
    {"attention", "in_proj.weight", "~self_attn.q_proj.weight|q ~self_attn.k_proj.weight|k ~self_attn.v_proj.weight|v"},
    {"attention", "out_proj.weight", "~self_attn.o_proj.weight"},
    {"mamba", "norm.weight", "~input_layernorm.weight"},
    {"mamba", "in_proj.weight", "~mamba.in_proj.weight"},
    {"mamba", "in_proj.bias", "~mamba.in_proj.bias"},
    {"mamba", "out_proj.weight", "~mamba.out_proj.weight"},
    {"mamba", "out_proj.bias", "~mamba.out_proj.bias"},
    {"mamba", "mamba.conv.weight", "~mamba.conv1d.weight", TensorView::kConv},
    {"mamba", "mamba.conv.bias", "~mamba.conv1d.bias"},
    {"mamba", "mamba.x_proj.weight", "~mamba.x_proj.weight"},
    {"mamba", "mamba.dt_proj.weight", "~mamba.dt_proj.weight"},
    {"mamba", "mamba.dt_proj.bias", "~mamba.dt_proj.bias"},
    {"mamba", "mamba.A_log", "~mamba.A_log"},
    {"mamba", "mamba.D", "~mamba.D"},
    {"mamba", "mamba.dt_norm.weight", "~mamba.dt_layernorm.weight"},
    {"mamba", "mamba.B_norm.weight", "~mamba.b_layernorm.weight"},
    {"mamba", "mamba.C_norm.weight", "~mamba.c_layernorm.weight"},
    {"swiglu", "norm.weight", "~pre_ff_layernorm.weight"},
    {"swiglu", "in_proj.weight", "~feed_forward.gate_proj.weight|I ~feed_forward.up_proj.weight|I"},
    {"swiglu", "out_proj.weight", "~feed_forward.down_proj.weight"},
    {"moe", "norm.weight", "~pre_ff_layernorm.weight"},
    {"moe", "in_proj.weight",
     "~feed_forward.experts.{e}.gate_proj.weight|I ~feed_forward.experts.{e}.up_proj.weight|I "
     "~feed_forward.router.weight|*"},
    {"moe", "out_proj.weight", "~feed_forward.experts.{e}.down_proj.weight|I"},
};

inline constexpr TensorRule kFalconH1[] = {
    {"", "embedding.weight", "model.embed_tokens.weight"},
    {"", "norm.weight", "model.final_layernorm.weight"},
    {"", "head.weight", "lm_head.weight"},
    {"parallel(attention,mamba2)", "norm.weight", "~input_layernorm.weight"},
    {"parallel(attention,mamba2)", "in_proj.weight",
     "~self_attn.q_proj.weight|q ~self_attn.k_proj.weight|k ~self_attn.v_proj.weight|v ~mamba.in_proj.weight|*"},
    {"parallel(attention,mamba2)", "in_proj.bias",
     "~self_attn.q_proj.bias|q@attention ~self_attn.k_proj.bias|k@attention ~self_attn.v_proj.bias|v@attention "
     "~mamba.in_proj.bias|*@mamba2"},
    {"parallel(attention,mamba2)", "out_proj.weight", "~self_attn.o_proj.weight|o ~mamba.out_proj.weight|*"},
    {"parallel(attention,mamba2)", "out_proj.bias", "~self_attn.o_proj.bias|D@attention ~mamba.out_proj.bias|D@mamba2",
     TensorView::kFlat},
    {"parallel(attention,mamba2)", "mamba2.conv.weight", "~mamba.conv1d.weight", TensorView::kConv},
    {"parallel(attention,mamba2)", "mamba2.conv.bias", "~mamba.conv1d.bias"},
    {"parallel(attention,mamba2)", "mamba2.dt_bias", "~mamba.dt_bias"},
    {"parallel(attention,mamba2)", "mamba2.A_log", "~mamba.A_log"},
    {"parallel(attention,mamba2)", "mamba2.D", "~mamba.D"},
    {"parallel(attention,mamba2)", "mamba2.norm.weight", "~mamba.norm.weight"},
    {"swiglu", "norm.weight", "~pre_ff_layernorm.weight"},
    {"swiglu", "in_proj.weight", "~feed_forward.gate_proj.weight|I ~feed_forward.up_proj.weight|I"},
    {"swiglu", "in_proj.bias", "~feed_forward.gate_proj.bias|I ~feed_forward.up_proj.bias|I"},
    {"swiglu", "out_proj.weight", "~feed_forward.down_proj.weight"},
    {"swiglu", "out_proj.bias", "~feed_forward.down_proj.bias"},
};

}  // namespace hymba::family
