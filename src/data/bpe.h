// Byte-pair encoding: a vocabulary and ranked merges, in O(n log n) with a heap over a linked list.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace hymba {

struct Merge {
  std::int32_t rank = 0;  // lower goes first
  std::int32_t id = -1;   // of the two together; -1: the pair does not merge
};

// (left id, right id) -> Merge, by open addressing: the hottest look-up of an encoder.
class PairTable {
 public:
  void reserve(std::size_t pairs);
  void set(std::int32_t left, std::int32_t right, Merge merge);  // the last one given counts
  Merge find(std::int32_t left, std::int32_t right) const;

 private:
  struct Slot {
    std::uint64_t key = ~std::uint64_t{0};  // no pair: ids are not negative
    Merge merge;
  };
  std::size_t slot_of(std::uint64_t key) const;
  std::vector<Slot> slots_;
  std::size_t used_ = 0;
};

// Merges neighbours, the lowest rank first and of equal ranks the leftmost pair, until no pair has a merge.
void merge_pairs(const PairTable& table, std::vector<std::int32_t>& ids);

// Text -> id and back. Ids may have gaps.
class Vocabulary {
 public:
  void add(std::string text, std::int32_t id);     // a text that is there already keeps its id
  std::int32_t find(std::string_view text) const;  // -1: not there
  const std::string* text(std::int32_t id) const;  // null: no such id
  std::int32_t size() const { return static_cast<std::int32_t>(texts_.size()); }  // largest id + 1

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>> ids_;
  std::vector<std::optional<std::string>> texts_;
};

// The model "BPE" of tokenizer.json.
struct BpeOptions {
  std::string unknown;                        // token for characters outside the vocabulary; "": they are left out
  std::string continuing_prefix, end_suffix;  // of characters that do not begin a word; of the one that ends it
  bool byte_fallback = false;                 // characters outside the vocabulary become <0xNN> ...
  bool fuse_unknown = false;                  // neighbouring unknown characters are one token
  bool ignore_merges = false;                 // a word of the vocabulary is one token whatever the merges say
};

class Bpe {
 public:
  using TextPair = std::pair<std::string, std::string>;
  // UserError naming `where` for a merge whose parts or result are not in the vocabulary.
  Bpe(Vocabulary vocabulary, std::span<const TextPair> merges, BpeOptions options, const std::string& where);

  // Appends the ids of one word (a piece between the cuts of the pre-tokenizer).
  void encode(std::string_view word, std::vector<std::int32_t>& out) const;
  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  void encode_piece(std::string_view piece, std::vector<std::int32_t>& out) const;
  std::vector<std::int32_t> symbols(std::string_view word) const;
  bool from_cache(std::string_view word, std::vector<std::int32_t>& out) const;
  void to_cache(std::string_view word, std::span<const std::int32_t> ids) const;

  Vocabulary vocabulary_;
  BpeOptions options_;
  PairTable table_;
  std::int32_t unknown_ = -1;
  bool cut_before_mark_ = false;  // no merge goes across "letter, U+2581": what stands on its sides is encoded apart
  std::vector<std::int32_t> bytes_;  // ids of <0x00> ... <0xFF>, -1 where absent

  // Words come again and again. Where another thread holds the cache, a word is simply encoded.
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  mutable std::mutex mutex_;
  mutable std::unordered_map<std::string, std::vector<std::int32_t>, Hash, std::equal_to<>> cache_;
};

}  // namespace hymba
