// Head removal, attention maps, receptive field and needles against their definitions.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "eval/attention_map.h"
#include "eval/branch_magnitudes.h"
#include "eval/head_removal.h"
#include "eval/needle.h"
#include "eval/prompts.h"
#include "eval/receptive_field.h"
#include "kernels/selective_scan/op.h"
#include "kernels/ssd/op.h"
#include "kernels/window_attention/op.h"

namespace hymba::eval {
namespace {

constexpr std::int64_t kVocab = 40;

Design open(const std::string& name, std::vector<Assignment> more = {}) {
  static const DesignLibrary library(std::string(HYMBA_SOURCE_DIR) + "/ablations");
  more.push_back({"vocab", std::to_string(kVocab), "test"});
  return library.open(name, "smoke", more);
}

at::Tensor some_ids(std::int64_t batch, std::int64_t length) { return at::randint(0, kVocab, {batch, length}, at::kLong); }

double difference(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

std::vector<LoglikelihoodRequest> some_requests(int n) {
  std::vector<LoglikelihoodRequest> requests;
  Rng rng(4);
  for (int i = 0; i < n; ++i) {
    LoglikelihoodRequest r;
    const auto words = [&](std::size_t k, std::vector<std::int32_t>& ids) {
      for (std::size_t j = 0; j < k; ++j) ids.push_back(static_cast<std::int32_t>(rng.below(kVocab)));
    };
    words(1 + rng.below(12), r.context);
    words(1 + rng.below(3), r.continuation);
    requests.push_back(r);
    r.continuation.back() = (r.continuation.back() + 1) % kVocab;  // shares the row
    requests.push_back(r);
  }
  return requests;
}

// Row 9 shares K and V; row 13 has meta tokens; row 11 concatenates; rows 1 and 6 have one branch.
class Removal : public testing::TestWithParam<std::string> {};

TEST_P(Removal, ARemovedBranchOrHeadContributesNothing) {
  const at::NoGradGuard no_grad;
  const Design design = open(GetParam());
  const LanguageModel model(design, 3);
  const auto ids = some_ids(2, 21);
  for (const auto& removal : list_removals(model, {}, "both", true)) {
    const auto masks = removal_masks(model, removal, {}, {});
    const auto& sublayer = *model.sublayers()[removal.sublayer];
    const at::Tensor before = model.forward(ids, nullptr, masks);
    // Its columns of the output projection may say anything now. A branch stands in there `copies` times.
    const auto* out = model.parameters().find(sublayer.name() + ".out_proj.weight");
    ASSERT_NE(out, nullptr);
    const at::Tensor kept = out->value.detach().clone();
    const auto& mixer = *sublayer.mixers()[removal.mixer];
    const std::int64_t width = mixer.out_width() / mixer.heads(), heads = mixer.heads();
    const bool concat = sublayer.fusion() == Fusion::kConcat && sublayer.mixers().size() > 1;
    if (sublayer.mixers().size() == 1 || concat) {
      std::int64_t start = 0;
      for (std::size_t m = 0; concat && m < removal.mixer; ++m) start += sublayer.mixers()[m]->out_width();
      const std::int64_t first = removal.head < 0 ? 0 : removal.head, last = removal.head < 0 ? heads : removal.head + 1;
      out->value.data().narrow(1, start + first * width, (last - first) * width).add_(3.0);
      EXPECT_LE(difference(model.forward(ids, nullptr, masks), before), 1e-5) << removal.layer << " " << removal.branch << " " << removal.head;
      out->value.data().copy_(kept);
    }
    // Whatever its branch norm does to it, it does not arrive: scaling its gate changes nothing.
    if (const at::Tensor gate = sublayer.branch_gate(removal.mixer); gate.defined()) {
      const at::Tensor old = gate.detach().clone();
      const std::int64_t copies = gate.size(0) / mixer.out_width();
      at::Tensor by_head = gate.data().view({copies, heads, width});
      if (removal.head < 0) {
        by_head.mul_(7.0);
      } else {
        by_head.select(1, removal.head).mul_(7.0);
      }
      EXPECT_LE(difference(model.forward(ids, nullptr, masks), before), 1e-5) << removal.layer << " " << removal.branch << " " << removal.head;
      gate.data().copy_(old);
      EXPECT_GT(difference(model.forward(ids), before), 1e-4) << "removing it changes the model";
    }
  }
}

TEST_P(Removal, SharingTheLayersBelowChangesNoAnswer) {
  const Design design = open(GetParam());
  const LanguageModel model(design, 3);
  auto removals = list_removals(model, {}, "both", true);
  std::size_t at = 0;  // whole branches, and every fifth head: first, middle and last layers among them
  std::erase_if(removals, [&](const auto& r) { return r.head >= 0 && at++ % 5 != 0; });
  const auto requests = some_requests(7);
  std::vector<GenerateRequest> prompts;
  for (const auto& r : requests) prompts.push_back({r.context, 2, -1, {}});
  for (const auto mode : {RemovalMode::kZero, RemovalMode::kMean}) {
    RemovalOptions options;
    options.mode = mode;
    options.batch_tokens = 40;
    RemovalScorer shared(model, removals, options);
    options.share = false;
    RemovalScorer apart(model, removals, options);
    for (int r = -1; r < static_cast<int>(removals.size()); ++r) {
      shared.select(r);
      apart.select(r);
      const auto a = shared.loglikelihood(requests), b = apart.loglikelihood(requests);
      for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i].logprob, b[i].logprob, 2e-4) << r;
      EXPECT_EQ(shared.generate(prompts), apart.generate(prompts)) << r;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Rows, Removal, testing::Values("row-01", "row-02", "row-06", "row-09", "row-11", "row-13"),
                         [](const auto& info) { return info.param.substr(0, 3) + info.param.substr(4); });

TEST(HeadRemoval, WholeDoublesTheOtherBranchOfAMean) {
  const LanguageModel model(open("row-09"), 1);
  const auto removal = list_removals(model, {2}, "ssm", false).at(0);
  RemovalOptions whole;
  whole.rest = FusionRest::kWhole;
  ASSERT_EQ(removal_masks(model, removal, whole, {}).size(), 2u);
  EXPECT_DOUBLE_EQ(removal_masks(model, removal, whole, {})[1].scale_H[0].item<double>(), 2.0);
  EXPECT_EQ(removal_masks(model, removal, {}, {}).size(), 1u);
  whole.mode = RemovalMode::kMean;
  EXPECT_THROW(RemovalScorer(model, {removal}, whole), UserError);
}

TEST(HeadRemoval, WhatIsNotThereIsAnError) {
  const LanguageModel mamba(open("row-01"), 1), hybrid(open("row-09"), 1);
  EXPECT_THROW(list_removals(mamba, {}, "attention", false), UserError);
  EXPECT_THROW(list_removals(hybrid, {6}, "both", false), UserError);
  EXPECT_THROW(list_removals(hybrid, {0}, "mamba", false), UserError);
  EXPECT_EQ(list_removals(hybrid, {}, "both", false).size(), 12u);
}

TEST(HeadRemoval, AJournalIsReadAgain) {
  const LanguageModel model(open("row-09"), 3);
  const auto removals = list_removals(model, {}, "both", false);
  const auto requests = some_requests(5);
  RemovalOptions options;
  options.batch_tokens = 30;
  options.journal = std::filesystem::path(testing::TempDir()) / "hymba_heads_journal.jsonl";
  std::filesystem::remove(options.journal);
  std::vector<LoglikelihoodResult> first, again;
  {
    RemovalScorer scorer(model, removals, options);
    scorer.select(3);
    first = scorer.loglikelihood(requests);
  }
  const LanguageModel other(open("row-09"), 99);  // its answers would be different ones
  RemovalScorer scorer(other, removals, options);
  scorer.select(3);
  again = scorer.loglikelihood(requests);
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_DOUBLE_EQ(first[i].logprob, again[i].logprob);
}

TEST(AttentionMap, WeightsTimesValuesAreTheKernelsOutput) {
  const at::Tensor q = at::randn({1, 19, 4, 6}), k = at::randn({1, 19, 2, 6}), v = at::randn({1, 19, 2, 5});
  for (const std::int64_t window : {-1, 1, 4}) {
    kernels::WindowAttentionOptions options;
    options.window = window;
    options.prefix = 3;
    const at::Tensor expected = kernels::window_attention(q, k, v, options)[0];  // [L, H, V]
    const at::Tensor weights = attention_weights(q[0], k[0], window, 3);
    const at::Tensor v_HSV = v[0].repeat_interleave(2, 1).transpose(0, 1);
    EXPECT_LE(difference(at::matmul(weights, v_HSV).transpose(0, 1), expected), 1e-5) << window;
  }
}

TEST(AttentionMap, ImplicitAttentionReproducesTheScan) {
  const std::int64_t length = 17, inner = 5, states = 3;
  const at::Tensor u = at::randn({1, length, inner}), dt = at::rand({1, length, inner}) + 0.01, B = at::randn({1, length, states}), C = at::randn({1, length, states});
  const at::Tensor A = -(at::rand({inner, states}) + 0.2);
  const auto [y, h] = kernels::selective_scan(u, dt, A, B, C, {}, {}, {}, {}, {.softplus = false});
  for (std::int64_t e = 0; e < inner; ++e) {
    const at::Tensor alpha = implicit_attention(dt[0], A, B[0], C[0], e);
    EXPECT_LE(difference(at::matmul(alpha, u[0].select(1, e)), y[0].select(1, e)), 2e-5) << e;
  }
  const at::Tensor x = at::randn({1, length, 4, 3}), dth = at::rand({1, length, 4}) + 0.01, Bg = at::randn({1, length, 2, states}), Cg = at::randn({1, length, 2, states});
  const at::Tensor Ah = -(at::rand({4}) + 0.2);
  kernels::SsdOptions options;
  options.softplus = false;
  const auto [y2, h2] = kernels::ssd(x.narrow(2, 0, 1).contiguous(), dth.narrow(2, 0, 1).contiguous(), Ah.narrow(0, 0, 1), Bg.narrow(2, 0, 1).contiguous(), Cg.narrow(2, 0, 1).contiguous(), {}, {}, {}, options);
  // One head whose weights are all positive: the absolute map is the map.
  const at::Tensor positive_B = Bg.narrow(2, 0, 1).abs(), positive_C = Cg.narrow(2, 0, 1).abs();
  const auto [y3, h3] = kernels::ssd(x.narrow(2, 0, 1).contiguous(), dth.narrow(2, 0, 1).contiguous(), Ah.narrow(0, 0, 1), positive_B.contiguous(), positive_C.contiguous(), {}, {}, {}, options);
  const at::Tensor map = implicit_attention2(dth[0].narrow(1, 0, 1), Ah.narrow(0, 0, 1), positive_B[0], positive_C[0]);
  EXPECT_LE(difference(at::matmul(map, x[0].select(1, 0)), y3[0].select(1, 0)), 2e-5);
}

TEST(AttentionMap, MassesAddUpAndAWindowSeesNothingBeyond) {
  for (const char* name : {"row-01", "row-06", "row-07", "row-13"}) {
    const LanguageModel model(open(name), 2);
    for (const auto& m : attention_masses(model, some_ids(1, 30), true)) {
      EXPECT_NEAR(m.meta + m.bos + m.self + m.cross, 1, 1e-4) << name << m.layer << m.branch;
      EXPECT_GE(m.entropy, 0);
      EXPECT_EQ(m.by_meta.size(), static_cast<std::size_t>(model.config().meta_tokens));
      if (m.by_meta.empty()) {
        EXPECT_EQ(m.meta, 0);
      }
    }
    for (const auto& m : composed_maps(model, some_ids(1, 30))) {
      EXPECT_LE(difference(m.map_TS.sum(1), at::ones({30})), 1e-4) << name;
      if (std::string(name) == "row-07") {
        EXPECT_EQ(m.attention_TS[29][10].item<double>(), 0);  // window 16
      }
    }
  }
}

TEST(ReceptiveField, EndsWhereTheWindowsEnd) {
  // Six layers of windows of 4 reach 6 * 3 tokens back, and no further.
  const LanguageModel model(open("row-06", {{"attention.window", "4", "test"}}), 2);
  const auto field = receptive_field(model, some_ids(2, 40), 2, 1);
  double sum = field.meta;
  for (std::size_t d = 0; d < field.by_distance.size(); ++d) {
    sum += field.by_distance[d];
    if (d > 18) {
      EXPECT_EQ(field.by_distance[d], 0) << d;
    }
  }
  EXPECT_NEAR(sum, 1, 1e-6);
  EXPECT_GT(field.by_distance[3], 0);
  EXPECT_LT(field.mean_distance, 18);
  EXPECT_GT(receptive_field(LanguageModel(open("row-13"), 2), some_ids(1, 20), 2, 1).meta, 0);
}

TEST(BranchMagnitudes, OfBothBranchesInEachLayer) {
  const LanguageModel model(open("row-13"), 2);
  const auto list = branch_magnitudes(model, some_ids(2, 20));
  ASSERT_EQ(list.size(), 12u);
  for (const auto& m : list) {
    EXPECT_GT(m.output, 0);
    EXPECT_DOUBLE_EQ(m.gate, 1);  // as it starts
    EXPECT_NEAR(m.fused, 1, 0.05);  // RMS norm
  }
  EXPECT_TRUE(std::isnan(branch_magnitudes(LanguageModel(open("row-01"), 2), some_ids(1, 9)).at(0).gate));
}

TEST(Needle, StandsAtItsDepthInATextOfTheLengthAsked) {
  const data::World world(0);
  const auto haystack = world_haystack(world);
  for (const std::int64_t length : {haystack->shortest(), std::int64_t{64}, std::int64_t{200}}) {
    for (const double depth : {0.0, 0.5, 1.0}) {
      const auto item = haystack->item(length, depth, 7);
      EXPECT_EQ(item.context.size(), static_cast<std::size_t>(length));
      EXPECT_EQ(item.candidates.size(), haystack->candidates());
      const auto text = world.tokenizer().decode(item.context), answer = world.tokenizer().decode(item.candidates[item.gold]);
      EXPECT_NE(text.find(answer), std::string::npos) << text;
      EXPECT_EQ(item.gold, haystack->item(length, 0.25, 7).gold);
      const auto at = static_cast<double>(text.find("list :")) / static_cast<double>(text.size());
      if (length == 200) {
        EXPECT_NEAR(at, 0.9 * depth, 0.12);
      }
    }
  }
  EXPECT_THROW(haystack->item(5, 0.5, 0), UserError);
}

TEST(Prompts, OfEveryKindAndOneLength) {
  const data::World world(0);
  const auto sets = world_prompts(world, 2, 24);
  EXPECT_GT(sets.size(), 6u);
  for (const auto& set : sets) {
    for (const auto& row : set.rows) {
      EXPECT_EQ(row.size(), 24u) << set.domain;
      EXPECT_EQ(row[0], world.tokenizer().bos());
    }
  }
}

}  // namespace
}  // namespace hymba::eval
