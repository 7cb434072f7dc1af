// What several families' configs have in common.
#pragma once

#include <string>
#include <vector>

#include "config/ini.h"
#include "exchange/hf_config.h"

namespace hymba::family {

inline constexpr std::int64_t kMostLayers = 4096;

// Collects assignments; the origin of each is the config's key.
class Writer {
 public:
  explicit Writer(const HfConfig& config) : config_(config) {}
  template <class T>
  void set(const std::string& key, const T& value, const std::string& theirs) {
    assignments_.push_back({key, fmt::format("{}", value), config_.name() + " " + theirs});
  }
  std::vector<Assignment> done() { return std::move(assignments_); }

 private:
  const HfConfig& config_;
  std::vector<Assignment> assignments_;
};

// What every family has: sizes, norms, tying.
void set_model(const HfConfig& c, Writer& w, const std::string& eps, double eps_default, bool tied);
// torch's padding_idx: a negative one counts from the end.
void set_padding(const HfConfig& c, Writer& w);
void require_silu(const HfConfig& c, const std::string& key);
// The settings of RoPE stand in rope_parameters (transformers 5), rope_scaling, or at the top.
void set_rope(const HfConfig& c, Writer& w);
void set_heads(const HfConfig& c, Writer& w);
void set_window(const HfConfig& c, Writer& w, const std::vector<std::int64_t>& full);
// Layers that layer_types calls full; nothing if the key is absent.
std::vector<std::int64_t> full_layers(const HfConfig& c);
void set_dense_transformer(const HfConfig& c, Writer& w, const std::string& mixer);
// ceil(hidden / 16) where the config says "auto" or nothing.
std::int64_t dt_rank(const HfConfig& c, const std::string& key);
// time_step_limit [low, high] of Mamba-2.
void set_dt_limit(const HfConfig& c, Writer& w);

}  // namespace hymba::family
