#include "exchange/family.h"

#include <algorithm>

#include "base/text.h"
#include "exchange/family_configs.h"
#include "exchange/family_tables.h"
#include "model/language_model.h"

namespace hymba {
namespace {

const std::vector<Family>& families() {
  using namespace family;
  static const std::vector<Family> all = {
      {"hymba", "model.layers.{i}.", kHymba, kHymbaIgnored, hymba_design},
      {"llama", "model.layers.{i}.", kLlama, kLlamaIgnored, llama_design},
      {"mistral", "model.layers.{i}.", kLlama, kLlamaIgnored, llama_design},
      {"qwen2", "model.layers.{i}.", kLlama, kLlamaIgnored, qwen2_design},
      {"mamba", "backbone.layers.{i}.", kMamba, kMambaIgnored, mamba_design},
      {"mamba2", "backbone.layers.{i}.", kMamba2, kMambaIgnored, mamba2_design},
      {"jamba", "model.layers.{i}.", kJamba, kLlamaIgnored, jamba_design},
      {"falcon_h1", "model.layers.{i}.", kFalconH1, kLlamaIgnored, falcon_h1_design},
  };
  return all;
}

}  // namespace

std::vector<std::string> family_names() {
  std::vector<std::string> names;
  for (const auto& family : families()) names.emplace_back(family.name);
  return names;
}

const Family& find_family(const HfConfig& config) {
  for (const auto& family : families()) {
    if (config.family() == family.name) return family;
  }
  static const Family any{"", "", {}, {}, family::attention_design};
  if (family::has_attention_keys(config)) return any;
  config.wrong("model_type",
               "this family is not known; there are {}, and any that names its layers and heads by the usual keys "
               "(num_hidden_layers, hidden_size, num_attention_heads) for its cache",
               join(family_names(), ", "));
}

Design read_hf_design(const std::filesystem::path& path) {
  const HfConfig config(path);
  const Family& family = find_family(config);
  std::filesystem::path folder = std::filesystem::is_directory(path) ? path : path.parent_path();
  std::string name = std::filesystem::absolute(folder).lexically_normal().filename().string();
  if (name.empty()) name = std::filesystem::absolute(folder).lexically_normal().parent_path().filename().string();
  if (!std::filesystem::is_directory(path) && path.filename() != "config.json") name = path.stem().string();
  try {
    Design design(name, "hf", {{config.name(), false, family.design(config)}});
    const LanguageModel shapes(design, 0, /*meta=*/true);  // sizes that contradict each other are found here
    design.title = fmt::format("{} ({})", name, config.family());
    design.group = "Hugging Face";
    return design;
  } catch (const UserError& error) {
    const std::string text = error.what();
    if (starts_with(text, config.name())) throw;
    user_error("{}: {}", config.name(), text);
  }
}

}  // namespace hymba
