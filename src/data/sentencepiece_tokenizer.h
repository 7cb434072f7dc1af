// SentencePiece FILE.model, by its authors' library: normalisation, dummy prefix, user-defined symbols and byte
// fallback are as the file says.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/added_tokens.h"
#include "data/tokenizer.h"

namespace hymba {

// `model`: the bytes of the file; `name` names it in errors. UserError for bytes that are no model.
// `added`: tokens besides those of the model, found before it sees the text.
std::unique_ptr<Tokenizer> parse_sentencepiece(std::string_view model, const std::string& name,
                                               const std::vector<AddedToken>& added = {});

// The model with what stands beside it: added_tokens.json ({text: id}) or tokenizer_config.json's added_tokens_decoder.
// Tokens that the model has itself are left to it.
std::unique_ptr<Tokenizer> open_sentencepiece_folder(const std::filesystem::path& model);

}  // namespace hymba
