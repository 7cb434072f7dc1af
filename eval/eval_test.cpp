#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/rng.h"
#include "eval/model_scorer.h"
#include "eval/speed.h"

namespace hymba::eval {
namespace {

constexpr std::int32_t kVocab = 40;

Design design(const std::string& name) {
  static const DesignLibrary designs(std::string(HYMBA_SOURCE_DIR) + "/ablations");
  return designs.open(name, "smoke", {{"vocab", std::to_string(kVocab), "command line"}});
}

std::vector<std::int32_t> ids(Rng& rng, std::size_t n) {
  std::vector<std::int32_t> v(n);
  for (auto& x : v) x = static_cast<std::int32_t>(rng.below(kVocab));
  return v;
}

TEST(ModelScorer, BatchingChangesNoScoreBeyondRounding) {
  Rng rng(1);
  std::vector<LoglikelihoodRequest> requests;
  for (int i = 0; i < 40; ++i) requests.push_back({ids(rng, 1 + rng.below(50)), ids(rng, 1 + rng.below(5))});
  for (const std::string name : {"row-01", "row-08", "row-13"}) {
    const auto d = design(name);
    const LanguageModel model(d, 2);
    ModelScorer batched(model, {4096, {}}), single(model, {1, {}});
    const auto a = batched.loglikelihood(requests), b = single.loglikelihood(requests);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      EXPECT_NEAR(a[i].logprob, b[i].logprob, 1e-4) << name;
      EXPECT_EQ(a[i].greedy, b[i].greedy) << name;
    }
  }
}

TEST(ModelScorer, LoglikelihoodIsTheSumOfLogSoftmax) {
  const auto d = design("row-09");
  const LanguageModel model(d, 2);
  ModelScorer scorer(model);
  // Over all one-token continuations the probabilities add up to one.
  std::vector<LoglikelihoodRequest> requests;
  for (std::int32_t t = 0; t < kVocab; ++t) requests.push_back({{1, 2, 3}, {t}});
  double sum = 0;
  int greedy = 0;
  for (const auto& r : scorer.loglikelihood(requests)) {
    sum += std::exp(r.logprob);
    greedy += r.greedy ? 1 : 0;
  }
  EXPECT_NEAR(sum, 1, 1e-4);
  EXPECT_EQ(greedy, 1);
}

TEST(ModelScorer, CachedGenerationEqualsRepeatedPasses) {
  Rng rng(3);
  std::vector<GenerateRequest> longer, shorter;
  for (int i = 0; i < 6; ++i) {
    longer.push_back({ids(rng, 5 + 3 * (static_cast<std::size_t>(i) / 2)), 20, -1, {}});
    shorter.push_back({longer.back().prompt, 4, -1, {}});
  }
  for (const std::string name : {"row-01", "row-06", "row-13"}) {
    const auto d = design(name);
    const LanguageModel model(d, 4);
    ModelScorer scorer(model);
    const auto cached = scorer.generate(longer), repeated = scorer.generate(shorter);
    for (std::size_t i = 0; i < longer.size(); ++i) {
      EXPECT_EQ(cached[i].size(), 20u);
      EXPECT_EQ(std::vector<std::int32_t>(cached[i].begin(), cached[i].begin() + 4), repeated[i]) << name;
    }
  }
}

TEST(ModelScorer, GenerationStopsAtEosAndAtTheCallersWord) {
  const auto d = design("row-06");
  const LanguageModel model(d, 4);
  ModelScorer scorer(model);
  const std::vector<GenerateRequest> free = {{{1, 2, 3}, 10, -1, {}}};
  const auto all = scorer.generate(free)[0];
  EXPECT_TRUE(scorer.generate(std::vector<GenerateRequest>{{{1, 2, 3}, 10, all[0], {}}})[0].empty());
  const auto stopped = scorer.generate(std::vector<GenerateRequest>{{{1, 2, 3}, 10, -1, [](std::span<const std::int32_t> s) { return s.size() == 3; }}});
  EXPECT_EQ(stopped[0].size(), 3u);
}

TEST(Speed, MeasuredCacheEqualsThePrediction) {
  SpeedOptions options;
  options.context = 100;
  options.batch = 2;
  options.chunk = 32;
  options.repeats = 2;
  options.steps = 2;
  for (const std::string name : {"row-01", "row-06", "row-07", "row-09", "row-13"}) {
    const auto d = design(name);
    const auto result = measure_speed(LanguageModel(d, 1), options);
    EXPECT_EQ(result.cache_bytes_measured, result.cache_bytes_predicted) << name;
    EXPECT_GT(result.decode_tok_s, 0);
    EXPECT_GT(result.prefill_tok_s, 0);
  }
}

TEST(Speed, ABatchThatDoesNotFitIsHalvedAndOneThatNeverFitsIsRefused) {
  const auto d = design("row-06");
  const LanguageModel model(d, 1);
  SpeedOptions options;
  options.context = 64;
  options.repeats = options.steps = 1;
  options.batch = std::int64_t{1} << 40;
  const auto fits = predicted_memory(model, options, 1);
  EXPECT_LT(fits, available_memory());
  options.context = std::int64_t{1} << 40;
  try {
    measure_speed(model, options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("smaller --context"), std::string::npos);
  }
}

}  // namespace
}  // namespace hymba::eval
