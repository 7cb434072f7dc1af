// config.json of each family as assignments to our design's keys.
#pragma once

#include <vector>

#include "config/ini.h"
#include "exchange/hf_config.h"

namespace hymba::family {

std::vector<Assignment> hymba_design(const HfConfig& config);
std::vector<Assignment> llama_design(const HfConfig& config);  // and mistral
std::vector<Assignment> qwen2_design(const HfConfig& config);
std::vector<Assignment> mamba_design(const HfConfig& config);
std::vector<Assignment> mamba2_design(const HfConfig& config);
std::vector<Assignment> jamba_design(const HfConfig& config);
std::vector<Assignment> falcon_h1_design(const HfConfig& config);

// Attention layers by the keys that nearly all configs have (also GPT-2's n_layer, n_embd, n_head): good for the cache
// alone, since such a family's norms, biases and activations are not known here.
std::vector<Assignment> attention_design(const HfConfig& config);
bool has_attention_keys(const HfConfig& config);

}  // namespace hymba::family
