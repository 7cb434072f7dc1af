#include "data/llama2c_tokenizer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "base/error.h"
#include "base/rng.h"
#include "data/bpe.h"
#include "data/utf8.h"

namespace hymba {

namespace {

// The layout that llama2.c takes for granted: unk, bos, eos, then the 256 bytes.
constexpr std::int32_t kBos = 1, kEos = 2, kFirstByte = 3, kFirstPiece = kFirstByte + 256;
constexpr std::int32_t kLongestToken = 4096;  // bytes; real ones stay below 200

// A SentencePiece BPE vocabulary with scores instead of merges: the pair whose union scores highest merges first.
// The file has spaces for U+2581 already, and says nothing about the dummy prefix, which Llama models have.
class Llama2cTokenizer final : public Tokenizer {
 public:
  Llama2cTokenizer(std::string_view bytes, std::string name);
  std::string name() const override { return name_; }
  std::int32_t vocab_size() const override { return vocabulary_.size(); }
  std::int32_t bos() const override { return kBos; }
  std::int32_t eos() const override { return kEos; }
  std::uint64_t hash() const override { return hash_; }
  std::vector<std::int32_t> encode(std::string_view text) const override;
  std::string decode(std::span<const std::int32_t> ids) const override;

 private:
  std::vector<float> read(std::string_view bytes);
  void build_pairs(const std::vector<float>& scores);

  std::string name_;
  std::uint64_t hash_;
  Vocabulary vocabulary_;  // of specials and bytes the texts cannot be found
  PairTable table_;
  std::size_t longest_ = 1;
};

Llama2cTokenizer::Llama2cTokenizer(std::string_view bytes, std::string name)
    : name_(std::move(name)), hash_(hash64(bytes, hash64("tokenizer llama2.c"))) {
  build_pairs(read(bytes));
}

// Fills the vocabulary and returns the scores.
std::vector<float> Llama2cTokenizer::read(std::string_view bytes) {
  std::int32_t longest = 0;
  require(bytes.size() >= 4, "tokenizer {}: expected a llama2.c tokenizer, found a file of {} bytes", name_,
          bytes.size());
  std::memcpy(&longest, bytes.data(), 4);
  require(longest > 0 && longest <= kLongestToken,
          "tokenizer {}: expected a llama2.c tokenizer with tokens of 1 to {} bytes, "
          "found a first number of {}; is it a model's .bin?",
          name_, kLongestToken, longest);
  std::vector<float> scores;
  for (std::size_t at = 4; at < bytes.size();) {
    float score = 0;
    std::int32_t length = 0;
    const auto id = static_cast<std::int32_t>(scores.size());
    require(bytes.size() - at >= 8, "tokenizer {}: token {} is cut off at byte {}", name_, id, at);
    std::memcpy(&score, bytes.data() + at, 4);
    std::memcpy(&length, bytes.data() + at + 4, 4);
    at += 8;
    require(
        length >= 0 && length <= longest && static_cast<std::size_t>(length) <= bytes.size() - at && !std::isnan(score),
        "tokenizer {}: token {} at byte {}: expected a length of 0 to {} inside the file and a score, found {} and {}",
        name_, id, at - 8, longest, length, score);
    const std::string text(bytes.substr(at, static_cast<std::size_t>(length)));
    at += static_cast<std::size_t>(length);
    // Specials and bytes are no pieces of text: "<s>" in a text is three characters. The NUL keeps them from being
    // found.
    vocabulary_.add(id < kFirstPiece ? std::string(1, '\0') + std::to_string(id) : text, id);
    if (id >= kFirstPiece) longest_ = std::max(longest_, text.size());
    scores.push_back(score);
  }
  require(static_cast<std::int32_t>(scores.size()) >= kFirstPiece,
          "tokenizer {}: expected at least {} ids (3 special ones and "
          "256 bytes), found {}",
          name_, kFirstPiece, scores.size());
  return scores;
}

// All ways to put a token together from two others; the rank is the score's place from the highest on.
void Llama2cTokenizer::build_pairs(const std::vector<float>& scores) {
  std::map<float, std::int32_t, std::greater<>> ranks;
  for (const float score : scores) ranks[score] = 0;
  std::int32_t rank = 0;
  for (auto& [score, place] : ranks) place = rank++;
  for (std::int32_t id = kFirstPiece; id < vocabulary_.size(); ++id) {
    const std::string& text = *vocabulary_.text(id);
    if (vocabulary_.find(text) != id) continue;  // a text given twice: its first id
    for (std::size_t cut = 1; cut < text.size(); ++cut) {
      const std::int32_t left = vocabulary_.find(std::string_view(text).substr(0, cut));
      const std::int32_t right = left < 0 ? -1 : vocabulary_.find(std::string_view(text).substr(cut));
      if (right >= kFirstPiece && left >= kFirstPiece)
        table_.set(left, right, {ranks[scores[static_cast<std::size_t>(id)]], id});
    }
  }
}

std::vector<std::int32_t> Llama2cTokenizer::encode(std::string_view text) const {
  if (text.empty()) return {};
  const std::string whole = " " + std::string(text);
  std::vector<std::int32_t> ids;
  ids.reserve(whole.size());
  for (std::size_t at = 0; at < whole.size();) {
    const std::size_t begin = at;
    next_code_point(whole, at);
    const std::string_view character = std::string_view(whole).substr(begin, at - begin);
    if (const std::int32_t id = vocabulary_.find(character); id >= kFirstPiece) {
      ids.push_back(id);
    } else {  // also for malformed bytes, which so survive
      for (const char c : character) ids.push_back(kFirstByte + static_cast<unsigned char>(c));
    }
  }
  merge_pairs(table_, ids);
  return ids;
}

// The dummy prefix of the first piece goes away again.
std::string Llama2cTokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  bool first = true;
  for (const std::int32_t id : ids) {
    if (id < kFirstByte || id >= vocab_size()) continue;
    if (id < kFirstPiece) {
      text += static_cast<char>(id - kFirstByte);
    } else {
      const std::string& piece = *vocabulary_.text(id);
      text += first && piece.starts_with(' ') ? piece.substr(1) : piece;
    }
    first = false;
  }
  return text;
}

}  // namespace

std::unique_ptr<Tokenizer> parse_llama2c_tokenizer(std::string_view bytes, const std::string& name) {
  return std::make_unique<Llama2cTokenizer>(bytes, name);
}

}  // namespace hymba
