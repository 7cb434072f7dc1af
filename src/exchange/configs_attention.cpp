// Families of attention layers alone: llama, mistral, qwen2, and the cache of any other.
#include <algorithm>

#include "exchange/config_parts.h"
#include "exchange/family_configs.h"

namespace hymba::family {

std::vector<Assignment> llama_design(const HfConfig& c) {
  Writer w(c);
  set_model(c, w, "rms_norm_eps", 1e-6, false);
  set_dense_transformer(c, w, "attention");
  if (c.flag_or("attention_bias", false)) w.set("attention.bias", "all", "attention_bias");
  if (c.flag_or("mlp_bias", false)) w.set("ffn.bias", "true", "mlp_bias");
  if (c.family() != "mistral") return w.done();
  if (!c.json().contains("sliding_window")) {  // null means none, an absent key its family's default
    w.set("attention.window", 4096, "sliding_window (absent)");
  } else if (c.has("sliding_window")) {
    set_window(c, w, full_layers(c));  // exclusive, as ours
  }
  return w.done();
}

std::vector<Assignment> qwen2_design(const HfConfig& c) {
  Writer w(c);
  set_model(c, w, "rms_norm_eps", 1e-6, false);
  set_dense_transformer(c, w, "attention");
  w.set("attention.bias", "qkv", "model_type");
  if (!c.flag_or("use_sliding_window", false) || !c.has("sliding_window")) return w.done();
  auto full = full_layers(c);
  const auto layers = c.whole("num_hidden_layers");
  if (!c.has("layer_types")) {
    for (std::int64_t i = 0; i < std::min(layers, c.whole_or("max_window_layers", layers, 0)); ++i) full.push_back(i);
  }
  if (static_cast<std::int64_t>(full.size()) < layers) set_window(c, w, full);
  return w.done();
}

namespace {

// The first of these keys that the config has.
std::string key_of(const HfConfig& c, const std::vector<std::string>& keys) {
  for (const auto& key : keys) {
    if (c.has(key)) return key;
  }
  return "";
}

const std::vector<std::string> kLayers = {"num_hidden_layers", "n_layer", "num_layers", "n_layers"};
const std::vector<std::string> kHidden = {"hidden_size", "n_embd", "d_model"};
const std::vector<std::string> kHeads = {"num_attention_heads", "n_head", "num_heads", "n_heads"};
const std::vector<std::string> kKvHeads = {"num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num"};

}  // namespace

bool has_attention_keys(const HfConfig& c) {
  return !key_of(c, kLayers).empty() && !key_of(c, kHidden).empty() && !key_of(c, kHeads).empty();
}

std::vector<Assignment> attention_design(const HfConfig& c) {
  Writer w(c);
  const auto layers = c.whole(key_of(c, kLayers), 1, kMostLayers), hidden = c.whole(key_of(c, kHidden)),
             heads = c.whole(key_of(c, kHeads));
  const auto kv_key = key_of(c, kKvHeads);
  const bool one = kv_key.empty() && c.flag_or("multi_query", false);
  const auto kv = one ? 1 : kv_key.empty() ? heads : c.whole(kv_key);
  c.require_that(heads % kv == 0, kv_key, "does not divide the {} attention heads", heads);
  c.require_that(c.has("head_dim") || hidden % heads == 0, key_of(c, kHeads),
                 "does not divide {} = {}, and there is no head_dim", key_of(c, kHidden), hidden);
  w.set("hidden", hidden, key_of(c, kHidden));
  w.set("layers", layers, key_of(c, kLayers));
  w.set("vocab", c.whole_or("vocab_size", 1), "vocab_size");
  w.set("mixer", "attention", "num_attention_heads");
  w.set("attention.heads", heads, key_of(c, kHeads));
  w.set("attention.kv_heads", kv, kv_key);
  w.set("attention.head_dim", c.whole_or("head_dim", hidden / heads), "head_dim");
  w.set("attention.rope", "false", "not known");
  if (const auto width = key_of(c, {"intermediate_size", "n_inner", "ffn_dim"}); !width.empty())
    w.set("ffn.hidden", c.whole(width), width);
  if (!c.has("sliding_window") || !c.flag_or("use_sliding_window", true)) return w.done();
  auto full = full_layers(c);
  if (!c.has("layer_types") && c.has("sliding_window_pattern")) {  // gemma 3: each n-th layer is full
    const auto n = c.whole("sliding_window_pattern");
    for (std::int64_t i = n - 1; i < layers; i += n) full.push_back(i);
  } else if (!c.has("layer_types") && c.family() == "gemma2") {  // every other layer
    for (std::int64_t i = 1; i < layers; i += 2) full.push_back(i);
  }
  if (static_cast<std::int64_t>(full.size()) < layers) set_window(c, w, full);
  return w.done();
}

}  // namespace hymba::family
