#include "engine/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace hymba {
namespace {

std::int64_t greedy(std::span<const float> logits) {
  const auto best = std::max_element(logits.begin(), logits.end());
  if (!std::isfinite(*best) || std::isnan(logits[0])) fail("the model's logits are not finite: it cannot generate");
  return best - logits.begin();
}

}  // namespace

void SamplingOptions::check() const {
  require(temperature >= 0 && std::isfinite(temperature), "--temperature {}: expected 0 (greedy) or a positive number",
          temperature);
  require(top_k >= 0, "--top-k {}: expected 0 (all tokens) or a positive number", top_k);
  require(top_p > 0 && top_p <= 1, "--top-p {}: expected a number above 0 and up to 1", top_p);
  require(temperature > 0 || (top_k == 0 && top_p == 1), "--top-k and --top-p have no effect without --temperature");
}

Sampler::Sampler(const SamplingOptions& options, std::uint64_t sequence)
    : options_(options), rng_(options.seed, fmt::format("sample {}", sequence)) {}

std::int64_t Sampler::next(std::span<const float> logits) {
  const std::int64_t best = greedy(logits);
  if (options_.temperature == 0) return best;
  const auto vocab = static_cast<std::int64_t>(logits.size());
  const std::int64_t keep = options_.top_k == 0 ? vocab : std::min(options_.top_k, vocab);
  order_.resize(logits.size());
  std::iota(order_.begin(), order_.end(), 0);
  const auto more = [&](std::int32_t a, std::int32_t b) {
    const float x = logits[static_cast<std::size_t>(a)], y = logits[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  };
  // Sorted only where an order is asked for.
  if (keep < vocab || options_.top_p < 1) std::partial_sort(order_.begin(), order_.begin() + keep, order_.end(), more);
  weights_.clear();
  double total = 0;
  const double top = logits[static_cast<std::size_t>(best)];
  for (std::int64_t i = 0; i < keep; ++i) {
    const double logit = logits[static_cast<std::size_t>(order_[static_cast<std::size_t>(i)])];
    weights_.push_back(std::exp((logit - top) / options_.temperature));
    total += weights_.back();
  }
  if (options_.top_p < 1) {
    double sum = 0;
    std::size_t n = 0;
    while (n < weights_.size() && sum < options_.top_p * total) sum += weights_[n++];
    weights_.resize(n);
    total = sum;
  }
  double draw = rng_.uniform() * total;
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    draw -= weights_[i];
    if (draw < 0) return order_[i];
  }
  return order_[0];
}

}  // namespace hymba
