// llama2.c's tokenizer FILE.bin: int32 longest token, then for each id float32 score, int32 length, bytes.
#pragma once

#include <memory>
#include <string>

#include "data/tokenizer.h"

namespace hymba {

// `bytes`: the file; `name` names it in errors. UserError for a file that is cut short or has other content.
std::unique_ptr<Tokenizer> parse_llama2c_tokenizer(std::string_view bytes, const std::string& name);

}  // namespace hymba
