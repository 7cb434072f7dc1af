// Worked examples in front of an item, drawn as the harness draws them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "eval/task.h"

namespace hymba::eval {

// Python's random.Random(seed): MT19937 seeded by an array, and the numbers that sample() takes from it.
class PythonRandom {
 public:
  explicit PythonRandom(std::uint32_t seed);
  std::uint32_t next();
  std::uint32_t below(std::uint32_t n);
  std::vector<std::size_t> sample(std::size_t population, std::size_t count);

 private:
  std::uint32_t state_[624];
  std::size_t at_ = 624;
};

// For each item in turn, `shots` examples of its group. first_n: the pool's first ones; random: the harness' draw with
// its seed 1234, one generator a group. Where the pool is the task's own items, an item is no example for itself.
// UserError where a pool has too few.
std::vector<std::vector<const Item*>> choose_shots(const TaskDefinition& task, std::span<const Item> items,
                                                   std::span<const Item> pool, int shots);

// The examples as text: what stands between the preamble and the question.
std::string shots_text(const TaskDefinition& task, std::span<const Item* const> shots);

}  // namespace hymba::eval
