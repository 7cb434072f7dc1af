#include "data/word_tokenizer.h"

#include "base/error.h"
#include "base/rng.h"

namespace hymba::data {

WordTokenizer::WordTokenizer(const std::vector<std::string>& words, Unknown unknown)
    : unknown_(unknown), words_{"<pad>", "<bos>", "<eos>", "<unk>"} {
  for (std::size_t i = 0; i < words_.size(); ++i) ids_.emplace(words_[i], static_cast<std::int32_t>(i));
  for (const auto& word : words) {
    require(!word.empty() && word.find(' ') == std::string::npos, "word tokenizer: '{}' is not one word", word);
    if (ids_.emplace(word, static_cast<std::int32_t>(words_.size())).second) words_.push_back(word);
  }
  hash_ = hash64("words");
  for (const auto& word : words_) hash_ = hash64(word + '\n', hash_);
}

std::int32_t WordTokenizer::id(std::string_view word) const {
  const auto found = ids_.find(word);
  return found == ids_.end() ? kUnk : found->second;
}

void WordTokenizer::encode_to(std::string_view text, std::vector<std::int32_t>& out) const {
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t space = text.find(' ', begin);
    const std::size_t end = space == std::string_view::npos ? text.size() : space;
    if (end > begin) {
      const auto word = text.substr(begin, end - begin);
      const auto token = id(word);
      require(token != kUnk || unknown_ == Unknown::kReplace, "word tokenizer: '{}' is not one of the {} words", word,
              words_.size());
      out.push_back(token);
    }
    begin = end + 1;
  }
}

std::vector<std::int32_t> WordTokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> out;
  encode_to(text, out);
  return out;
}

std::string WordTokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string out;
  for (const auto token : ids) {
    if (token <= kUnk || token >= vocab_size()) continue;
    if (!out.empty()) out += ' ';
    out += words_[static_cast<std::size_t>(token)];
  }
  return out;
}

}  // namespace hymba::data
