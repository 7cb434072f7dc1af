// Our models as Hugging Face folders, so that Python tools read them.
#pragma once

#include <filesystem>
#include <string>

#include "exchange/open_model.h"

namespace hymba {

// Writes config.json, model.safetensors (dtype fp32, bf16 or fp16) and the tokenizer's file into a new folder; returns
// the family whose layout it is: hymba, llama, mistral, mamba or mamba2. Reading it back gives the same model, in fp32
// bit for bit. UserError, with the key that stands in the way, for a design that no layout can express.
std::string export_hf(const LoadedModel& loaded, const std::filesystem::path& folder, const std::string& dtype);

}  // namespace hymba
