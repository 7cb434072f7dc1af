#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/max.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <map>

#include "base/error.h"
#include "nn/linear.h"
#include "train/optimizer.h"
#include "train/trainer.h"

namespace hymba {
namespace {

// A source that says 0 1 2 3 ... with a shift, so that every next token is certain.
class Counting : public TokenSource {
 public:
  void sequence(std::uint64_t index, std::span<std::int32_t> out) const override {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::int32_t>((index + i) % 20);
  }
  void validation(std::uint64_t index, std::span<std::int32_t> out) const override { sequence(index + 7, out); }
  std::int64_t validation_count(std::int64_t) const override { return 4; }
  const Tokenizer& tokenizer() const override { throw Error("none"); }
  std::string describe() const override { return "counting"; }
  std::uint64_t hash() const override { return 1; }
};

// The same, with every token that is even not to be predicted.
class HalfCounting : public Counting {
 public:
  void sequence(std::uint64_t index, std::span<std::int32_t> out) const override {
    Counting::sequence(index, out);
    for (auto& id : out) id = id % 2 == 0 ? ~id : id;
  }
  void validation(std::uint64_t index, std::span<std::int32_t> out) const override { sequence(index + 7, out); }
  std::uint64_t hash() const override { return 2; }
};

TrainJob job_of(const Design& design, const Recipe& recipe, const TokenSource& source) {
  TrainJob job;
  job.design = &design;
  job.recipe = &recipe;
  job.source = &source;
  return job;
}

Recipe small_recipe() {
  Recipe r;
  Resolver resolver({{"test", true, {{"train.tokens", "40960", ""}, {"train.batch", "8", ""}, {"train.length", "32", ""},
                                      {"train.lr", "0.01", ""}, {"train.log_every", "10", ""}}}});
  resolver.read(r.options());
  r.check();
  return r;
}

Design small_design(const std::string& name) {
  static const DesignLibrary designs(std::string(HYMBA_SOURCE_DIR) + "/ablations");
  return designs.open(name, "smoke", {{"vocab", "20", "command line"}});
}

// The job stopped at step 47 and started again ends as `whole`, bit for bit.
void expect_same_when_stopped(TrainJob job, const TrainResult& whole) {
  job.run = testing::TempDir() + "hymba_stopped";
  std::filesystem::remove_all(job.run);
  job.on_step = [](std::int64_t step, std::int64_t, double) { if (step == 47) throw Error("stopped"); };
  EXPECT_THROW(train(job), Error);
  job.on_step = nullptr;
  const auto resumed = train(job);
  EXPECT_EQ(resumed.resumed_from, 47);  // a listener that fails costs no step
  EXPECT_EQ(resumed.state.curve, whole.state.curve);
  for (const auto& p : whole.model->parameters().all()) EXPECT_TRUE(p.value.equal(resumed.model->parameters().find(p.name)->value)) << p.name;
}

TEST(Recipe, SchedulesWarmUpAndFall) {
  Recipe r = small_recipe();
  const auto steps = r.steps();
  EXPECT_EQ(steps, 160);
  EXPECT_LT(r.lr_at(0), r.lr_at(5));
  EXPECT_NEAR(r.lr_at(7), r.lr, 1e-9);
  EXPECT_NEAR(r.lr_at(steps - 1), r.lr * r.min_lr, 1e-5);
  r.schedule = "wsd";
  EXPECT_NEAR(r.lr_at(steps / 2), r.lr, 1e-12);
  EXPECT_LT(r.lr_at(steps - 1), 0.2 * r.lr);
  r.schedule = "linear";
  EXPECT_THROW(r.check(), UserError);
}

TEST(Recipe, LengthWarmUpKeepsTheTokensOfAStep) {
  Recipe r = small_recipe();
  r.short_length = 8;
  r.short_part = 0.5;
  r.check();
  EXPECT_EQ(r.length_at(0), 8);
  EXPECT_EQ(r.batch_at(0) * r.length_at(0), r.batch * r.length);
  EXPECT_EQ(r.length_at(r.steps() - 1), 32);
  r.short_length = 5;
  EXPECT_THROW(r.check(), UserError);
}

TEST(Trainer, EveryKindOfDesignLearnsTheCertain) {
  const Counting source;
  const Recipe recipe = small_recipe();
  for (const std::string name : {"row-01", "row-06", "row-11", "row-13", "mamba2-ffn"}) {
    const Design design = small_design(name);
    TrainJob job = job_of(design, recipe, source);
    const auto result = train(job);
    const at::NoGradGuard no_grad;
    EXPECT_LT(validation_loss(*result.model, source, 32, 4, 2).loss, 0.3) << name;
  }
}

TEST(Optimizer, OrthogonalPartKeepsDirectionsAndEvensSizes) {
  at::Generator generator = at::detail::createCPUGenerator(3);
  for (const auto& [m, n] : {std::pair<std::int64_t, std::int64_t>{6, 17}, {17, 6}, {9, 9}, {1, 5}}) {
    const at::Tensor g = at::randn({m, n}, generator) * 1e-3;
    const auto [u, s, v] = at::linalg_svd(orthogonal_part(g), false);
    EXPECT_LT(s.max().item<double>(), 1.25);
    EXPECT_GT(s.max().item<double>(), 0.65);
    const auto [gu, gs, gv] = at::linalg_svd(g, false);
    const at::Tensor nearest = gu.mm(gv);
    EXPECT_GT((nearest * orthogonal_part(g)).sum().item<double>() / static_cast<double>(std::min(m, n)), 0.6);
  }
  EXPECT_EQ(orthogonal_part(at::zeros({3, 4})).abs().max().item<double>(), 0.0);
}

TEST(Optimizer, MuonTrainsTheLayersMatricesAlone) {
  const Counting source;
  Recipe recipe = small_recipe();
  recipe.optimizer = "muon";
  recipe.check();
  for (const std::string name : {"row-01", "row-13", "mamba2-ffn"}) {
    const Design design = small_design(name);
    TrainJob job = job_of(design, recipe, source);
    const auto result = train(job);
    const at::NoGradGuard no_grad;
    EXPECT_LT(validation_loss(*result.model, source, 32, 4, 2).loss, 0.3) << name;
    Optimizer optimizer(result.model->parameters(), recipe);
    std::size_t matrices = 0;
    for (const auto& [key, tensor] : optimizer.state()) {
      if (!key.starts_with("momentum.")) continue;
      ++matrices;
      EXPECT_EQ(tensor.dim(), 2) << key;
      EXPECT_EQ(key.find("embed"), std::string::npos) << key;
      EXPECT_EQ(key.find("norm"), std::string::npos) << key;
    }
    EXPECT_GE(matrices, 12u) << name;
  }
  recipe.tokens = 20480;
  recipe.checkpoint_every = 30;
  const Design design = small_design("row-13");
  TrainJob job = job_of(design, recipe, source);
  expect_same_when_stopped(job, train(job));
  recipe.momentum = 1;
  EXPECT_THROW(recipe.check(), UserError);
  recipe.momentum = 0.9;
  recipe.optimizer = "sgd";
  EXPECT_THROW(recipe.check(), UserError);
}

TEST(Trainer, HeldOutLossIsKeptOverTheRunAndChangesNothing) {
  const Counting source;
  Recipe recipe = small_recipe();
  recipe.log_every = 4;
  const Design design = small_design("row-06");
  TrainJob job = job_of(design, recipe, source);
  const auto result = train(job);
  const auto& held = result.state.extra.at("held_out");
  ASSERT_GE(held.size(), 15u);
  EXPECT_LE(held.size(), 20u);
  EXPECT_GT(held.front().at(2).get<double>(), held.back().at(2).get<double>());
  for (const auto& point : held) {
    EXPECT_EQ(point.at(1).get<std::int64_t>(), point.at(0).get<std::int64_t>() * recipe.tokens_per_step());
    EXPECT_LT(point.at(0).get<std::int64_t>(), recipe.steps());
  }
  recipe.log_every = recipe.steps();  // no point before the end
  const auto without = train(job);
  EXPECT_FALSE(without.state.extra.contains("held_out"));
  EXPECT_EQ(without.state.curve.back()[4], result.state.curve.back()[4]);  // the last gradient norm
}

TEST(Trainer, SameSeedRepeatsBitForBit) {
  const Counting source;
  Recipe recipe = small_recipe();
  recipe.tokens = 4096;
  const Design design = small_design("row-13");
  TrainJob job = job_of(design, recipe, source);
  const auto a = train(job), b = train(job);
  EXPECT_EQ(a.state.curve, b.state.curve);
  for (const auto& p : a.model->parameters().all()) EXPECT_TRUE(p.value.equal(b.model->parameters().find(p.name)->value)) << p.name;
}

TEST(Trainer, MarkedTokensAreReadButNotLearnt) {
  const HalfCounting half;
  const Counting whole;
  Recipe recipe = small_recipe();
  const Design design = small_design("row-04");
  TrainJob job = job_of(design, recipe, half);
  const auto result = train(job);
  const auto odd = validation_loss(*result.model, half, recipe.length, 4, 4), all = validation_loss(*result.model, whole, recipe.length, 4, 4);
  EXPECT_EQ(odd.tokens * 2, all.tokens);
  EXPECT_LT(odd.loss, 0.1);
  EXPECT_GT(all.loss, 1);  // even tokens were never a target
}

TEST(Trainer, NotANumberStopsWithStepAndParameter) {
  const Counting source;
  Recipe recipe = small_recipe();
  recipe.lr = 1e30;  // the weights overflow
  recipe.spike = 0;
  const Design design = small_design("row-06");
  TrainJob job = job_of(design, recipe, source);
  try {
    train(job);
    FAIL();
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("not finite at step"), std::string::npos) << text;
    EXPECT_NE(text.find("Last good checkpoint: none"), std::string::npos) << text;
    EXPECT_NE(text.find(" is not finite. Last"), std::string::npos) << text;  // names a parameter
  }
}

// Gradients of one batch by parameter name.
std::map<std::string, at::Tensor> gradients(const Design& design, bool bf16) {
  const LanguageModel model(design, 3);
  const at::Tensor ids = at::arange(64, at::kLong).remainder(20).view({2, 32});
  {
    const Bf16Products products(bf16);
    model.loss(ids, (ids + 1).remainder(20)).backward();
  }
  std::map<std::string, at::Tensor> all;
  for (const auto& p : model.parameters().all()) all[p.name] = p.value.grad();
  return all;
}

TEST(Autocast, GradientsAreThoseOfFloat32WithinRounding) {
  for (const std::string name : {"row-13", "mamba2-ffn"}) {
    const Design design = small_design(name);
    const auto full = gradients(design, false), rounded = gradients(design, true);
    double error = 0, norm = 0;
    for (const auto& [key, g] : full) {
      ASSERT_EQ(rounded.at(key).scalar_type(), at::kFloat) << key;
      error += (rounded.at(key) - g).square().sum().item<double>();
      norm += g.square().sum().item<double>();
    }
    EXPECT_LT(std::sqrt(error / norm), 0.03) << name;  // bf16 keeps 8 bits: 0.4 % a product
    EXPECT_GT(error, 0) << name << ": the products were not rounded";
  }
}

TEST(Autocast, EndsWithItsScope) {
  const at::Tensor x = at::full({1, 1}, 1.001), w = at::full({1, 1}, 1.0);
  {
    const Bf16Products outer(true);
    EXPECT_EQ(product(x, w).item<float>(), 1.0F);
    { const Bf16Products inner(false); EXPECT_EQ(product(x, w).item<float>(), 1.001F); }
    EXPECT_EQ(product(x, w).item<float>(), 1.0F);
  }
  EXPECT_EQ(product(x, w).item<float>(), 1.001F);
}

TEST(Autocast, UnknownKindsAndProcessorsAreTheUsersMistake) {
  Recipe r = small_recipe();
  r.autocast = "fp16";
  EXPECT_THROW(r.check(), UserError);
  r.autocast = "bf16";
  if (Bf16Products::supported()) EXPECT_NO_THROW(r.check());
  else EXPECT_THROW(r.check(), UserError);
}

TEST(Autocast, LossFollowsFloat32AndAStoppedRunGoesOnBitForBit) {
  if (!Bf16Products::supported()) GTEST_SKIP() << "this processor has no AVX-512 BF16";
  const Counting source;
  Recipe recipe = small_recipe();
  recipe.tokens = 20480;
  recipe.checkpoint_every = 30;
  const Design design = small_design("row-13");
  TrainJob job = job_of(design, recipe, source);
  const auto full = train(job);
  recipe.autocast = "bf16";
  const auto whole = train(job);
  ASSERT_EQ(full.state.curve.size(), whole.state.curve.size());
  for (std::size_t i = 0; i < full.state.curve.size(); ++i)
    EXPECT_NEAR(full.state.curve[i][2].get<double>(), whole.state.curve[i][2].get<double>(), 0.05) << i;
  EXPECT_NE(full.state.curve, whole.state.curve);
  EXPECT_NE(full.state.config_hash, whole.state.config_hash);
  expect_same_when_stopped(job, whole);
}

}  // namespace
}  // namespace hymba
