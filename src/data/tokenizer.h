// Tokenizers: text <-> token ids. Bytes and SentencePiece here; the synthetic world brings its own word tokenizer.
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
  virtual std::int32_t bos() const = 0;  // -1: the vocabulary has none
  virtual std::int32_t eos() const = 0;  // -1: the vocabulary has none
  // Never adds bos or eos.
  virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;
  // Special ids and ids out of range give no text.
  virtual std::string decode(std::span<const std::int32_t> ids) const = 0;
  // Of kind and content: two tokenizers with one hash give the same ids (a key of the token cache).
  virtual std::uint64_t hash() const = 0;
};

// spec: "bytes" (ids 0-255 are the bytes, bos 256, eos 257, pad 258) or the path of a SentencePiece FILE.model.
// UserError for a spec that is neither, an absent file and a corrupt one.
std::unique_ptr<Tokenizer> open_tokenizer(const std::string& spec);

// Trains a SentencePiece BPE model with byte fallback and split digits on text files, one sentence a line, and writes
// it to `model_path` (ids: unk 0, bos 1, eos 2). UserError where the text is too small for `vocab_size`.
void train_sentencepiece(const std::vector<std::filesystem::path>& text_files, std::int32_t vocab_size,
                         const std::filesystem::path& model_path);

}  // namespace hymba
