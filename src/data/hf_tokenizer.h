// Hugging Face tokenizer.json with a BPE model:
//   added tokens -> normalizer -> added tokens -> pre-tokenizer -> BPE;  decoder;  post-processor (bos, eos)
// encode() is Python's encode(text, add_special_tokens=False).ids, decode() its decode(ids). Truncation and padding
// sections are left aside: the caller decides about lengths.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "data/tokenizer.h"

namespace hymba {

// What stands beside a tokenizer.json, in tokenizer_config.json. Without one, the ids of the post-processor, else those
// of usual names ("</s>", "<|endoftext|>" ...) count.
struct SpecialNames {
  bool known = false;    // there was such a file
  std::string bos, eos;  // "": none
  int adds_bos = -1;     // add_bos_token: 0, 1, or -1: as the post-processor does
};
SpecialNames read_special_names(const std::filesystem::path& tokenizer_config);

// `name` and errors name the file. UserError for JSON that is no tokenizer, for parts that are not known and for ids
// that contradict each other.
std::unique_ptr<Tokenizer> parse_hf_tokenizer(std::string_view json, const std::string& name,
                                              const SpecialNames& names = {});

// GPT-2's older pair of files: vocab.json (or encoder.json) and merges.txt, byte level.
std::unique_ptr<Tokenizer> parse_gpt2_tokenizer(std::string_view vocab_json, std::string_view merges,
                                                const std::string& name);

}  // namespace hymba
