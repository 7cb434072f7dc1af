#include "data/tokenizer.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include "base/error.h"
#include "base/files.h"
#include "base/rng.h"
#include "base/text.h"

namespace hymba {

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

class SentencePieceTokenizer final : public Tokenizer {
 public:
  explicit SentencePieceTokenizer(const std::string& path) : path_(path) {
    const std::string model = read_file(path);
    hash_ = hash64(model, hash64("tokenizer sentencepiece"));
    // The library accepts an empty model, and only then fails on use.
    const auto status = processor_.LoadFromSerializedProto(model);
    require(
        !model.empty() && status.ok() && processor_.GetPieceSize() > 0,
        "tokenizer {}: expected a SentencePiece model, found {}; give FILE.model as written by spm_train, or `bytes`",
        path, model.empty() ? std::string("an empty file") : "something else (" + status.ToString() + ")");
  }

  std::string name() const override { return path_; }
  std::int32_t vocab_size() const override { return processor_.GetPieceSize(); }
  std::int32_t bos() const override { return processor_.bos_id(); }
  std::int32_t eos() const override { return processor_.eos_id(); }

  std::vector<std::int32_t> encode(std::string_view text) const override {
    std::vector<int> ids;
    const auto status = processor_.Encode({text.data(), text.size()}, &ids);
    if (!status.ok()) fail("tokenizer {}: cannot encode a text of {} bytes: {}", path_, text.size(), status.ToString());
    return ids;
  }

  // Control ids (bos, eos) would be decoded to nothing, ids out of range would end the program.
  std::string decode(std::span<const std::int32_t> ids) const override {
    std::vector<int> known;
    known.reserve(ids.size());
    for (const std::int32_t id : ids) {
      if (id >= 0 && id < vocab_size() && !processor_.IsControl(id)) known.push_back(id);
    }
    std::string text;
    const auto status = processor_.Decode(known, &text);
    if (!status.ok()) fail("tokenizer {}: cannot decode {} ids: {}", path_, known.size(), status.ToString());
    return text;
  }

  std::uint64_t hash() const override { return hash_; }

 private:
  std::string path_;
  sentencepiece::SentencePieceProcessor processor_;
  std::uint64_t hash_ = 0;
};

}  // namespace

std::unique_ptr<Tokenizer> open_tokenizer(const std::string& spec) {
  if (spec == "bytes") return std::make_unique<ByteTokenizer>();
  require(std::filesystem::is_regular_file(spec),
          "tokenizer '{}': expected `bytes` or the path of a SentencePiece FILE.model, found no such file", spec);
  return std::make_unique<SentencePieceTokenizer>(spec);
}

void train_sentencepiece(const std::vector<std::filesystem::path>& text_files, std::int32_t vocab_size,
                         const std::filesystem::path& model_path) {
  require(!text_files.empty(), "tokenizer training: expected at least one text file, found none");
  require(vocab_size >= 300,
          "tokenizer training: expected a vocabulary of at least 300 (256 bytes and 3 special ids "
          "come first), found {}",
          vocab_size);
  std::vector<std::string> inputs;
  for (const auto& file : text_files) {
    require(std::filesystem::is_regular_file(file), "tokenizer training: {}: no such file", file.string());
    inputs.push_back(file.string());
  }
  if (model_path.has_parent_path()) make_folder(model_path.parent_path());
  // The settings of the Llama tokenizers: identity normalisation, all white space kept, digits one by one.
  const std::unordered_map<std::string, std::string> options = {
      {"input", join(inputs, ",")},
      {"model_prefix", (model_path.parent_path() / model_path.stem()).string()},
      {"vocab_size", std::to_string(vocab_size)},
      {"model_type", "bpe"},
      {"byte_fallback", "true"},
      {"split_digits", "true"},
      {"normalization_rule_name", "identity"},
      {"remove_extra_whitespaces", "false"},
      {"allow_whitespace_only_pieces", "true"},
      {"character_coverage", "0.9995"},
      {"max_sentence_length", "65536"},
      {"num_threads", "2"},
      {"minloglevel", "2"}};
  const auto status = sentencepiece::SentencePieceTrainer::Train(options);
  require(status.ok(), "tokenizer training of {} ids on {} failed: {}; give more text or a smaller vocabulary",
          vocab_size, join(inputs, ", "), status.ToString());
  const auto written = model_path.parent_path() / (model_path.stem().string() + ".model");
  if (written != model_path) std::filesystem::rename(written, model_path);
}

}  // namespace hymba
