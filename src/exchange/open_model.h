// The one place that turns a MODEL argument into a model: a run or checkpoint of ours, a Hugging Face folder, or a
// llama2.c .bin file.
#pragma once

#include <filesystem>

#include "train/checkpoint.h"

namespace hymba {

enum class ModelKind { kNone, kCheckpoint, kHuggingFace, kLlama2c };

// What lies at `path`; kNone: nothing that is a model.
ModelKind model_kind(const std::filesystem::path& path);

// Its design alone, from config.json or the checkpoint's design.ini: weights need not be there.
Design read_model_design(const std::filesystem::path& path);

// Design, state and weights. state.tokenizer is the folder where it has a tokenizer, "" where it has none.
LoadedModel load_model(const std::filesystem::path& path);

// UserError unless every id of the tokenizer is an id of the model.
void require_tokenizer_fits(const LoadedModel& loaded, std::int64_t tokenizer_ids, const std::string& tokenizer,
                            const std::string& model);

}  // namespace hymba
