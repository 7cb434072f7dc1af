// Families of Mamba layers: mamba, mamba2, and jamba, where some layers attend instead.
#include <set>

#include "base/text.h"
#include "exchange/config_parts.h"
#include "exchange/family_configs.h"

namespace hymba::family {
namespace {

// The shortest pattern that gives these words when it is repeated over whole blocks.
std::string shortest_pattern(const std::vector<std::string>& blocks) {
  std::size_t period = 1;
  const auto repeats = [&] {
    for (std::size_t i = period; i < blocks.size(); ++i) {
      if (blocks[i] != blocks[i - period]) return false;
    }
    return true;
  };
  while (!repeats()) ++period;
  return join({blocks.begin(), blocks.begin() + static_cast<std::ptrdiff_t>(period)}, " ");
}

// Jamba's blocks as words of a pattern: which attend, and which have experts.
std::vector<std::string> jamba_blocks(const HfConfig& c) {
  const auto experts = c.whole_or("num_experts", 16);
  const auto attention_period = c.whole_or("attn_layer_period", 8);
  const auto attention_offset = c.whole_or("attn_layer_offset", 4, 0);
  const auto expert_period = c.whole_or("expert_layer_period", 2);
  const auto expert_offset = c.whole_or("expert_layer_offset", 1, 0);
  c.require_that(attention_offset < attention_period, "attn_layer_offset", "expected less than attn_layer_period = {}",
                 attention_period);
  c.require_that(expert_offset < expert_period, "expert_layer_offset", "expected less than expert_layer_period = {}",
                 expert_period);
  std::vector<std::string> blocks;
  for (std::int64_t i = 0; i < c.whole("num_hidden_layers", 1, kMostLayers); ++i) {
    const std::string mixer = i % attention_period == attention_offset ? "attention" : "mamba";
    blocks.push_back(mixer + (experts > 1 && i % expert_period == expert_offset ? " moe" : " swiglu"));
  }
  return blocks;
}

}  // namespace

std::vector<Assignment> mamba_design(const HfConfig& c) {
  Writer w(c);
  require_silu(c, "hidden_act");
  set_model(c, w, "layer_norm_epsilon", 1e-5, true);
  const auto hidden = c.whole("hidden_size"), expand = c.whole_or("expand", 2, 1, 1024);
  c.require_that(c.whole_or("intermediate_size", expand * hidden) == expand * hidden, "intermediate_size",
                 "expected expand * hidden_size = {}", expand * hidden);
  w.set("mixer", "mamba", "model_type");
  w.set("ffn", "none", "model_type");
  w.set("mamba.expand", expand, "expand");
  w.set("mamba.state", c.whole_or("state_size", 16), "state_size");
  w.set("mamba.conv", c.whole_or("conv_kernel", 4, 1, 1024), "conv_kernel");
  w.set("mamba.dt_rank", dt_rank(c, "time_step_rank"), "time_step_rank");
  w.set("mamba.inner_norms", "false", "model_type");
  w.set("mamba.conv_bias", c.flag_or("use_conv_bias", true), "use_conv_bias");
  w.set("mamba.proj_bias", c.flag_or("use_bias", false), "use_bias");
  return w.done();
}

std::vector<Assignment> mamba2_design(const HfConfig& c) {
  Writer w(c);
  require_silu(c, "hidden_act");
  set_model(c, w, "layer_norm_epsilon", 1e-5, false);
  const auto inner = c.whole("hidden_size") * c.whole_or("expand", 2, 1, 1024);
  const auto heads = c.whole_or("num_heads", 128), head_dim = c.whole_or("head_dim", 64);
  const auto groups = c.whole_or("n_groups", 8);
  c.require_that(heads * head_dim == inner, "num_heads", "num_heads * head_dim = {}, but expand * hidden_size = {}",
                 heads * head_dim, inner);
  c.require_that(heads % groups == 0, "n_groups", "does not divide num_heads = {}", heads);
  w.set("mixer", "mamba2", "model_type");
  w.set("ffn", "none", "model_type");
  w.set("mamba2.expand", c.whole_or("expand", 2), "expand");
  w.set("mamba2.head_dim", head_dim, "head_dim");
  w.set("mamba2.groups", groups, "n_groups");
  w.set("mamba2.state", c.whole_or("state_size", 128), "state_size");
  w.set("mamba2.conv", c.whole_or("conv_kernel", 4, 1, 1024), "conv_kernel");
  w.set("mamba2.conv_bias", c.flag_or("use_conv_bias", true), "use_conv_bias");
  w.set("mamba2.in_bias", c.flag_or("use_bias", false), "use_bias");
  w.set("mamba2.out_bias", c.flag_or("use_bias", false), "use_bias");
  set_dt_limit(c, w);
  return w.done();
}

std::vector<Assignment> jamba_design(const HfConfig& c) {
  Writer w(c);
  require_silu(c, "hidden_act");
  set_model(c, w, "rms_norm_eps", 1e-6, false);
  set_padding(c, w);
  const auto blocks = jamba_blocks(c);
  const std::string pattern = shortest_pattern(blocks);
  const auto has = [&](const char* word) { return pattern.find(word) != std::string::npos; };
  w.set("layers.pattern", pattern, "attn_layer_period, expert_layer_period");
  const auto width = c.whole("intermediate_size");
  if (has("swiglu")) w.set("ffn.hidden", width, "intermediate_size");
  if (has("moe")) {
    w.set("moe.hidden", width, "intermediate_size");
    w.set("moe.experts", c.whole_or("num_experts", 16), "num_experts");
    w.set("moe.top_k", c.whole_or("num_experts_per_tok", 2), "num_experts_per_tok");
  }
  if (has("attention")) {
    set_heads(c, w);
    w.set("attention.rope", "false", "model_type");
  }
  if (!has("mamba")) return w.done();
  w.set("mamba.expand", c.whole_or("mamba_expand", 2, 1, 1024), "mamba_expand");
  w.set("mamba.state", c.whole_or("mamba_d_state", 16), "mamba_d_state");
  w.set("mamba.conv", c.whole_or("mamba_d_conv", 4, 1, 1024), "mamba_d_conv");
  w.set("mamba.dt_rank", dt_rank(c, "mamba_dt_rank"), "mamba_dt_rank");
  w.set("mamba.inner_norms", "true", "model_type");
  w.set("mamba.conv_bias", c.flag_or("mamba_conv_bias", true), "mamba_conv_bias");
  w.set("mamba.proj_bias", c.flag_or("mamba_proj_bias", false), "mamba_proj_bias");
  return w.done();
}

}  // namespace hymba::family
