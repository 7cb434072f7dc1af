#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"
#include "eval/model_scorer.h"
#include "eval/roofline.h"
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
    ModelScorer batched(model, {}), single(model, {.batch_rows = 1, .share = false, .progress = {}});
    const auto a = batched.loglikelihood(requests), b = single.loglikelihood(requests);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      EXPECT_NEAR(a[i].logprob, b[i].logprob, 1e-4) << name;
      EXPECT_EQ(a[i].greedy, b[i].greedy) << name;
    }
  }
}

// Questions of a task behind worked examples that they share: several choices each, of one token and of more.
std::vector<LoglikelihoodRequest> questions(Rng& rng, std::size_t examples, int count) {
  const auto shots = ids(rng, examples);
  std::vector<LoglikelihoodRequest> requests;
  for (int i = 0; i < count; ++i) {
    auto context = shots;
    const auto question = ids(rng, 5 + rng.below(60));
    context.insert(context.end(), question.begin(), question.end());
    for (int choice = 0; choice < 4; ++choice) requests.push_back({context, ids(rng, 1 + (i % 3 == 0 ? 0 : rng.below(9)))});
  }
  return requests;
}

TEST(ModelScorer, SharedBeginningsChangeNoScoreBeyondRounding) {
  Rng rng(5);
  const auto requests = questions(rng, 100, 12);
  for (const std::string name : {"row-01", "row-06", "row-08", "row-10", "row-13", "mamba2", "samba"}) {
    const auto d = design(name);
    const LanguageModel model(d, 2);
    ModelScorer sharing(model), small(model, {.batch_rows = 3, .cache_bytes = 1, .progress = {}});
    ModelScorer apart(model, {.share = false, .progress = {}});
    const auto a = sharing.loglikelihood(requests), b = apart.loglikelihood(requests), c = small.loglikelihood(requests);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      EXPECT_NEAR(a[i].logprob, b[i].logprob, 1e-4) << name << " " << i;
      EXPECT_NEAR(c[i].logprob, b[i].logprob, 1e-4) << name << " " << i;
      EXPECT_EQ(a[i].greedy, b[i].greedy) << name << " " << i;
    }
    EXPECT_LT(3 * sharing.tokens_read(), apart.tokens_read()) << name;
  }
}

// Angles that change with the text's length allow no parts: every text is read whole.
TEST(ModelScorer, DynamicAnglesAreReadInOnePass) {
  Rng rng(6);
  static const DesignLibrary designs(std::string(HYMBA_SOURCE_DIR) + "/ablations");
  const auto open = [&](const std::string& original) {
    return designs.open("row-06", "smoke", {{"vocab", std::to_string(kVocab), "command line"},
                                            {"attention.rope_scaling", "dynamic_ntk", "command line"},
                                            {"attention.rope_original", original, "command line"}});
  };
  const auto requests = questions(rng, 50, 3);
  for (const std::string original : {"40", "1000"}) {
    const auto d = open(original);
    const LanguageModel model(d, 2);
    ModelScorer sharing(model), apart(model, {.share = false, .progress = {}});
    const auto a = sharing.loglikelihood(requests), b = apart.loglikelihood(requests);
    for (std::size_t i = 0; i < requests.size(); ++i) EXPECT_NEAR(a[i].logprob, b[i].logprob, 1e-4) << original;
    EXPECT_EQ(sharing.tokens_read() < apart.tokens_read(), original == "1000");
  }
}

// Every row is below one leaf, its nodes hold its own ids and leave it what it does not share.
void check_node(const PrefixNode& node, const std::vector<PrefixRow>& rows, std::vector<std::int32_t> before, std::set<std::size_t>* seen) {
  for (const auto row : node.rows) {
    EXPECT_TRUE(seen->insert(row).second);
    ASSERT_LE(node.end, rows[row].shareable);
    EXPECT_TRUE(std::equal(before.begin(), before.end(), rows[row].ids.begin()));
  }
  for (const auto& child : node.children) {
    EXPECT_EQ(child.begin, node.end);
    EXPECT_GT(child.end, child.begin);
    const PrefixNode* any = &child;
    while (any->rows.empty()) any = &any->children.at(0);
    const auto& row = rows[any->rows[0]].ids;
    auto more = before;
    more.insert(more.end(), row.begin() + static_cast<std::ptrdiff_t>(child.begin), row.begin() + static_cast<std::ptrdiff_t>(child.end));
    check_node(child, rows, more, seen);
  }
}

TEST(PrefixTree, CoversEveryRowOnce) {
  Rng rng(7);
  for (int trial = 0; trial < 30; ++trial) {
    std::vector<PrefixRow> rows;
    std::int64_t all = 0;
    std::vector<std::vector<std::int32_t>> stems = {{}};
    for (int i = 0; i < 60; ++i) {
      auto row = stems[rng.below(stems.size())];
      const auto more = ids(rng, 1 + rng.below(40));
      row.insert(row.end(), more.begin(), more.end());
      if (i % 4 == 0) stems.push_back(row);
      all += static_cast<std::int64_t>(row.size());
      rows.push_back({row, rng.below(row.size())});
    }
    const auto root = plan_prefixes(rows, {.grain = 4, .smallest = 8, .inner = 16});
    std::set<std::size_t> seen;
    check_node(root, rows, {}, &seen);
    EXPECT_EQ(seen.size(), rows.size());
    EXPECT_LE(computed_ids(root, rows), all);
  }
  // Four choices behind one question of 50 ids: 48 are read once, and what is left of each row.
  std::vector<PrefixRow> rows;
  const auto question = ids(rng, 50);
  for (std::int32_t choice = 0; choice < 4; ++choice) {
    rows.push_back({question, 49});
    rows.back().ids.push_back(choice);
  }
  EXPECT_EQ(computed_ids(plan_prefixes(rows), rows), 48 + 4 * 3);
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

// The same caches, the same lengths and so the same work: only the numbers differ. What else runs on the machine disturbs a
// comparison of times, so it is repeated: a fill that costs otherwise fails every time.
TEST(Speed, ASyntheticFillCostsWhatARealPrefillCosts) {
  for (const std::string name : {"row-01", "row-04", "row-06", "row-09", "row-13"}) {
    const auto d = design(name);
    const LanguageModel model(d, 1);
    for (const auto type : {at::kFloat, at::kBFloat16}) {
      double ratio = 0;
      for (int attempt = 0; attempt < 5 && !(std::abs(ratio - 1) < 0.35); ++attempt) {
        SpeedOptions options;
        options.context = 700;
        options.batch = 4;
        options.steps = 6;
        options.kv_type = type;
        options.fill = Fill::kReal;
        SpeedProbe real(options);
        options.fill = Fill::kSynthetic;
        SpeedProbe synthetic(options);
        for (int round = 0; round < 4; ++round) {
          real.round(model, 3);
          synthetic.round(model, 3);
        }
        const auto a = real.result(), b = synthetic.result();
        EXPECT_EQ(a.cache_bytes_measured, b.cache_bytes_measured) << name;
        EXPECT_EQ(b.cache_bytes_measured, b.cache_bytes_predicted) << name;
        ratio = b.decode_tok_s_max / a.decode_tok_s_max;
      }
      EXPECT_NEAR(ratio, 1, 0.35) << name;
    }
  }
}

TEST(Roofline, CountsWhatAStepMovesAndComputes) {
  const auto d = design("row-09");
  const LanguageModel model(d, 1, /*meta=*/true);
  const auto work = step_work(model, 100, 2);
  double elements = 0;
  for (const auto& p : model.parameters().all()) elements += p.product ? static_cast<double>(p.value.numel()) : 0;
  EXPECT_EQ(work.weight_elements, elements);
  EXPECT_EQ(work.weight_bytes, 2 * elements);
  double of_shapes = 0;
  for (const auto& shape : work.linear) of_shapes += shape.layers * static_cast<double>(shape.inputs * shape.outputs);
  EXPECT_EQ(of_shapes, elements);
  EXPECT_LT(work.linear.size(), 12u);  // shapes, not layers
  ASSERT_EQ(work.attention.size(), 2u);  // windows, and layers that see all
  double keys = 0;
  for (const auto& sublayer : model.sublayers()) {
    for (const auto& mixer : sublayer->mixers()) {
      if (mixer->attends()) keys += mixer->cost().window < 0 ? 100 : std::min<double>(100, static_cast<double>(mixer->cost().window));
    }
  }
  EXPECT_EQ(work.attention[0].keys * work.attention[0].layers + work.attention[1].keys * work.attention[1].layers, keys);
  ASSERT_EQ(work.states.size(), 1u);
  EXPECT_EQ(work.states[0].layers, 6);
}

TEST(Roofline, EachPartIsBoundByMemoryOrArithmetic) {
  StepWork work;
  work.weight_bytes = 200, work.weight_elements = 100;
  work.attention = {{4, 2, 8, 8, 25, 2}};
  work.states = {{false, 10, 4, 1, 3}};
  Device device{"a test", 10, 1000, 1000, 1e9, 0.5};
  work.launches = 2;
  const auto one = step_time(work, device, 1, 2), many = step_time(work, device, 100, 2);
  EXPECT_DOUBLE_EQ(one.linear, 20);             // 200 bytes at 10 a second
  EXPECT_DOUBLE_EQ(many.linear, 20);            // 2 * 100 * 100 flops at 1000 a second
  EXPECT_DOUBLE_EQ(one.attention, 320);         // 50 keys, 2 heads, 16 numbers of 2 bytes
  EXPECT_DOUBLE_EQ(one.state, 96);              // 3 * 40 numbers of 4 bytes, read and written
  EXPECT_DOUBLE_EQ(one.launches, 1);
  EXPECT_DOUBLE_EQ(many.attention, 100 * one.attention);
  EXPECT_GT(h100().bandwidth, a100().bandwidth);
}

// Bytes that a batch owns, at the paper's shapes and 8000 tokens: one sequence is enough, they grow with the batch.
TEST(Speed, ExactAccountingEqualsAllocatedBytesAtThePapersShapes) {
  const DesignLibrary designs(std::string(HYMBA_SOURCE_DIR) + "/ablations");
  for (const auto& row : designs.roadmap()) {
    const LanguageModel model(designs.open(row, "paper", {}), 0, /*meta=*/true);
    const ModelCache cache = model.make_cache(1, 8000, at::kBFloat16);
    EXPECT_EQ(static_cast<double>(cache.bytes()), cache_bytes_of(model, {at::kBFloat16, 512}, 1, 8000)) << row;
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
