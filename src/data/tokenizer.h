// Tokenizers: text <-> token ids. One factory for bytes, SentencePiece, Hugging Face's tokenizer.json and llama2.c's
// .bin; the synthetic world brings its own word tokenizer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hymba {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::string name() const = 0;
  // Number of ids, special ones included: every id lies in [0, vocab_size()).
  virtual std::int32_t vocab_size() const = 0;
  virtual std::int32_t bos() const = 0;  // -1: none, or texts of this tokenizer do not begin with it (GPT-2)
  virtual std::int32_t eos() const = 0;  // -1: the vocabulary has none
  // Never adds bos or eos.
  virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;
  // The ids with what the tokenizer puts around a text by itself: bos in front, unless a tokenizer.json says otherwise.
  virtual std::vector<std::int32_t> encode_with_special(std::string_view text) const;
  // Special ids and ids out of range give no text.
  virtual std::string decode(std::span<const std::int32_t> ids) const = 0;
  // Of kind and content: two tokenizers with one hash give the same ids (a key of the token cache).
  virtual std::uint64_t hash() const = 0;
};

// spec: "bytes" (ids 0-255 are the bytes, bos 256, eos 257, pad 258), FILE.model (SentencePiece), FILE.json (Hugging
// Face's tokenizer.json), FILE.bin (llama2.c), or a model's folder that has one of them or GPT-2's vocab.json and
// merges.txt. Any other extension is taken for SentencePiece.
// UserError for a spec that is none of these, an absent file and a corrupt one.
std::unique_ptr<Tokenizer> open_tokenizer(const std::string& spec);

// The files of a folder's tokenizer that open_tokenizer(folder) begins from: tokenizer.json, else SentencePiece's *.model,
// else GPT-2's vocab.json and merges.txt, else llama2.c's tok*.bin. Empty: the folder has none.
std::vector<std::filesystem::path> tokenizer_files(const std::filesystem::path& folder);

// Trains a SentencePiece BPE model with byte fallback and split digits on text files, one sentence a line, and writes
// it to `model_path` (ids: unk 0, bos 1, eos 2). UserError where the text is too small for `vocab_size`.
void train_sentencepiece(const std::vector<std::filesystem::path>& text_files, std::int32_t vocab_size,
                         const std::filesystem::path& model_path);

}  // namespace hymba
