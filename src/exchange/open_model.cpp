#include "exchange/open_model.h"

#include "base/error.h"
#include "data/tokenizer.h"
#include "exchange/hf_folder.h"
#include "exchange/llama2c.h"
#include "exchange/stored_weights.h"

namespace hymba {
namespace fs = std::filesystem;
namespace {

bool is_checkpoint(const fs::path& path) { return fs::exists(path / "state.json") || !newest_checkpoint(path).empty(); }

// Tokens that the model was made for, as the harness finds them; texts are cut to them.
std::int64_t longest_text(const fs::path& path) {
  const HfConfig config(path);
  for (const char* key : {"n_positions", "max_position_embeddings", "n_ctx"}) {
    if (config.has(key)) return config.whole(key);
  }
  return 2048;
}

LoadedModel stored_model(Design design, const fs::path& folder, std::unique_ptr<LanguageModel> model) {
  LoadedModel loaded{std::move(design), {}, std::move(model)};
  loaded.state.design = loaded.design.name();
  loaded.state.size = loaded.design.size();
  loaded.state.title = loaded.design.title;
  loaded.state.group = loaded.design.group;
  loaded.state.config_hash = loaded.design.hash();
  if (!tokenizer_files(folder).empty()) loaded.state.tokenizer = fs::absolute(folder).lexically_normal().string();
  return loaded;
}

[[noreturn]] void no_model(const fs::path& path) {
  require(fs::exists(path),
          "{}: no such model; expected a run's folder, a checkpoint, a Hugging Face folder or a llama2.c FILE.bin",
          path.string());
  user_error(
      "{}: no model here: expected config.json with *.safetensors (Hugging Face), state.json with model.safetensors (a "
      "checkpoint), "
      "or step-* folders (a run)",
      path.string());
}

}  // namespace

ModelKind model_kind(const fs::path& path) {
  if (fs::is_directory(path)) {
    if (is_checkpoint(path)) return ModelKind::kCheckpoint;
    return fs::exists(path / "config.json") ? ModelKind::kHuggingFace : ModelKind::kNone;
  }
  if (!fs::is_regular_file(path)) return ModelKind::kNone;
  return path.extension() == ".json"  ? ModelKind::kHuggingFace
         : path.extension() == ".bin" ? ModelKind::kLlama2c
                                      : ModelKind::kNone;
}

Design read_model_design(const fs::path& path) {
  switch (model_kind(path)) {
    case ModelKind::kCheckpoint:
      return read_checkpoint_design(find_checkpoint(path));
    case ModelKind::kHuggingFace:
      return read_hf_design(path);
    case ModelKind::kLlama2c:
      return read_llama2c_design(path);
    case ModelKind::kNone:
      break;
  }
  no_model(path);
}

namespace {

LoadedModel load(const fs::path& path, bool keep_16_bit) {
  switch (model_kind(path)) {
    case ModelKind::kCheckpoint:
      return load_checkpoint(path);
    case ModelKind::kHuggingFace: {
      const fs::path folder = fs::is_directory(path) ? path : path.parent_path();
      Design design = read_hf_design(path);
      auto model = read_hf_model(folder, design, keep_16_bit);
      auto loaded = stored_model(std::move(design), folder, std::move(model));
      loaded.state.extra["max_length"] = longest_text(path);
      return loaded;
    }
    case ModelKind::kLlama2c: {
      Design design = read_llama2c_design(path);
      auto model = read_llama2c_model(path, design);
      auto loaded = stored_model(std::move(design), path.parent_path(), std::move(model));
      loaded.state.extra["max_length"] = llama2c_length(path);
      return loaded;
    }
    case ModelKind::kNone:
      break;
  }
  no_model(path);
}

}  // namespace

LoadedModel load_model(const fs::path& path) { return load(path, false); }
LoadedModel load_model_as_stored(const fs::path& path) { return load(path, true); }

void require_tokenizer_fits(const LoadedModel& loaded, std::int64_t tokenizer_ids, const std::string& tokenizer,
                            const std::string& model) {
  const std::int64_t ids = loaded.model->config().vocab;
  require(tokenizer_ids <= ids, "{}: the model has {} ids, its tokenizer {} has {}: this is another model's tokenizer",
          model, ids, tokenizer, tokenizer_ids);
}

}  // namespace hymba
