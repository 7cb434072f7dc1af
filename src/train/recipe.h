// A training recipe: one for all designs of a comparison. Read from the stanza [recipe] of ablations/recipe.ini.
#pragma once

#include <boost/program_options/options_description.hpp>
#include <cstdint>
#include <set>
#include <string>

#include "config/resolver.h"

namespace hymba {

struct Recipe {
  std::int64_t tokens = 0, batch = 0, length = 0, accumulate = 1, log_every = 0, checkpoint_every = 0;
  double lr = 0, min_lr = 0, warmup = 0, decay = 0, weight_decay = 0, beta1 = 0, beta2 = 0, eps = 0, clip = 0, spike = 0;
  std::string schedule;

  boost::program_options::options_description options();
  void check() const;  // UserError for values out of range
  std::int64_t tokens_per_step() const { return batch * length * accumulate; }
  std::int64_t steps() const { return (tokens + tokens_per_step() - 1) / tokens_per_step(); }
  // Learning rate of step `step` (from 0). cosine: warm-up, then half a cosine down to min_lr * lr. wsd: warm-up,
  // stable, then over the last `decay` of the steps linearly down to min_lr * lr.
  double lr_at(std::int64_t step) const;
};

std::set<std::string> recipe_keys();

}  // namespace hymba
