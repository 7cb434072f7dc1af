// A tokenizer over a closed list of words: one word of text = one id. Ids 0-3 are <pad>, <bos>, <eos>, <unk>.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/tokenizer.h"

namespace hymba::data {

class WordTokenizer final : public Tokenizer {
 public:
  static constexpr std::int32_t kPad = 0, kBos = 1, kEos = 2, kUnk = 3;
  enum class Unknown { kReplace, kError };  // a word outside the list: <unk>, or a UserError naming it

  // `words`: without the special ones; a repeated word keeps its first id.
  explicit WordTokenizer(const std::vector<std::string>& words, Unknown unknown = Unknown::kReplace);

  std::string name() const override { return "words"; }
  std::int32_t vocab_size() const override { return static_cast<std::int32_t>(words_.size()); }
  std::int32_t bos() const override { return kBos; }
  std::int32_t eos() const override { return kEos; }
  std::vector<std::int32_t> encode(std::string_view text) const override;
  void encode_to(std::string_view text, std::vector<std::int32_t>& out) const;  // appends
  std::string decode(std::span<const std::int32_t> ids) const override;
  std::uint64_t hash() const override { return hash_; }

  std::int32_t id(std::string_view word) const;  // kUnk if absent
  const std::vector<std::string>& words() const { return words_; }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  Unknown unknown_;
  std::vector<std::string> words_;
  std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>> ids_;
  std::uint64_t hash_ = 0;
};

}  // namespace hymba::data
