#include "data/hf_tokenizer.h"

#include "base/files.h"
#include "tests/fuzz/fuzz.h"

namespace {

const std::string kText = "Hello <s> w\xc3\xb6rld  12345\n\xe4\xbd\xa0\xe5\xa5\xbd \xff it's";

void use(const hymba::Tokenizer& tokenizer) {
  auto ids = tokenizer.encode_with_special(kText);
  ids.push_back(1 << 30);
  ids.push_back(-7);
  tokenizer.decode(ids);
  tokenizer.vocab_size();
}

}  // namespace

// Up to a zero byte: tokenizer.json; behind it: tokenizer_config.json. Without one: also GPT-2's merges.
void read_fuzzed(const std::string& bytes) {
  const std::size_t zero = bytes.find('\0');
  hymba::SpecialNames names;
  if (zero != std::string::npos) {
    const auto path = hymba::fuzz::write_scratch("tokenizer_config.json", bytes.substr(zero + 1));
    try {
      names = hymba::read_special_names(path);
    } catch (const hymba::Error&) {
    }
  } else {
    try {
      use(*hymba::parse_gpt2_tokenizer(R"({"a":0,"b":1,"ab":2,"H":3,"e":4})", bytes, "vocab.json"));
    } catch (const hymba::Error&) {
    }
  }
  use(*hymba::parse_hf_tokenizer(bytes.substr(0, zero), "tokenizer.json", names));
}

std::vector<std::string> make_seeds() {
  std::vector<std::string> seeds = {"a b\nH e\n#version: 0.2\n", R"({"model":{"type":"BPE","vocab":{"a":0},"merges":[]}})"};
  seeds.push_back(seeds.back() + std::string(1, '\0') + R"({"bos_token":"<s>","eos_token":{"content":"</s>"},"add_bos_token":true})");
  const std::string small = R"json({"version":"1.0","added_tokens":[{"id":3,"content":"<s>","special":true,"lstrip":true,"rstrip":false,"single_word":true,"normalized":false}],
    "normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Prepend","prepend":"_"},{"type":"Replace","pattern":{"String":" "},"content":"_"}]},
    "pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"\\p{N}{1,3}| ?[^\\s\\p{L}]+|\\s+(?!\\S)"},"behavior":"Isolated","invert":false},
    {"type":"ByteLevel","add_prefix_space":false,"use_regex":true}]},
    "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"pair":[],
    "special_tokens":{"<s>":{"id":"<s>","ids":[3],"tokens":["<s>"]}}},
    "decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"_"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},
    "model":{"type":"BPE","unk_token":"<unk>","byte_fallback":true,"fuse_unk":true,"ignore_merges":true,"vocab":{"<unk>":0,"a":1,"b":2,"ab":4,"<0x41>":5},"merges":["a b",["a","b"]]}})json";
  seeds.push_back(small);
  return seeds;
}
