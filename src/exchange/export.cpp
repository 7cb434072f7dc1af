#include "exchange/export.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "data/tokenizer.h"
#include "exchange/hf_folder.h"

namespace hymba {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;
using Facts = std::map<std::string, std::int64_t>;

at::ScalarType type_of(const std::string& dtype) {
  if (dtype == "fp32") return at::kFloat;
  if (dtype == "bf16") return at::kBFloat16;
  if (dtype == "fp16") return at::kHalf;
  user_error("--dtype {}: expected fp32, bf16 or fp16", dtype);
}

// What a config is written from: the resolved keys, and what the mixers say of themselves.
class Source {
 public:
  Source(const Design& design, const LanguageModel& model) : design_(design), model_(model) {}
  const ModelConfig& config() const { return design_.config(); }
  const LanguageModel& model() const { return model_; }
  std::string key(const std::string& name) const {
    const auto found = design_.resolved().resolved().find(name);
    return found == design_.resolved().resolved().end() ? "" : found->second.value;
  }
  bool flag(const std::string& name) const { return key(name) == "true"; }
  double number(const std::string& name) const { return std::stod(key(name)); }
  std::int64_t whole(const std::string& name) const { return std::stoll(key(name)); }
  // Facts of every mixer of this name, by block.
  std::map<std::int64_t, Facts> facts(const std::string& mixer) const {
    std::map<std::int64_t, Facts> all;
    for (const auto& sublayer : model_.sublayers()) {
      for (std::size_t i = 0; i < sublayer->mixers().size(); ++i) {
        if (sublayer->mixer_names()[i] != mixer) continue;
        for (const auto& [name, value] : sublayer->mixers()[i]->facts()) all[sublayer->layer()][name] = value;
      }
    }
    return all;
  }

 private:
  const Design& design_;
  const LanguageModel& model_;
};

json common(const Source& s, const std::string& family, const std::string& architecture) {
  json config = {{"model_type", family},
                 {"architectures", json::array({architecture})},
                 {"hidden_size", s.config().hidden},
                 {"num_hidden_layers", s.config().layers},
                 {"vocab_size", s.config().vocab},
                 {"tie_word_embeddings", s.config().tied},
                 {"hidden_act", "silu"},
                 {"initializer_range", s.config().init_std},
                 {"bos_token_id", 1},
                 {"eos_token_id", 2},
                 {"use_cache", true}};
  config["pad_token_id"] = s.config().padding_id >= 0 ? json(s.config().padding_id) : json(nullptr);
  return config;
}

void add_attention(const Source& s, json* config) {
  const Facts one = s.facts("attention").begin()->second;
  (*config)["num_attention_heads"] = one.at("heads");
  (*config)["num_key_value_heads"] = one.at("kv_heads");
  (*config)["rope_theta"] = s.number("attention.rope_theta");
  (*config)["attention_dropout"] = 0.0;
}

json llama_config(const Source& s) {
  const Facts one = s.facts("attention").begin()->second;
  const bool window = one.at("window") >= 0;
  json config = common(s, window ? "mistral" : "llama", window ? "MistralForCausalLM" : "LlamaForCausalLM");
  add_attention(s, &config);
  config["head_dim"] = one.at("head_dim");
  config["rms_norm_eps"] = s.config().norm_eps;
  config["intermediate_size"] = s.facts(s.config().ffn).begin()->second.at("width");
  config["max_position_embeddings"] = 8192;
  config["attention_bias"] = s.key("attention.bias") == "all";
  config["mlp_bias"] = s.flag("ffn.bias");
  if (window) config["sliding_window"] = one.at("window");  // exclusive: W keys with the query's own
  const auto scaling = s.key("attention.rope_scaling");
  if (scaling == "linear" || scaling == "llama3") {
    json& r = config["rope_scaling"] = {{"rope_type", scaling}, {"factor", s.number("attention.rope_factor")}};
    if (scaling == "llama3") {
      r["low_freq_factor"] = s.number("attention.rope_low");
      r["high_freq_factor"] = s.number("attention.rope_high");
      r["original_max_position_embeddings"] = s.whole("attention.rope_original");
    }
  }
  return config;
}

json mamba_config(const Source& s) {
  json config = common(s, "mamba", "MambaForCausalLM");
  const Facts one = s.facts("mamba").begin()->second;
  config["layer_norm_epsilon"] = s.config().norm_eps;
  config["expand"] = s.whole("mamba.expand");
  config["intermediate_size"] = one.at("inner");
  config["state_size"] = one.at("state");
  config["time_step_rank"] = one.at("dt_rank");
  config["conv_kernel"] = s.whole("mamba.conv");
  config["use_conv_bias"] = s.flag("mamba.conv_bias");
  config["use_bias"] = s.flag("mamba.proj_bias");
  config["residual_in_fp32"] = true;
  return config;
}

json mamba2_config(const Source& s) {
  json config = common(s, "mamba2", "Mamba2ForCausalLM");
  const Facts one = s.facts("mamba2").begin()->second;
  config["layer_norm_epsilon"] = s.config().norm_eps;
  config["expand"] = s.whole("mamba2.expand");
  config["state_size"] = one.at("state");
  config["num_heads"] = one.at("heads");
  config["head_dim"] = s.whole("mamba2.head_dim");
  config["n_groups"] = one.at("groups");
  config["conv_kernel"] = s.whole("mamba2.conv");
  config["chunk_size"] = s.whole("mamba2.chunk");
  config["use_conv_bias"] = s.flag("mamba2.conv_bias");
  config["use_bias"] = s.flag("mamba2.in_bias");
  config["residual_in_fp32"] = true;
  return config;
}

// Windows and K/V sharing of a Hymba, from what each layer says of itself.
void add_plan(const Source& s, json* config) {
  json full = json::array(), groups = json::array();
  std::map<std::int64_t, std::vector<std::int64_t>> users;
  std::int64_t window = -1;
  for (const auto& [layer, facts] : s.facts("attention")) {
    if (facts.at("window") < 0) full.push_back(layer);
    window = std::max(window, facts.at("window"));
    users[facts.at("kv_source")].push_back(layer);
  }
  for (const auto& [source, layers] : users) {
    if (layers.size() > 1) groups.push_back(layers);
  }
  (*config)["sliding_window"] = window < 0 ? json(nullptr) : json(window - 1);  // inclusive
  (*config)["global_attn_idx"] = window < 0 ? json::array() : full;
  (*config)["kv_reuse_group"] = groups.empty() ? json(nullptr) : groups;
}

json hymba_config(const Source& s) {
  json config = common(s, "hymba", "HymbaForCausalLM");
  add_attention(s, &config);
  add_plan(s, &config);
  const Facts ssm = s.facts("mamba").begin()->second;
  json conv_dim = json::object();
  for (std::int64_t i = 0; i < s.config().layers; ++i) conv_dim[std::to_string(i)] = ssm.at("inner");
  const auto norm = s.key("attention.qk_norm"), scaling = s.key("attention.rope_scaling"), ffn = s.config().ffn;
  const auto or_default = [](std::int64_t n) { return n > 0 ? n : std::int64_t{8192}; };
  const std::int64_t original = s.whole("attention.rope_original");
  config.update({{"rms_norm_eps", s.config().norm_eps},
                 {"num_memory_tokens", s.config().meta_tokens},
                 {"memory_tokens_interspersed_every", 0},
                 {"rope", s.flag("attention.rope")},
                 {"rope_type", scaling == "none" ? "default" : scaling},
                 {"max_position_embeddings", or_default(s.whole("attention.rope_max"))},
                 {"orig_max_position_embeddings", or_default(original)},
                 {"kq_norm", norm == "rms_per_head" ? "perhead-rms" : norm},
                 {"kq_head_dim", -1},
                 {"attn_hidden_size", -1},
                 {"v_head_dim", s.facts("attention").begin()->second.at("v_dim")},
                 {"kv_reuse_every_i_layer", -1},
                 {"kv_weight_reuse", false},
                 {"mamba_expand", s.whole("mamba.expand")},
                 {"mamba_d_state", ssm.at("state")},
                 {"mamba_d_conv", s.whole("mamba.conv")},
                 {"mamba_dt_rank", ssm.at("dt_rank")},
                 {"mamba_conv_bias", s.flag("mamba.conv_bias")},
                 {"mamba_proj_bias", s.flag("mamba.proj_bias")},
                 {"mamba_inner_layernorms", s.flag("mamba.inner_norms")},
                 {"conv_dim", conv_dim},
                 {"num_mamba", 1},
                 {"layer_type", std::vector<std::string>(static_cast<std::size_t>(s.config().layers), "h")},
                 {"num_experts", 1},
                 {"num_experts_per_tok", 1},
                 {"output_router_logits", false},
                 {"router_aux_loss_coef", 0.001},
                 {"seq_length", or_default(s.whole("attention.rope_max"))},
                 {"attn_implementation", "flex"},
                 {"attn_implementation_new", "flex"},
                 {"calc_logits_for_entire_prompt", false},
                 {"use_mamba_kernels", true},
                 {"mlp_hidden_act", ffn == "relu2" ? "relu2" : "silu"},
                 {"intermediate_size", ffn == "none" ? 0 : s.facts(ffn).begin()->second.at("width")}});
  return config;
}

json config_of(const Source& s) {
  std::set<std::string> kinds;
  for (const auto& sublayer : s.model().sublayers()) kinds.insert(sublayer->text());
  if (kinds == std::set<std::string>{"attention", "swiglu"}) return llama_config(s);
  if (kinds == std::set<std::string>{"mamba"}) return mamba_config(s);
  if (kinds == std::set<std::string>{"mamba2"}) return mamba2_config(s);
  if (kinds.erase("parallel(attention,mamba)") == 1 &&
      (kinds.empty() || kinds == std::set<std::string>{"swiglu"} || kinds == std::set<std::string>{"relu2"})) {
    return hymba_config(s);
  }
  kinds.insert(s.config().mixer);
  user_error("no Hugging Face layout here for a design of {}; there are hymba, llama, mistral, mamba and mamba2",
             fmt::join(kinds, ", "));
}

// Keys that say nothing about the function that a model computes, or that shapes and facts compare better.
bool is_compared(const std::string& key) {
  static const std::set<std::string> not_compared = {"init_std",
                                                     "embedding_std",
                                                     "residual_scale",
                                                     "padding_id",
                                                     "layers.pattern",
                                                     "mixer",
                                                     "ffn",
                                                     "ffn.hidden",
                                                     "attention.heads",
                                                     "attention.kv_heads",
                                                     "attention.head_dim",
                                                     "attention.v_dim",
                                                     "attention.window",
                                                     "attention.full_layers",
                                                     "attention.kv_share",
                                                     "attention.kv_groups",
                                                     "mamba.dt_rank",
                                                     "mamba.dt_min",
                                                     "mamba.dt_max",
                                                     "mamba2.dt_min",
                                                     "mamba2.dt_max",
                                                     "mamba2.chunk",
                                                     "mamba2.inner"};
  return not_compared.count(key) == 0;
}

// The config must describe this very model: what it is read as is compared with what it was written from.
void check_round_trip(const Design& ours, const LanguageModel& model, const Design& theirs, const std::string& family) {
  const auto& a = ours.resolved().resolved();
  for (const auto& [key, value] : theirs.resolved().resolved()) {
    const auto found = a.find(key);
    if (found == a.end() || !is_compared(key)) continue;
    require(found->second.value == value.value,
            "{} = {} cannot be said in the layout of {} (it means {}); change it to export this design", key,
            found->second.value, family, value.value);
  }
  const LanguageModel other(theirs, 0, /*meta=*/true);
  const Source mine(ours, model), read(theirs, other);
  for (const char* mixer : {"attention", "mamba", "mamba2"}) {
    const auto left = mine.facts(mixer), right = read.facts(mixer);
    for (const auto& [layer, facts] : left) {
      for (const auto& [key, value] : facts) {
        const auto got = right.count(layer) != 0 ? right.at(layer).at(key) : -1;
        require(got == value, "layer {}: {} {} = {} cannot be said in the layout of {} (it means {})", layer, mixer,
                key, value, family, got);
      }
    }
  }
  for (const auto& parameter : model.parameters().all()) {
    const auto* same = other.parameters().find(parameter.name);
    require(same != nullptr && same->value.sizes().equals(parameter.value.sizes()),
            "{}: the layout of {} has no such parameter", parameter.name, family);
  }
}

// Weights by their names; layers that use another one's K and V own a k_norm in Hymba's layout that nothing reads.
std::map<std::string, at::Tensor> weights_of(const Family& family, const LanguageModel& model, at::ScalarType type) {
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> weights;
  at::Tensor norm;
  for (const auto& link : link_tensors(family, model)) {
    const auto parts = split_parts(link, model.parameters().find(link.ours)->value);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      weights[link.parts[i].name] = parts[i].to(type).contiguous();
      if (link.parts[i].name.find("self_attn.k_norm.weight") != std::string::npos) norm = weights[link.parts[i].name];
    }
  }
  for (const auto& name : ignored_names(family, model)) {
    if (norm.defined() && name.find("k_norm") != std::string::npos && weights.count(name) == 0)
      weights[name] = at::ones(norm.sizes(), type);
  }
  return weights;
}

// A file under the name that readers of folders look for; of a folder its tokenizer's files and what stands beside them.
void copy_tokenizer(const fs::path& from, const fs::path& to) {
  std::error_code ignored;
  const auto copy = [&](const fs::path& file, const std::string& name) { write_file_atomic(to / name, read_file(file)); };
  if (fs::is_regular_file(from, ignored)) return copy(from, "tokenizer" + from.extension().string());
  if (!fs::is_directory(from, ignored)) return;
  for (const auto& file : tokenizer_files(from)) copy(file, file.filename().string());
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"}) {
    if (fs::is_regular_file(from / name, ignored)) copy(from / name, name);
  }
}

}  // namespace

std::string export_hf(const LoadedModel& loaded, const fs::path& folder, const std::string& dtype) {
  const at::ScalarType type = type_of(dtype);
  require(!fs::exists(folder) || (fs::is_directory(folder) && fs::is_empty(folder)),
          "{}: is there already; export writes a new folder", folder.string());
  json config = config_of(Source(loaded.design, *loaded.model));
  config["torch_dtype"] = dtype == "fp32" ? "float32" : dtype == "bf16" ? "bfloat16" : "float16";
  const auto family_name = config["model_type"].get<std::string>();
  const HfConfig written(config, (folder / "config.json").string());
  const Family& family = find_family(written);
  check_round_trip(loaded.design, *loaded.model,
                   Design(loaded.design.name(), "hf", {{"config.json", false, family.design(written)}}), family_name);
  make_folder(folder);
  write_safetensors(folder / "model.safetensors", weights_of(family, *loaded.model, type), {{"format", "pt"}});
  copy_tokenizer(loaded.state.tokenizer, folder);
  write_file_atomic(folder / "config.json", config.dump(2) + "\n");
  return family_name;
}

}  // namespace hymba
