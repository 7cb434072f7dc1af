// Checkpoints of karpathy's llama2.c, the old (v0) .bin layout: a header of 7 int32 (dim, hidden_dim, layers, heads,
// kv_heads, vocab, seq_len; a negative vocab means an untied classifier), then fp32 weights kind by kind, layer by
// layer.
#pragma once

#include <filesystem>
#include <memory>

#include "model/language_model.h"

namespace hymba {

// UserError for sizes that contradict each other or the file's length.
Design read_llama2c_design(const std::filesystem::path& path);
std::int64_t llama2c_length(const std::filesystem::path& path);  // tokens of a text at most
// Rotary pairs are neighbours (2i, 2i + 1) there and halves (i, i + P/2) here, so rows of wq and wk are put in our
// order.
std::unique_ptr<LanguageModel> read_llama2c_model(const std::filesystem::path& path, const Design& design);

}  // namespace hymba
