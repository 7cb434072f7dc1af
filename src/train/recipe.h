// A training recipe: one for all designs of a comparison. Read from the stanza [recipe] of ablations/recipe.ini.
#pragma once

#include <boost/program_options/options_description.hpp>
#include <cstdint>
#include <set>
#include <string>

#include "config/resolver.h"

namespace hymba {

struct Recipe {
  std::int64_t tokens = 0, batch = 0, length = 0, accumulate = 1, log_every = 0, checkpoint_every = 0, short_length = 0;
  double lr = 0, min_lr = 0, warmup = 0, decay = 0, weight_decay = 0, beta1 = 0, beta2 = 0, eps = 0, clip = 0, spike = 0, short_part = 0;
  std::string schedule, autocast = "none", optimizer = "adamw";
  double momentum = 0.95;

  boost::program_options::options_description options();
  void check() const;  // UserError for values out of range
  // Tokens of a sequence at a step: short_length in the first part of the run (length warm-up), then length. The number
  // of sequences grows so that every step has the same number of tokens.
  std::int64_t length_at(std::int64_t step) const;
  std::int64_t batch_at(std::int64_t step) const { return batch * length / length_at(step); }
  std::int64_t tokens_per_step() const { return batch * length * accumulate; }
  std::int64_t steps() const { return (tokens + tokens_per_step() - 1) / tokens_per_step(); }
  // Learning rate of step `step` (from 0). cosine: warm-up, then half a cosine down to min_lr * lr. wsd: warm-up,
  // stable, then over the last `decay` of the steps linearly down to min_lr * lr.
  double lr_at(std::int64_t step) const;
};

std::set<std::string> recipe_keys();

}  // namespace hymba
