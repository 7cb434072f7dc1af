// SentencePiece's FILE.model, llama2.c's tokenizer FILE.bin, and what stands beside a FILE.model. The first byte chooses.
#include <sstream>

#include "data/llama2c_tokenizer.h"
#include "data/sentencepiece_tokenizer.h"
#include "tests/fuzz/fuzz.h"

namespace {

std::string piece(const std::string& text, float score, int type) {  // a field of the model's protocol buffer
  std::string body = "\x0a" + std::string(1, static_cast<char>(text.size())) + text + "\x15";
  body.append(reinterpret_cast<const char*>(&score), 4);
  body += std::string("\x18") + static_cast<char>(type);
  return "\x0a" + std::string(1, static_cast<char>(body.size())) + body;
}

std::string model() {
  std::string bytes = piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3);
  for (const char* text : {"\xe2\x96\x81", "a", "b", "ab", "\xe2\x96\x81""a"}) bytes += piece(text, -static_cast<float>(bytes.size()), 1);
  return bytes + std::string("\x12\x02\x18\x02", 4);  // trainer_spec { model_type: BPE }
}

std::string exported() {
  std::string bytes("\x05\0\0\0", 4);
  for (const std::string text : {"<unk>", "\n<s>\n", "\n</s>\n", " ", "a", "b", "ab"}) {
    const float score = -static_cast<float>(bytes.size());
    const auto length = static_cast<std::int32_t>(text.size());
    bytes.append(reinterpret_cast<const char*>(&score), 4);
    bytes.append(reinterpret_cast<const char*>(&length), 4);
    bytes += text;
  }
  return bytes;
}

void use(const hymba::Tokenizer& tokenizer) {
  auto ids = tokenizer.encode_with_special("ab a \xc3\xb6 \xff b");
  ids.push_back(1 << 30);
  ids.push_back(-1);
  tokenizer.decode(ids);
}

}  // namespace

void read_fuzzed(const std::string& bytes) {
  if (bytes.empty()) return;
  const std::string file = bytes.substr(1);
  if (bytes[0] % 3 == 0) return use(*hymba::parse_sentencepiece(file, "tokenizer.model"));
  if (bytes[0] % 3 == 1) return use(*hymba::parse_llama2c_tokenizer(file, "tokenizer.bin"));
  hymba::fuzz::write_scratch("tokenizer.model", model());
  hymba::fuzz::write_scratch("added_tokens.json", file);
  hymba::fuzz::write_scratch("tokenizer_config.json", file);
  use(*hymba::open_sentencepiece_folder(hymba::fuzz::scratch() / "tokenizer.model"));
}

std::vector<std::string> make_seeds() {
  return {std::string(1, '\0') + model(), "\x01" + exported(), "\x02{\"<pad>\": 8}", "\x02{\"added_tokens_decoder\": {\"8\": {\"content\": \"<pad>\", \"special\": true}}}"};
}
