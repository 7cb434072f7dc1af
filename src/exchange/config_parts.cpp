#include "exchange/config_parts.h"

#include <cmath>

namespace hymba::family {

void set_model(const HfConfig& c, Writer& w, const std::string& eps, double eps_default, bool tied) {
  w.set("hidden", c.whole("hidden_size"), "hidden_size");
  w.set("layers", c.whole("num_hidden_layers", 1, kMostLayers), "num_hidden_layers");
  w.set("vocab", c.whole("vocab_size"), "vocab_size");
  w.set("tied", c.flag_or("tie_word_embeddings", tied), "tie_word_embeddings");
  w.set("norm_eps", c.number_or(eps, eps_default), eps);
}

void set_padding(const HfConfig& c, Writer& w) {
  if (!c.has("pad_token_id")) return;
  const auto vocab = c.whole("vocab_size"), id = c.whole("pad_token_id", -vocab, vocab - 1);
  w.set("padding_id", id < 0 ? vocab + id : id, "pad_token_id");
}

void require_silu(const HfConfig& c, const std::string& key) {
  const auto act = c.word_or(key, "silu");
  c.require_that(act == "silu" || act == "swish", key, "this activation is not supported; expected silu");
}

void set_rope(const HfConfig& c, Writer& w) {
  const std::string key = c.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  const HfConfig r = c.has(key) ? c.part(key) : HfConfig(nlohmann::json::object(), c.name());
  w.set("attention.rope_theta", r.number_or("rope_theta", c.number_or("rope_theta", 10000)), "rope_theta");
  const double partial = r.number_or("partial_rotary_factor", c.number_or("partial_rotary_factor", 1));
  require(partial == 1, "{}: partial_rotary_factor = {}: rotating a part of a head is not supported", c.name(),
          partial);
  const std::string type = r.word_or("rope_type", r.word_or("type", "default"));
  if (type == "default") return;
  require(type == "llama3" || type == "linear",
          "{}: rope_type = {}: expected default, linear or llama3; others are not supported", r.name(), type);
  w.set("attention.rope_scaling", type, key);
  r.require_that(r.has("factor"), "factor", "the key is missing; rope_type {} needs it", type);
  w.set("attention.rope_factor", r.number_or("factor", 1), key + " factor");
  if (type == "linear") return;
  w.set("attention.rope_low", r.number_or("low_freq_factor", 1), key + " low_freq_factor");
  w.set("attention.rope_high", r.number_or("high_freq_factor", 4), key + " high_freq_factor");
  const auto original = r.has("original_max_position_embeddings") ? r.whole("original_max_position_embeddings")
                                                                  : c.whole("max_position_embeddings");
  w.set("attention.rope_original", original, key + " original_max_position_embeddings");
}

void set_heads(const HfConfig& c, Writer& w) {
  const auto hidden = c.whole("hidden_size"), heads = c.whole("num_attention_heads"),
             kv = c.whole_or("num_key_value_heads", heads);
  c.require_that(heads % kv == 0, "num_key_value_heads", "does not divide num_attention_heads = {}", heads);
  c.require_that(c.has("head_dim") || hidden % heads == 0, "num_attention_heads",
                 "does not divide hidden_size = {}, and there is no head_dim", hidden);
  w.set("attention.heads", heads, "num_attention_heads");
  w.set("attention.kv_heads", kv, "num_key_value_heads");
  w.set("attention.head_dim", c.whole_or("head_dim", hidden / heads), "head_dim");
}

void set_window(const HfConfig& c, Writer& w, const std::vector<std::int64_t>& full) {
  w.set("attention.window", c.whole("sliding_window"), "sliding_window");
  if (!full.empty()) w.set("attention.full_layers", fmt::format("{}", fmt::join(full, ",")), "layer_types");
}

std::vector<std::int64_t> full_layers(const HfConfig& c) {
  std::vector<std::int64_t> full;
  if (!c.has("layer_types")) return full;
  const auto& types = c.json().at("layer_types");
  c.require_that(types.is_array() && static_cast<std::int64_t>(types.size()) == c.whole("num_hidden_layers"),
                 "layer_types", "expected one word for each of {} layers", c.whole("num_hidden_layers"));
  for (std::size_t i = 0; i < types.size(); ++i) {
    c.require_that(types[i] == "full_attention" || types[i] == "sliding_attention", "layer_types",
                   "expected full_attention or sliding_attention");
    if (types[i] == "full_attention") full.push_back(static_cast<std::int64_t>(i));
  }
  return full;
}

void set_dense_transformer(const HfConfig& c, Writer& w, const std::string& mixer) {
  require_silu(c, "hidden_act");
  w.set("mixer", mixer, "model_type");
  w.set("ffn", "swiglu", "model_type");
  w.set("ffn.hidden", c.whole("intermediate_size"), "intermediate_size");
  set_heads(c, w);
  set_rope(c, w);
  set_padding(c, w);
}

std::int64_t dt_rank(const HfConfig& c, const std::string& key) {
  const bool automatic = !c.has(key) || c.json().at(key) == "auto";
  return automatic ? (c.whole("hidden_size") + 15) / 16 : c.whole(key);
}

void set_dt_limit(const HfConfig& c, Writer& w) {
  if (!c.has("time_step_limit")) return;
  const auto limit = c.numbers("time_step_limit");
  c.require_that(limit.size() == 2 && limit[0] >= 0 && limit[1] > 0 && limit[1] >= limit[0], "time_step_limit",
                 "expected [low, high]");
  if (limit[0] > 0) w.set("mamba2.dt_floor", limit[0], "time_step_limit");
  if (std::isfinite(limit[1])) w.set("mamba2.dt_ceiling", limit[1], "time_step_limit");
}

}  // namespace hymba::family
