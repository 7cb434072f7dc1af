// config.json of a Hugging Face folder with a weights index and a llama2.c checkpoint: everything up to the weights.
#include <cstring>

#include "base/text.h"
#include "exchange/hf_folder.h"
#include "exchange/llama2c.h"
#include "exchange/open_model.h"
#include "tests/fuzz/fuzz.h"

// The first byte chooses the file.
void read_fuzzed(const std::string& bytes) {
  if (bytes.empty()) return;
  const std::string file = bytes.substr(1);
  if (bytes[0] % 3 == 0) {
    hymba::read_hf_design(hymba::fuzz::write_scratch("config.json", file));
  } else if (bytes[0] % 3 == 1) {
    hymba::fuzz::write_scratch("model.safetensors.index.json", file);
    hymba::map_weights(hymba::fuzz::scratch());
  } else {
    const auto path = hymba::fuzz::write_scratch("model.bin", file);
    hymba::read_llama2c_model(path, hymba::read_llama2c_design(path));
  }
}

std::vector<std::string> make_seeds() {
  const std::string zero(1, '\0'), sizes = R"("hidden_size":16,"num_hidden_layers":3,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":20,"intermediate_size":24)";
  std::vector<std::string> seeds;
  for (const std::string more : {R"("model_type":"hymba","num_memory_tokens":2,"sliding_window":4,"global_attn_idx":[0,2],"kv_reuse_group":[[0,1]],"rope_type":"ntk","max_position_embeddings":64,"orig_max_position_embeddings":32,"kq_norm":"rms","mamba_dt_rank":"auto")",
                               R"("model_type":"llama","rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4,"original_max_position_embeddings":32})",
                               R"("model_type":"mistral","sliding_window":4,"layer_types":["full_attention","sliding_attention","full_attention"])",
                               R"("model_type":"mamba","state_size":4)", R"("model_type":"mamba2","num_heads":4,"head_dim":8,"n_groups":2,"time_step_limit":[0.0,Infinity])",
                               R"("model_type":"jamba","attn_layer_period":2,"attn_layer_offset":1,"num_experts":2,"expert_layer_period":2,"expert_layer_offset":0)",
                               R"("model_type":"falcon_h1","mamba_d_ssm":32,"mamba_n_heads":4,"mamba_d_head":"auto","ssm_multipliers":[1,1,1,1,1],"time_step_limit":[0,{"__float__":"Infinity"}])",
                               R"("model_type":"gpt2","n_layer":2,"n_embd":8,"n_head":2)", R"("model_type":"gemma3_text","sliding_window":4,"sliding_window_pattern":2)"}) {
    seeds.push_back(zero + "{" + more + "," + sizes + "}");
  }
  seeds.push_back("\x01{\"metadata\":{},\"weight_map\":{\"a\":\"model-1.safetensors\",\"b\":\"model-2.safetensors\"}}");
  const std::int32_t header[] = {4, 4, 1, 2, 1, 5, 2};
  std::string model(28, '\0');
  std::memcpy(model.data(), header, 28);
  // embedding, norms and projections of one layer, the last norm, tables of angles
  const std::size_t floats = 5 * 4 + 4 * (2 + 2 * 4 + 2 * 2 + 3 * 4) + 4 + 2 * 2;
  seeds.push_back("\x02" + model + std::string(4 * floats, '\0'));
  return seeds;
}
