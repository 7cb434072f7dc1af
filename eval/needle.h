// Needle in a haystack: a binding stands somewhere in a long text and is asked for at its end. docs/studies.md has the
// form of needle and question.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/tokenizer.h"
#include "data/world.h"
#include "eval/requests.h"
#include "eval/scoring.h"

namespace hymba::eval {

// One cell's item: the candidates share the context; the right one is `gold`.
struct NeedleItem {
  std::vector<std::int32_t> context;
  std::vector<std::vector<std::int32_t>> candidates;
  std::size_t gold = 0;
};

// Where haystacks come from.
class Haystack {
 public:
  virtual ~Haystack() = default;
  // An item of exactly `length` ids (context), the needle beginning at `depth` (0 right at the start, 1 right before the
  // question) of the room that needle and question leave. Item `index` has the same needle at every length and depth.
  virtual NeedleItem item(std::int64_t length, double depth, std::uint64_t index) const = 0;
  virtual std::int64_t shortest() const = 0;  // length that needle and question alone need
  virtual std::size_t candidates() const = 0;
};

// A record list between documents of the world that bind nothing.
std::unique_ptr<Haystack> world_haystack(const data::World& world);
// A sentence ("The secret word of Berlin is stone.") between the sentences of `text`.
std::unique_ptr<Haystack> text_haystack(const Tokenizer& tokenizer, std::string text);

// 1 for each item whose right candidate is the likeliest, else 0. Chance is 1 / candidates.
std::vector<double> needle_scores(const Haystack& haystack, Scorer& scorer, std::int64_t length, double depth, std::int64_t items);

}  // namespace hymba::eval
