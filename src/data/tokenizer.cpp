#include "data/tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/rng.h"
#include "base/text.h"
#include "data/hf_tokenizer.h"
#include "data/llama2c_tokenizer.h"
#include "data/sentencepiece_tokenizer.h"
#include "data/utf8.h"

namespace hymba {

namespace fs = std::filesystem;

namespace {

// One id a byte: no training, no unknown text, and the smallest possible vocabulary.
class ByteTokenizer final : public Tokenizer {
 public:
  std::string name() const override { return "bytes"; }
  std::int32_t vocab_size() const override { return 259; }  // 256 bytes, bos, eos, pad
  std::int32_t bos() const override { return 256; }
  std::int32_t eos() const override { return 257; }

  std::vector<std::int32_t> encode(std::string_view text) const override {
    std::vector<std::int32_t> ids;
    ids.reserve(text.size());
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }

  std::string decode(std::span<const std::int32_t> ids) const override {
    std::string text;
    text.reserve(ids.size());
    for (const std::int32_t id : ids) {
      if (id >= 0 && id < 256) text += static_cast<char>(id);
    }
    return text;
  }

  std::uint64_t hash() const override { return hash64("tokenizer bytes 259"); }
};

std::unique_ptr<Tokenizer> open_gpt2(const fs::path& vocab, const fs::path& merges) {
  return parse_gpt2_tokenizer(read_file(vocab), read_file(merges), vocab.string());
}

// A file by its extension.
std::unique_ptr<Tokenizer> open_file(const fs::path& path) {
  const std::string extension = to_lower(path.extension().string());
  const std::string bytes = read_file(path);
  if (extension == ".bin") return parse_llama2c_tokenizer(bytes, path.string());
  if (extension == ".json")
    return parse_hf_tokenizer(bytes, path.string(), read_special_names(path.parent_path() / "tokenizer_config.json"));
  return parse_sentencepiece(bytes, path.string());
}

// The only file of the folder with this end of its name, or "".
fs::path only_file(const fs::path& folder, std::string_view begin, std::string_view end) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_regular_file() && name.starts_with(begin) && name.ends_with(end)) found.push_back(entry.path());
  }
  return found.size() == 1 ? found[0] : fs::path();
}

std::unique_ptr<Tokenizer> open_folder(const fs::path& folder) {
  const auto files = tokenizer_files(folder);
  require(!files.empty(),
          "tokenizer {}: expected tokenizer.json, tokenizer.model, vocab.json with merges.txt, or tok*.bin in this folder, "
          "found none",
          folder.string());
  if (files.size() == 2) return open_gpt2(files[0], files[1]);
  return files[0].extension() == ".model" ? open_sentencepiece_folder(files[0]) : open_file(files[0]);
}

}  // namespace

std::vector<std::int32_t> Tokenizer::encode_with_special(std::string_view text) const {
  std::vector<std::int32_t> ids = encode(text);
  if (bos() >= 0) ids.insert(ids.begin(), bos());
  return ids;
}

std::vector<fs::path> tokenizer_files(const fs::path& folder) {
  for (const char* name : {"tokenizer.json", "tokenizer.model"}) {
    if (fs::is_regular_file(folder / name)) return {folder / name};
  }
  if (!fs::is_directory(folder)) return {};
  if (const auto model = only_file(folder, "", ".model"); !model.empty()) return {model};
  const fs::path vocab = only_file(folder, "", "vocab.json"), merges = only_file(folder, "", "merges.txt");
  if (!vocab.empty() && !merges.empty()) return {vocab, merges};
  if (const auto file = only_file(folder, "tok", ".bin"); !file.empty()) return {file};
  return {};
}

std::unique_ptr<Tokenizer> open_tokenizer(const std::string& spec) {
  if (spec == "bytes") return std::make_unique<ByteTokenizer>();
  if (fs::is_directory(spec)) return open_folder(spec);
  require(fs::is_regular_file(spec),
          "tokenizer '{}': expected `bytes`, a FILE.model (SentencePiece), a tokenizer.json (Hugging "
          "Face), a FILE.bin (llama2.c) or a folder with one of them, found no such file",
          spec);
  return open_file(spec);
}

}  // namespace hymba
