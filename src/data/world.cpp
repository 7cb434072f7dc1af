#include "data/world.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/rng.h"
#include "data/world_recall.h"
#include "data/world_stories.h"

namespace hymba::data {
namespace {

struct Kind {
  const char* name;
  double WorldOptions::*weight;
  void (*write)(const World&, Rng&, int tokens, Text&);
};

// Tokens a document aims at, at least, and how much longer it may end up: a quarter of the longest, 60 in long ones.
int margin(const WorldOptions& o) { return std::min(60, o.max_tokens / 4); }
int draw_length(const WorldOptions& o, Rng& rng) {
  const int m = margin(o);
  return m + static_cast<int>(rng.below(static_cast<std::uint64_t>(std::max(1, o.max_tokens - 2 * m))));
}

constexpr int kSamples = 48;  // documents a kind, to learn its mean length

template <void (*Write)(const WorldFacts&, Rng&, int, Text&)>
void of_facts(const World& w, Rng& rng, int tokens, Text& out) {
  Write(w.facts(), rng, tokens, out);
}

template <void (*Write)(const WorldOptions&, Rng&, int, Text&)>
void of_options(const World& w, Rng& rng, int tokens, Text& out) {
  Write(w.options(), rng, tokens, out);
}

const std::array<Kind, 11>& kinds() {
  static const std::array<Kind, 11> all = {{
      {"facts", &WorldOptions::facts, of_facts<write_facts>},
      {"questions", &WorldOptions::questions, of_facts<write_questions>},
      {"rules", &WorldOptions::rules, of_facts<write_rules>},
      {"tools", &WorldOptions::tools, of_facts<write_tools>},
      {"causes", &WorldOptions::causes, of_facts<write_causes>},
      {"scripts", &WorldOptions::scripts, of_facts<write_scripts>},
      {"who", &WorldOptions::who, of_facts<write_who>},
      {"yes_no", &WorldOptions::yes_no, of_facts<write_yes_no>},
      {"records", &WorldOptions::records, of_options<write_records>},
      {"passages", &WorldOptions::passages, of_options<write_passages>},
      {"songs", &WorldOptions::songs,
       [](const World&, Rng& rng, int tokens, Text& out) { write_songs(rng, tokens, out); }},
  }};
  return all;
}

void check(const WorldOptions& o) {
  const auto in_range = [](const char* name, int value, int low, int high) {
    require(value >= low && value <= high, "world option '{}' is {}; it must lie between {} and {}", name, value, low,
            high);
  };
  in_range("citizens", o.citizens, 24, 96);
  in_range("attributes", o.attributes, 1, 7);
  in_range("keys", o.keys, 8, 32);
  in_range("values", o.values, 8, 32);
  in_range("pairs_min", o.pairs_min, 1, 8);
  in_range("pairs_max", o.pairs_max, std::max(2, o.pairs_min), 32);
  in_range("events_max", o.events_max, 4, 20);
  in_range("max_tokens", o.max_tokens, 32, 1000);
  in_range("far", o.far, 0, 64);
  require(o.filler >= 0 && o.filler <= 1, "world option 'filler' is {}; it is a chance between 0 and 1", o.filler);
  require(o.held_out > 0.02 && o.held_out <= 0.9, "world option 'held_out' is {}; it must lie between 0.02 and 0.9",
          o.held_out);
  require(o.drawn_loss >= 0 && o.drawn_loss <= 1, "world option 'drawn_loss' is {}; it must lie between 0 and 1", o.drawn_loss);
  double sum = 0;
  for (const Kind& kind : kinds()) {
    require(o.*kind.weight >= 0, "world option '{}' is {}; a share cannot be negative", kind.name, o.*kind.weight);
    sum += o.*kind.weight;
  }
  require(sum > 0, "world: all shares of the documents are 0; at least one must be positive");
}

// A document's own stream. The odd factor spreads neighbouring indices over all bits before the generator mixes them.
Rng document_rng(std::uint64_t seed, const char* stream, std::uint64_t index) {
  return Rng(Rng(seed, stream).next() ^ (index * 0xd1342543de82ef95ULL));
}

}  // namespace

struct World::Draft {
  const Kind* kind;
  Rng rng;
};

World::World(std::uint64_t seed, WorldOptions options)
    : seed_(seed),
      options_((check(options), options)),
      tokenizer_(lexicon_words(options.citizens), WordTokenizer::Unknown::kError),
      facts_(std::make_unique<WorldFacts>(seed, options)) {
  double total = 0;
  for (const Kind& kind : kinds()) {
    Rng rng(seed, std::string("world.length.") + kind.name);
    int tokens = 2 * kSamples;  // <bos> and <eos>
    for (int k = 0; k < kSamples; ++k) {
      Text text;
      kind.write(*this, rng, draw_length(options_, rng), text);
      tokens += text.tokens();
    }
    total += options_.*kind.weight * kSamples / tokens;
    cumulative_.push_back(total);
  }
}

World::~World() = default;
World::World(World&&) noexcept = default;

World::Draft World::draft(std::uint64_t index) const {
  Rng rng = document_rng(seed_, "world.document", index);
  const double u = rng.uniform() * cumulative_.back();
  std::size_t k = 0;
  while (k + 1 < cumulative_.size() && cumulative_[k] <= u) ++k;
  return {&kinds()[k], rng};
}

std::string World::document_kind(std::uint64_t index) const { return draft(index).kind->name; }

Text World::write(std::uint64_t index) const {
  Draft d = draft(index);
  Text text;
  d.kind->write(*this, d.rng, draw_length(options_, d.rng), text);
  return text;
}

std::string World::document(std::uint64_t index) const { return write(index).take(); }

void World::document_tokens(std::uint64_t index, std::vector<std::int32_t>& out) const {
  const Text text = write(index);
  out.push_back(WordTokenizer::kBos);
  const std::size_t first = out.size();
  tokenizer_.encode_to(text.str(), out);
  if (!document_rng(seed_, "world.drawn_loss", index).chance(options_.drawn_loss)) {
    for (const int i : text.drawn()) out[first + static_cast<std::size_t>(i)] = ~out[first + static_cast<std::size_t>(i)];
  }
  out.push_back(WordTokenizer::kEos);
}

}  // namespace hymba::data
