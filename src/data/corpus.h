// Corpora: training text, tokenised once into a cache file and memory-mapped from then on.
//
// A path is a file or a folder (walked in name order; hidden files and unknown extensions are skipped). Kinds of file:
//   *.txt *.raw *.md *.text    plain text, one document a file; a line `<|endoftext|>` starts a new document
//   *.jsonl *.ndjson           one document a line, in the field "text" (or "content", "context", or `text_field`)
//   *.bin                      token ids: our own cache file, or raw little-endian ids whose sidecar FILE.bin.json says
//                              {"dtype": "uint16" | "uint32", "vocab_size": N}; taken as one document, as it is
// Every other document becomes bos + ids + eos, as far as the tokenizer has them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "data/tokenizer.h"

namespace hymba {

struct CorpusOptions {
  std::vector<std::filesystem::path> paths;
  std::filesystem::path cache_folder;  // empty: default_cache_folder()
  std::string text_field;              // of JSON lines; empty: the first present of text, content, context
  double validation_fraction = 0.05;
  std::function<void(double done_bytes, double total_bytes)> progress;  // may be empty
};

// $XDG_CACHE_HOME/hymba, else ~/.cache/hymba, else the system's folder for temporary files.
std::filesystem::path default_cache_folder();

struct TokenRange {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
};

class TokenCorpus {
 public:
  // Tokenises, or maps the cache file of an earlier call with the same files (path, size, time) and tokenizer.
  // UserError for a wrong path, a binary, empty or broken file, and ids outside the vocabulary.
  static TokenCorpus open(const CorpusOptions& options, const Tokenizer& tokenizer);

  std::int64_t size() const { return tokens_; }
  std::int32_t operator[](std::int64_t i) const { return width_ == 2 ? at16_[i] : static_cast<std::int32_t>(at32_[i]); }
  // Copies tokens [begin, begin + out.size()).
  void window(std::int64_t begin, std::span<std::int32_t> out) const;

  std::int64_t documents() const { return documents_; }
  TokenRange document(std::int64_t i) const;
  // The last documents that hold `validation_fraction` of the tokens; cut inside a document where one is too long.
  TokenRange train() const { return {0, split_}; }
  TokenRange validation() const { return {split_, tokens_}; }

  std::uint64_t hash() const { return key_; }  // of the files and the tokenizer
  const std::filesystem::path& cache_file() const { return cache_file_; }
  bool from_cache() const { return from_cache_; }
  const std::vector<std::string>& notes() const { return notes_; }  // skipped files, repaired text

 private:
  TokenCorpus() = default;
  bool map(const std::filesystem::path& file, std::uint64_t key);
  void choose_split(double fraction);

  std::unique_ptr<MappedFile> file_;
  const std::uint16_t* at16_ = nullptr;
  const std::uint32_t* at32_ = nullptr;
  const std::uint64_t* document_ends_ = nullptr;
  int width_ = 2;
  std::int64_t tokens_ = 0, documents_ = 0, split_ = 0;
  std::uint64_t key_ = 0;
  bool from_cache_ = false;
  std::filesystem::path cache_file_;
  std::vector<std::string> notes_;
};

}  // namespace hymba
