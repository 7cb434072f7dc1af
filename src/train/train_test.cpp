#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
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
    TrainJob job;
    job.design = &design;
    job.recipe = &recipe;
    job.source = &source;
    const auto result = train(job);
    const at::NoGradGuard no_grad;
    EXPECT_LT(validation_loss(*result.model, source, 32, 4, 2).loss, 0.3) << name;
  }
}

TEST(Trainer, SameSeedRepeatsBitForBit) {
  const Counting source;
  Recipe recipe = small_recipe();
  recipe.tokens = 4096;
  const Design design = small_design("row-13");
  TrainJob job;
  job.design = &design;
  job.recipe = &recipe;
  job.source = &source;
  const auto a = train(job), b = train(job);
  EXPECT_EQ(a.state.curve, b.state.curve);
  for (const auto& p : a.model->parameters().all()) EXPECT_TRUE(p.value.equal(b.model->parameters().find(p.name)->value)) << p.name;
}

TEST(Trainer, MarkedTokensAreReadButNotLearnt) {
  const HalfCounting half;
  const Counting whole;
  Recipe recipe = small_recipe();
  const Design design = small_design("row-04");
  TrainJob job;
  job.design = &design;
  job.recipe = &recipe;
  job.source = &half;
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
  TrainJob job;
  job.design = &design;
  job.recipe = &recipe;
  job.source = &source;
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

}  // namespace
}  // namespace hymba
