// Families whose layers attend and run an SSM in parallel: hymba, falcon_h1.
#include <algorithm>

#include "base/text.h"
#include "exchange/config_parts.h"
#include "exchange/family_configs.h"

namespace hymba::family {
namespace {

std::string hymba_groups(const HfConfig& c) {
  const auto layers = c.whole("num_hidden_layers", 1, kMostLayers);
  std::vector<std::string> groups;
  const auto add = [&](const std::vector<std::int64_t>& group) {
    if (group.size() > 1) groups.push_back(fmt::format("{}", fmt::join(group, "-")));
  };
  if (c.has("kv_reuse_group")) {
    const auto& list = c.json().at("kv_reuse_group");
    c.require_that(list.is_array(), "kv_reuse_group", "expected a list of lists of layers");
    for (const auto& group : list) {
      nlohmann::json one = nlohmann::json::object();
      one["kv_reuse_group"] = group;
      add(HfConfig(one, c.name()).wholes("kv_reuse_group", 0, layers - 1));
    }
  } else if (const auto n = c.whole_or("kv_reuse_every_i_layer", -1, -1); n > 1) {
    for (std::int64_t first = 0; first < layers; first += n) {
      std::vector<std::int64_t> group;
      for (std::int64_t i = first; i < std::min(layers, first + n); ++i) group.push_back(i);
      add(group);
    }
  }
  return join(groups, ", ");
}

void hymba_rope(const HfConfig& c, Writer& w) {
  if (!c.flag_or("rope", true)) return w.set("attention.rope", "false", "rope");
  w.set("attention.rope_theta", c.number_or("rope_theta", 10000), "rope_theta");
  const auto type = c.word_or("rope_type", "default");
  if (type == "default") return;
  c.require_that(type == "ntk" || type == "dynamic_ntk", "rope_type", "expected default, ntk or dynamic_ntk");
  w.set("attention.rope_scaling", type, "rope_type");
  w.set("attention.rope_original", c.whole("orig_max_position_embeddings"), "orig_max_position_embeddings");
  if (type == "ntk") w.set("attention.rope_max", c.whole("max_position_embeddings"), "max_position_embeddings");
}

// What the format describes but the reference does not define further, and sizes that it derives itself.
void hymba_unsupported(const HfConfig& c) {
  c.require_that(c.whole_or("num_experts", 1) == 1, "num_experts", "a Hymba with several experts is not supported");
  c.require_that(c.whole_or("num_mamba", 1) == 1, "num_mamba", "expected 1");
  c.require_that(c.whole_or("memory_tokens_interspersed_every", 0, 0) == 0, "memory_tokens_interspersed_every",
                 "meta tokens inside the text are not supported; expected 0");
  const auto hidden = c.whole("hidden_size"), heads = c.whole("num_attention_heads");
  const auto derived = [&](const std::string& key, std::int64_t value) {
    const auto n = c.whole_or(key, -1, -1);
    c.require_that(n == -1 || n == value, key, "expected -1 or the derived {}", value);
  };
  c.require_that(hidden % heads == 0, "num_attention_heads", "does not divide hidden_size = {}", hidden);
  derived("kq_head_dim", hidden / heads);
  derived("attn_hidden_size", hidden);
}

void hymba_attention(const HfConfig& c, Writer& w, std::int64_t inner) {
  const auto hidden = c.whole("hidden_size"), heads = c.whole("num_attention_heads");
  const auto kv = c.whole_or("num_key_value_heads", heads);
  c.require_that(heads % kv == 0, "num_key_value_heads", "does not divide num_attention_heads = {}", heads);
  c.require_that(inner % heads == 0, "num_attention_heads",
                 "does not divide the inner width {} (mamba_expand * hidden_size)", inner);
  w.set("attention.heads", heads, "num_attention_heads");
  w.set("attention.kv_heads", kv, "num_key_value_heads");
  w.set("attention.head_dim", hidden / heads, "hidden_size");
  w.set("attention.v_dim", inner / heads, "mamba_expand");
  if (c.has("sliding_window") && c.whole("sliding_window", -1) >= 0) {
    w.set("attention.window", c.whole("sliding_window", 0) + 1, "sliding_window (inclusive)");
    const auto full = c.wholes("global_attn_idx", 0, c.whole("num_hidden_layers") - 1);
    if (!full.empty()) w.set("attention.full_layers", fmt::format("{}", fmt::join(full, ",")), "global_attn_idx");
  }
  if (const auto groups = hymba_groups(c); !groups.empty()) {
    w.set("attention.kv_groups", groups, c.has("kv_reuse_group") ? "kv_reuse_group" : "kv_reuse_every_i_layer");
  }
  const auto norm = c.word_or("kq_norm", "none");
  c.require_that(norm == "none" || norm == "rms" || norm == "perhead-rms", "kq_norm",
                 "expected none, rms or perhead-rms");
  if (norm != "none") w.set("attention.qk_norm", norm == "rms" ? "rms" : "rms_per_head", "kq_norm");
  if (c.flag_or("mamba_proj_bias", false)) w.set("attention.bias", "all", "mamba_proj_bias");
  hymba_rope(c, w);
}

}  // namespace

std::vector<Assignment> hymba_design(const HfConfig& c) {
  hymba_unsupported(c);
  Writer w(c);
  set_model(c, w, "rms_norm_eps", 1e-6, false);
  set_padding(c, w);
  const auto expand = c.whole_or("mamba_expand", 2, 1, 1024);
  w.set("mixer", "parallel(attention,mamba)", "model_type");
  w.set("meta_tokens", c.whole_or("num_memory_tokens", 0, 0), "num_memory_tokens");
  hymba_attention(c, w, expand * c.whole("hidden_size"));
  w.set("mamba.proj_bias", c.flag_or("mamba_proj_bias", false), "mamba_proj_bias");
  w.set("mamba.expand", expand, "mamba_expand");
  w.set("mamba.state", c.whole_or("mamba_d_state", 16), "mamba_d_state");
  w.set("mamba.conv", c.whole_or("mamba_d_conv", 4, 1, 1024), "mamba_d_conv");
  w.set("mamba.dt_rank", dt_rank(c, "mamba_dt_rank"), "mamba_dt_rank");
  w.set("mamba.conv_bias", c.flag_or("mamba_conv_bias", true), "mamba_conv_bias");
  w.set("mamba.inner_norms", c.flag_or("mamba_inner_layernorms", true), "mamba_inner_layernorms");
  const auto width = c.whole_or("intermediate_size", 0, 0);
  const auto act = c.word_or("mlp_hidden_act", "silu");
  c.require_that(act == "silu" || act == "relu2", "mlp_hidden_act", "expected silu or relu2");
  if (width == 0) {
    w.set("ffn", "none", "intermediate_size");
  } else {
    w.set("ffn", act == "silu" ? "swiglu" : "relu2", "mlp_hidden_act");
    w.set("ffn.hidden", width, "intermediate_size");
  }
  return w.done();
}

namespace {

void falcon_mamba(const HfConfig& c, Writer& w) {
  const auto hidden = c.whole("hidden_size");
  const auto inner = c.has("mamba_d_ssm") ? c.whole("mamba_d_ssm") : hidden * c.whole_or("mamba_expand", 2, 1, 1024);
  const auto heads = c.whole_or("mamba_n_heads", 128);
  const bool automatic = !c.has("mamba_d_head") || c.json().at("mamba_d_head") == "auto";
  c.require_that(inner % heads == 0, "mamba_n_heads", "does not divide mamba_d_ssm = {}", inner);
  const auto head_dim = automatic ? inner / heads : c.whole("mamba_d_head");
  c.require_that(heads * head_dim == inner, "mamba_d_head", "mamba_n_heads * mamba_d_head = {}, but mamba_d_ssm = {}",
                 heads * head_dim, inner);
  w.set("mamba2.inner", inner, "mamba_d_ssm");
  w.set("mamba2.head_dim", head_dim, "mamba_d_head");
  w.set("mamba2.groups", c.whole_or("mamba_n_groups", 1), "mamba_n_groups");
  w.set("mamba2.state", c.whole_or("mamba_d_state", 256), "mamba_d_state");
  w.set("mamba2.conv", c.whole_or("mamba_d_conv", 4, 1, 1024), "mamba_d_conv");
  w.set("mamba2.conv_bias", c.flag_or("mamba_conv_bias", true), "mamba_conv_bias");
  w.set("mamba2.in_bias", c.flag_or("mamba_proj_bias", false), "mamba_proj_bias");
  w.set("mamba2.out_bias", c.flag_or("projectors_bias", false), "projectors_bias");
  const bool norm = c.flag_or("mamba_rms_norm", false);
  w.set("mamba2.gated_norm", norm, "mamba_rms_norm");
  if (norm) w.set("mamba2.norm_before_gate", c.flag_or("mamba_norm_before_gate", true), "mamba_norm_before_gate");
  set_dt_limit(c, w);
}

void falcon_multipliers(const HfConfig& c, Writer& w) {
  const std::pair<const char*, const char*> factors[] = {
      {"embedding_scale", "embedding_multiplier"},       {"logit_scale", "lm_head_multiplier"},
      {"attention.in_scale", "attention_in_multiplier"}, {"attention.out_scale", "attention_out_multiplier"},
      {"attention.key_scale", "key_multiplier"},         {"mamba2.in_scale", "ssm_in_multiplier"},
      {"mamba2.out_scale", "ssm_out_multiplier"}};
  for (const auto& [ours, theirs] : factors) {
    if (c.has(theirs)) w.set(ours, c.number_or(theirs, 1), theirs);
  }
  if (const auto ssm = c.numbers("ssm_multipliers"); !ssm.empty()) {
    c.require_that(ssm.size() == 5, "ssm_multipliers", "expected five factors");
    w.set("mamba2.scales", fmt::format("{}", fmt::join(ssm, ",")), "ssm_multipliers");
  }
  if (const auto mlp = c.numbers("mlp_multipliers"); !mlp.empty()) {
    c.require_that(mlp.size() == 2, "mlp_multipliers", "expected two factors");
    w.set("ffn.gate_scale", mlp[0], "mlp_multipliers");
    w.set("ffn.out_scale", mlp[1], "mlp_multipliers");
  }
}

}  // namespace

std::vector<Assignment> falcon_h1_design(const HfConfig& c) {
  Writer w(c);
  set_model(c, w, "rms_norm_eps", 1e-5, false);
  set_dense_transformer(c, w, "parallel(attention,mamba2)");
  w.set("parallel.fusion", "concat", "model_type");
  w.set("parallel.norms", "false", "model_type");
  if (c.flag_or("attention_bias", false)) w.set("attention.bias", "all", "attention_bias");
  if (c.flag_or("mlp_bias", false)) w.set("ffn.bias", "true", "mlp_bias");
  falcon_mamba(c, w);
  falcon_multipliers(c, w);
  return w.done();
}

}  // namespace hymba::family
