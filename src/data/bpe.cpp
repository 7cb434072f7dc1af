#include "data/bpe.h"

#include <algorithm>
#include <queue>

#include "base/error.h"
#include "data/utf8.h"

namespace hymba {

namespace {

constexpr std::size_t kCachedWords = 1 << 16;
constexpr std::size_t kCachedBytes = 64;  // longer words are rare

std::uint64_t key_of(std::int32_t left, std::int32_t right) {
  return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) | static_cast<std::uint32_t>(right);
}

struct Candidate {
  std::int32_t rank, position, id;
  // std::priority_queue gives the largest: the lowest rank, then the leftmost.
  bool operator<(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : position > other.position;
  }
};

constexpr std::string_view kMark = "\u2581";  // a space, in tokenizers with metaspaces

// The next place behind `from` where a mark follows another character, or npos.
std::size_t next_cut(std::string_view text, std::size_t from) {
  for (std::size_t at = text.find(kMark, from + 1); at != std::string_view::npos; at = text.find(kMark, at + kMark.size())) {
    if (!text.substr(0, at).ends_with(kMark)) return at;
  }
  return std::string_view::npos;
}

}  // namespace

void PairTable::reserve(std::size_t pairs) {
  std::size_t size = 16;
  while (size < pairs * 2) size *= 2;
  std::vector<Slot> old = std::move(slots_);
  slots_.assign(size, {});
  for (const auto& slot : old) {
    if (slot.key != Slot{}.key) slots_[slot_of(slot.key)] = slot;
  }
}

// The slot that holds the key, or the free one where it belongs.
std::size_t PairTable::slot_of(std::uint64_t key) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = (key * 0x9E3779B97F4A7C15ULL >> 20) & mask;
  while (slots_[at].key != key && slots_[at].key != Slot{}.key) at = (at + 1) & mask;
  return at;
}

void PairTable::set(std::int32_t left, std::int32_t right, Merge merge) {
  if ((used_ + 1) * 2 > slots_.size()) reserve(std::max<std::size_t>(16, slots_.size()));
  Slot& slot = slots_[slot_of(key_of(left, right))];
  if (slot.key == Slot{}.key) ++used_;
  slot = {key_of(left, right), merge};
}

Merge PairTable::find(std::int32_t left, std::int32_t right) const {
  return slots_.empty() ? Merge{} : slots_[slot_of(key_of(left, right))].merge;
}

void merge_pairs(const PairTable& table, std::vector<std::int32_t>& ids) {
  const auto n = static_cast<std::int32_t>(ids.size());
  if (n < 2) return;
  std::vector<Candidate> candidates;
  candidates.reserve(ids.size());
  for (std::int32_t i = 0; i + 1 < n; ++i) {
    const Merge merge = table.find(ids[static_cast<std::size_t>(i)], ids[static_cast<std::size_t>(i) + 1]);
    if (merge.id >= 0) candidates.push_back({merge.rank, i, merge.id});
  }
  if (candidates.empty()) return;
  std::priority_queue<Candidate> queue(std::less<Candidate>(), std::move(candidates));
  // A merged symbol lives at its left part's place; -1 marks the place that it took in.
  std::vector<std::int32_t> next(ids.size()), previous(ids.size());
  for (std::int32_t i = 0; i < n; ++i) {
    next[static_cast<std::size_t>(i)] = i + 1;
    previous[static_cast<std::size_t>(i)] = i - 1;
  }
  const auto offer = [&](std::int32_t left, std::int32_t right) {
    if (left < 0 || right >= n) return;
    const Merge merge = table.find(ids[static_cast<std::size_t>(left)], ids[static_cast<std::size_t>(right)]);
    if (merge.id >= 0) queue.push({merge.rank, left, merge.id});
  };
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    const auto left = static_cast<std::size_t>(top.position);
    if (ids[left] < 0 || next[left] >= n) continue;
    const auto right = static_cast<std::size_t>(next[left]);
    if (table.find(ids[left], ids[right]).id != top.id) continue;  // its symbols have merged otherwise meanwhile
    ids[left] = top.id;
    ids[right] = -1;
    next[left] = next[right];
    if (next[left] < n) previous[static_cast<std::size_t>(next[left])] = top.position;
    offer(previous[left], top.position);
    offer(top.position, next[left]);
  }
  std::erase(ids, -1);
}

void Vocabulary::add(std::string text, std::int32_t id) {
  const auto at = static_cast<std::size_t>(id);
  if (at >= texts_.size()) texts_.resize(at + 1);
  if (!texts_[at]) texts_[at] = text;
  ids_.emplace(std::move(text), id);
}

std::int32_t Vocabulary::find(std::string_view text) const {
  const auto found = ids_.find(text);
  return found == ids_.end() ? -1 : found->second;
}

const std::string* Vocabulary::text(std::int32_t id) const {
  if (id < 0 || id >= size() || !texts_[static_cast<std::size_t>(id)]) return nullptr;
  return &*texts_[static_cast<std::size_t>(id)];
}

Bpe::Bpe(Vocabulary vocabulary, std::span<const TextPair> merges, BpeOptions options, const std::string& where)
    : vocabulary_(std::move(vocabulary)), options_(std::move(options)) {
  if (!options_.unknown.empty()) {
    unknown_ = vocabulary_.find(options_.unknown);
    require(unknown_ >= 0, "{}: expected its unk_token '{}' in the vocabulary, found none", where, options_.unknown);
  }
  if (options_.byte_fallback) {
    for (int byte = 0; byte < 256; ++byte) bytes_.push_back(vocabulary_.find(fmt::format("<0x{:02X}>", byte)));
  }
  cut_before_mark_ = options_.continuing_prefix.empty() && options_.end_suffix.empty() && !options_.ignore_merges && vocabulary_.find(kMark) >= 0;
  table_.reserve(merges.size() + 1);
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const auto& [left, right] = merges[i];
    // The continuation's mark stands once in the merged text: "a" + "##b" = "ab".
    require(right.size() >= options_.continuing_prefix.size(),
            "{}: merge {} ('{}' '{}'): its right part is shorter than "
            "the prefix of continuations",
            where, i, left, right);
    const std::string whole = left + right.substr(options_.continuing_prefix.size());
    const std::int32_t a = vocabulary_.find(left), b = vocabulary_.find(right), id = vocabulary_.find(whole);
    require(a >= 0 && b >= 0 && id >= 0,
            "{}: merge {} ('{}' '{}'): expected both parts and '{}' in the vocabulary, '{}' "
            "is missing",
            where, i, left, right, whole,
            a < 0   ? left
            : b < 0 ? right
                    : whole);
    table_.set(a, b, {static_cast<std::int32_t>(i), id});
    if (next_cut(whole, 0) != std::string_view::npos) cut_before_mark_ = false;
  }
}

// The characters' ids before any merge. Order and fusing of unknown ones as in Hugging Face's tokenizers: an unknown
// character is written when the next known one comes, bytes of a fallback do not wait for it.
std::vector<std::int32_t> Bpe::symbols(std::string_view word) const {
  std::vector<std::int32_t> ids;
  ids.reserve(word.size());
  bool pending = false;  // an unknown token that is not yet written
  std::string marked;
  for (std::size_t at = 0; at < word.size();) {
    const std::size_t begin = at;
    next_code_point(word, at);
    std::string_view text = word.substr(begin, at - begin);
    if ((begin > 0 && !options_.continuing_prefix.empty()) || (at == word.size() && !options_.end_suffix.empty())) {
      marked = (begin > 0 ? options_.continuing_prefix : "") + std::string(text) +
               (at == word.size() ? options_.end_suffix : "");
      text = marked;
    }
    if (const std::int32_t id = vocabulary_.find(text); id >= 0) {
      if (pending) ids.push_back(unknown_);
      pending = false;
      ids.push_back(id);
      continue;
    }
    const auto byte_id = [&](char c) { return bytes_[static_cast<unsigned char>(c)]; };
    if (options_.byte_fallback && std::all_of(text.begin(), text.end(), [&](char c) { return byte_id(c) >= 0; })) {
      for (const char c : text) ids.push_back(byte_id(c));
      continue;
    }
    if (unknown_ < 0) continue;
    if (pending && !options_.fuse_unknown) ids.push_back(unknown_);
    pending = true;
  }
  if (pending) ids.push_back(unknown_);
  return ids;
}

bool Bpe::from_cache(std::string_view word, std::vector<std::int32_t>& out) const {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return false;
  const auto found = cache_.find(word);
  if (found == cache_.end()) return false;
  out.insert(out.end(), found->second.begin(), found->second.end());
  return true;
}

void Bpe::to_cache(std::string_view word, std::span<const std::int32_t> ids) const {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock() || cache_.size() >= kCachedWords) return;
  cache_.emplace(std::string(word), std::vector<std::int32_t>(ids.begin(), ids.end()));
}

// Tokenizers with metaspaces often come without any cut: a whole text is one word. Where no token has the mark behind
// another character, merges cannot cross that place, and short pieces are found again.
void Bpe::encode(std::string_view word, std::vector<std::int32_t>& out) const {
  std::size_t begin = 0;
  for (std::size_t at = cut_before_mark_ ? next_cut(word, 0) : std::string_view::npos; at != std::string_view::npos; at = next_cut(word, at)) {
    encode_piece(word.substr(begin, at - begin), out);
    begin = at;
  }
  encode_piece(word.substr(begin), out);
}

void Bpe::encode_piece(std::string_view word, std::vector<std::int32_t>& out) const {
  if (word.empty()) return;
  const bool cached = word.size() <= kCachedBytes;
  if (cached && from_cache(word, out)) return;
  std::vector<std::int32_t> ids;
  if (const std::int32_t whole = options_.ignore_merges ? vocabulary_.find(word) : -1; whole >= 0) {
    ids = {whole};
  } else {
    ids = symbols(word);
    merge_pairs(table_, ids);
  }
  if (cached) to_cache(word, ids);
  out.insert(out.end(), ids.begin(), ids.end());
}

}  // namespace hymba
