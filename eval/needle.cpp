#include "eval/needle.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/rng.h"
#include "data/world_lexicon.h"

namespace hymba::eval {
namespace {

using Ids = std::vector<std::int32_t>;

void append(Ids& to, const Ids& from) { to.insert(to.end(), from.begin(), from.end()); }

// Needle and question inside `length` ids; `hay(n)` gives n ids of text.
template <class Hay>
Ids compose(std::int32_t bos, const Ids& needle, const Ids& question, std::int64_t length, double depth, const Hay& hay) {
  const auto fixed = static_cast<std::int64_t>(needle.size() + question.size()) + (bos >= 0 ? 1 : 0);
  require(length >= fixed, "needle: length {}: needle and question alone need {} tokens", length, fixed);
  require(depth >= 0 && depth <= 1, "needle: depth {}: expected 0 to 1", depth);
  const std::int64_t room = length - fixed, before = std::llround(depth * static_cast<double>(room));
  const Ids text = hay(room);
  Ids ids;
  if (bos >= 0) ids.push_back(bos);
  ids.insert(ids.end(), text.begin(), text.begin() + before);
  append(ids, needle);
  ids.insert(ids.end(), text.begin() + before, text.end());
  append(ids, question);
  return ids;
}

class WorldHaystack : public Haystack {
 public:
  explicit WorldHaystack(const data::World& world) : world_(world) {
    // Text that binds nothing and asks nothing: stories, tools, causes, rules and facts.
    for (std::uint64_t i = 0; hay_.size() < 65536 && i < 20000; ++i) {
      const auto kind = world.document_kind(kFirst + i);
      if (kind == "records" || kind == "passages" || kind == "songs" || kind == "yes_no") continue;
      append(hay_, world.tokenizer().encode(world.document(kFirst + i)));
    }
    require(hay_.size() > 1024, "needle: this world has too little text besides its recall documents");
  }

  NeedleItem item(std::int64_t length, double depth, std::uint64_t index) const override {
    Rng rng(index, "needle");
    const auto& o = world_.options();
    const auto& lexicon = data::lexicon();
    const auto keys = rng.sample(static_cast<std::size_t>(o.keys), kPairs), values = rng.sample(static_cast<std::size_t>(o.values), kPairs);
    std::string list = "list :";
    for (std::size_t k = 0; k < kPairs; ++k) {
      const auto &key = lexicon.cast[keys[k]], &value = lexicon.colors[values[k]];
      list += fmt::format(" {} {}", key, value);
    }
    const std::size_t asked = rng.below(kPairs);
    const auto& tokenizer = world_.tokenizer();
    const std::uint64_t start = rng.below(hay_.size());
    NeedleItem item;
    item.context = compose(tokenizer.bos(), tokenizer.encode(list + " ."), tokenizer.encode("again : " + lexicon.cast[keys[asked]]), length, depth,
                           [&](std::int64_t n) {
                             Ids text;
                             for (std::int64_t i = 0; i < n; ++i) text.push_back(hay_[(start + static_cast<std::uint64_t>(i)) % hay_.size()]);
                             return text;
                           });
    for (int v = 0; v < o.values; ++v) item.candidates.push_back(tokenizer.encode(lexicon.colors[static_cast<std::size_t>(v)]));
    item.gold = values[asked];
    return item;
  }
  std::int64_t shortest() const override { return 1 + 3 + 2 * static_cast<std::int64_t>(kPairs) + 3; }
  std::size_t candidates() const override { return static_cast<std::size_t>(world_.options().values); }

 private:
  static constexpr std::uint64_t kFirst = std::uint64_t{3} << 51;  // documents no training run reads
  static constexpr std::size_t kPairs = 3;
  const data::World& world_;
  Ids hay_;
};

class TextHaystack : public Haystack {
 public:
  TextHaystack(const Tokenizer& tokenizer, std::string text) : tokenizer_(tokenizer) {
    hay_ = tokenizer.encode(text);
    require(hay_.size() >= 256, "needle: the haystack has {} tokens; give more text by --data", hay_.size());
  }

  NeedleItem item(std::int64_t length, double depth, std::uint64_t index) const override {
    Rng rng(index, "needle");
    const std::string& place = rng.pick(kPlaces);
    NeedleItem item;
    item.gold = rng.below(kWords.size());
    const std::uint64_t start = rng.below(hay_.size());
    item.context = compose(tokenizer_.bos(), tokenizer_.encode(fmt::format(" The secret word of {} is {}. ", place, kWords[item.gold])),
                           tokenizer_.encode(fmt::format(" The secret word of {} is", place)), length, depth, [&](std::int64_t n) {
                             Ids text;
                             for (std::int64_t i = 0; i < n; ++i) text.push_back(hay_[(start + static_cast<std::uint64_t>(i)) % hay_.size()]);
                             return text;
                           });
    for (const auto& word : kWords) item.candidates.push_back(tokenizer_.encode(" " + word));
    return item;
  }
  std::int64_t shortest() const override {
    std::size_t most = 0;
    for (const auto& place : kPlaces) {
      for (const auto& word : kWords) {
        most = std::max(most, tokenizer_.encode(fmt::format(" The secret word of {} is {}. ", place, word)).size() +
                                  tokenizer_.encode(fmt::format(" The secret word of {} is", place)).size());
      }
    }
    return static_cast<std::int64_t>(most) + 1;
  }
  std::size_t candidates() const override { return kWords.size(); }

 private:
  // Words of one length, so that byte models have no shortest answer to prefer.
  inline static const std::vector<std::string> kWords = {"stone", "apple", "chair", "river", "glass", "bread", "horse", "cloud", "knife", "plant"};
  inline static const std::vector<std::string> kPlaces = {"Berlin", "Oslo", "Lima", "Cairo", "Tokyo", "Quebec", "Delhi", "Athens"};
  const Tokenizer& tokenizer_;
  Ids hay_;
};

}  // namespace

std::unique_ptr<Haystack> world_haystack(const data::World& world) { return std::make_unique<WorldHaystack>(world); }

std::unique_ptr<Haystack> text_haystack(const Tokenizer& tokenizer, std::string text) {
  return std::make_unique<TextHaystack>(tokenizer, std::move(text));
}

std::vector<double> needle_scores(const Haystack& haystack, Scorer& scorer, std::int64_t length, double depth, std::int64_t items) {
  std::vector<LoglikelihoodRequest> requests;
  std::vector<NeedleItem> asked;
  for (std::int64_t i = 0; i < items; ++i) {
    asked.push_back(haystack.item(length, depth, static_cast<std::uint64_t>(i)));
    for (const auto& candidate : asked.back().candidates) requests.push_back({asked.back().context, candidate});
  }
  const auto results = scorer.loglikelihood(requests);
  std::vector<double> scores;
  std::size_t at = 0;
  for (const auto& item : asked) {
    std::size_t best = 0;
    for (std::size_t c = 1; c < item.candidates.size(); ++c) {
      if (results[at + c].logprob > results[at + best].logprob) best = c;
    }
    scores.push_back(best == item.gold ? 1 : 0);
    at += item.candidates.size();
  }
  return scores;
}

}  // namespace hymba::eval
