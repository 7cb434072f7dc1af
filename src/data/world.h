// The embedded data set: a miniature world in plain English, drawn from a seed alone. A stream of training documents
// and ten held-out tasks in the manner of the paper's benchmarks. See docs/world.md.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/word_tokenizer.h"
#include "data/world_options.h"

namespace hymba::data {

class Text;
class WorldFacts;

// Multiple choice: the log-likelihood of ' ' + choices[i] after contexts[0], or after contexts[i] where the kind is
// "partial" (then all choices are the same text). Completion: greedy continuation of `prompt` must contain `answer`.
struct WorldItem {
  std::vector<std::string> contexts;
  std::vector<std::string> choices;
  int gold = -1;
  std::string prompt, answer;
  nlohmann::json meta;  // recall: pairs, distance (tokens from the bound value to its query's answer), form

  std::string gold_text() const;  // context + gold choice, or prompt + answer
};

struct WorldTask {
  std::string name;
  std::string manner_of;  // "arc_easy", ...
  std::string suite;      // "general" or "recall"
  std::string kind;       // "multiple_choice", "partial" or "completion"
  double chance = 0;      // accuracy of a guess; completion: 1 / size of the answers' alphabet
  std::vector<WorldItem> items;
};

class World {
 public:
  explicit World(std::uint64_t seed, WorldOptions options = {});  // UserError for an option out of range
  ~World();
  World(World&&) noexcept;

  const WordTokenizer& tokenizer() const { return tokenizer_; }
  const WorldOptions& options() const { return options_; }
  const WorldFacts& facts() const { return *facts_; }
  std::uint64_t seed() const { return seed_; }

  // Document `index` of an endless stream: a pure function of seed, options and index.
  std::string document(std::uint64_t index) const;
  // Appends <bos> ... <eos>. In all but the share `drawn_loss` of the documents a word that is drawn at random (the
  // pairs of a new list, the order in which it is asked through) comes as ~id: read, but not to be predicted.
  void document_tokens(std::uint64_t index, std::vector<std::int32_t>& out) const;
  // Which kind of document `index` is, by its option's name: "facts", "records", ...
  std::string document_kind(std::uint64_t index) const;

  // The ten tasks, eight general ones first, with `items` different items each.
  std::vector<WorldTask> tasks(int items = 500) const;

 private:
  struct Draft;
  Draft draft(std::uint64_t index) const;
  Text write(std::uint64_t index) const;

  std::uint64_t seed_;
  WorldOptions options_;
  WordTokenizer tokenizer_;
  std::unique_ptr<WorldFacts> facts_;
  std::vector<double> cumulative_;  // over document kinds: chance of a document, corrected for the kind's mean length
};

// Solves an item from its text and the world's facts alone: the index of the choice, -1 if the text is not understood.
int oracle(const World& world, const WorldTask& task, const WorldItem& item);
// The same for completions: the missing word, or "".
std::string oracle_completion(const World& world, const WorldTask& task, const WorldItem& item);

}  // namespace hymba::data
