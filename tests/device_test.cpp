// The program on a GPU equals the program on the CPU: every row and peer at smoke size, forward, gradients, prefill in
// chunks, ragged decoding steps in every cache type, training, checkpoints, scoring. HYMBA_TEST_DEVICE=cuda: on a GPU;
// else on the fake one (fake_gpu.h), where Boost.Context is there.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>

#include "base/error.h"
#include "engine/engine.h"
#include "engine/generate.h"
#include "eval/attention_map.h"
#include "eval/head_removal.h"
#include "eval/model_scorer.h"
#include "eval/receptive_field.h"
#include "eval/speed.h"
#include "kernels/cuda/plugin.h"
#include "model/language_model.h"
#include "train/checkpoint.h"
#include "train/trainer.h"
#if HYMBA_FAKE_GPU
#include "fake_gpu.h"
#endif

namespace hymba {
namespace {

constexpr std::int64_t kVocab = 50;

// None: no GPU and no fake one.
std::optional<at::Device> device_under_test() {
  const char* name = std::getenv("HYMBA_TEST_DEVICE");
  if (name != nullptr && std::string(name) == "cuda") {
    kernels::load_cuda();
    return at::Device(at::kCUDA, 0);
  }
#if HYMBA_FAKE_GPU
  return testing::fake_gpu();
#else
  return std::nullopt;
#endif
}

const DesignLibrary& library() {
  static const char* home = std::getenv("HYMBA_HOME");
  static const DesignLibrary designs((home != nullptr ? std::string(home) : HYMBA_SOURCE_DIR) + "/ablations");
  return designs;
}

// Options that no design of ablations/ sets: biases, scales and norms of published models.
const std::map<std::string, std::vector<Assignment>>& option_designs() {
  static const std::map<std::string, std::vector<Assignment>> designs = {
      {"option:biases",
       {{"from", "row-09", ""}, {"attention.bias", "all", ""}, {"mamba.proj_bias", "true", ""}, {"ffn.bias", "true", ""}}},
      {"option:norm_of_each_head", {{"from", "row-09", ""}, {"attention.qk_norm", "rms_per_head", ""}}},
      {"option:norm_of_heads", {{"from", "row-06", ""}, {"attention.qk_norm", "rms", ""}}},
      {"option:moe", {{"from", "row-01", ""}, {"layers.pattern", "mamba swiglu attention moe", ""}}},
      {"option:falcon_h1",
       {{"from", "row-05", ""}, {"mixer", "parallel(attention,mamba2)", ""}, {"parallel.fusion", "concat", ""},
        {"parallel.norms", "false", ""}, {"mamba2.inner", "48", ""}, {"mamba2.head_dim", "8", ""}, {"mamba2.state", "8", ""},
        {"mamba2.groups", "2", ""}, {"mamba2.in_bias", "true", ""}, {"mamba2.out_bias", "true", ""},
        {"attention.bias", "qkv", ""}, {"mamba2.norm_before_gate", "true", ""}, {"mamba2.dt_floor", "0.01", ""},
        {"mamba2.dt_ceiling", "0.08", ""}, {"mamba2.scales", "0.7,0.9,1.1,0.8,1.2", ""}, {"mamba2.in_scale", "1.2", ""},
        {"mamba2.out_scale", "0.85", ""}, {"attention.key_scale", "0.8", ""}, {"ffn.gate_scale", "0.9", ""},
        {"embedding_scale", "1.5", ""}, {"logit_scale", "0.7", ""}}},
  };
  return designs;
}

Design open(const std::string& name) {
  std::vector<Assignment> overrides = {{"vocab", std::to_string(kVocab), "test"}};
  std::string base = name;
  if (const auto found = option_designs().find(name); found != option_designs().end()) {
    for (const auto& a : found->second) {
      if (a.key == "from") base = a.value;
      if (a.key != "from") overrides.push_back(a);
    }
  }
  return library().open(base, "smoke", overrides);
}

std::vector<std::string> all_names() {
  std::vector<std::string> names = library().roadmap();
  for (const char* name : {"hymba", "mamba", "mamba2", "mamba2-ffn", "llama", "samba", "jamba"}) names.emplace_back(name);
  for (const auto& [name, options] : option_designs()) names.push_back(name);
  return names;
}

at::Tensor some_ids(std::int64_t rows, std::int64_t length, std::uint64_t seed = 3) {
  Rng rng(seed);
  const at::Tensor ids = at::empty({rows, length}, at::kLong);
  for (std::int64_t i = 0; i < ids.numel(); ++i) ids.data_ptr<std::int64_t>()[i] = static_cast<std::int64_t>(rng.below(kVocab));
  return ids;
}

// A model with numbers that show every part: the initial output projections are small.
std::unique_ptr<LanguageModel> model_on(const at::Device& device, const Design& design) {
  set_model_device(device);
  auto model = std::make_unique<LanguageModel>(design, 5);
  set_model_device(at::kCPU);
  return model;
}

double relative(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.detach().to(at::kCPU).to(at::kDouble), y = b.detach().to(at::kCPU).to(at::kDouble);
  if (!x.isfinite().all().item<bool>()) return INFINITY;
  return (x - y).abs().max().item<double>() / std::max(1e-6, y.abs().max().item<double>());
}

class Devices : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    device_ = device_under_test();
    if (!device_) GTEST_SKIP() << "no GPU (HYMBA_TEST_DEVICE=cuda) and no Boost.Context for the fake one";
  }
  void TearDown() override { set_model_device(at::kCPU); }
  at::Device device() const { return *device_; }
  std::optional<at::Device> device_;
};

class EveryDesign : public Devices {};

TEST_P(EveryDesign, LogitsLossAndGradientsAreThoseOfTheCpu) {
  const Design design = open(GetParam());
  const auto here = model_on(at::kCPU, design), there = model_on(device(), design);
  const at::Tensor ids = some_ids(2, 21), targets = some_ids(2, 21, 4);
  {
    const at::NoGradGuard no_grad;
    const at::Tensor logits = there->logits(there->forward(ids));
    EXPECT_EQ(logits.device(), device());
    EXPECT_LT(relative(logits, here->logits(here->forward(ids))), 1e-4);
  }
  const at::Tensor loss = there->loss(ids, targets), expected = here->loss(ids, targets);
  EXPECT_NEAR(loss.item<double>(), expected.item<double>(), 1e-5);
  loss.backward(), expected.backward();
  for (std::size_t i = 0; i < here->parameters().all().size(); ++i) {
    const auto& mine = there->parameters().all()[i].value;
    const auto& other = here->parameters().all()[i];
    ASSERT_EQ(mine.device(), device()) << other.name;
    ASSERT_EQ(mine.grad().defined(), other.value.grad().defined()) << other.name;
    if (mine.grad().defined()) {
      EXPECT_LT(relative(mine.grad(), other.value.grad()), 1e-3) << other.name;
    }
  }
}

// Logits of prompts read in chunks and of ragged steps, in order; slot 1 idles in the middle.
std::vector<at::Tensor> logits_of(const LanguageModel& model, at::ScalarType kv_type) {
  EngineOptions options;
  options.kv_type = kv_type, options.chunk = 7;
  const Engine engine(model, options);
  const auto batch = engine.open(3, 40);
  std::vector<at::Tensor> logits;
  const std::int64_t prompts[] = {17, 1, 9};
  for (std::int64_t s = 0; s < 3; ++s) {
    const at::Tensor ids = some_ids(1, prompts[s], 10 + static_cast<std::uint64_t>(s));
    const auto* data = ids.data_ptr<std::int64_t>();
    logits.push_back(batch->prefill(s, std::span(data, static_cast<std::size_t>(prompts[s]))).to(at::kCPU));
  }
  for (std::int64_t t = 0; t < 12; ++t) {
    const std::vector<std::int64_t> ids = {t % kVocab, t == 4 ? -1 : (3 * t) % kVocab, (7 * t + 1) % kVocab};
    const at::Tensor all = batch->step(ids).to(at::kCPU);
    for (std::int64_t s = 0; s < 3; ++s) {
      if (ids[static_cast<std::size_t>(s)] >= 0) logits.push_back(all[s].clone());
    }
  }
  return logits;
}

TEST_P(EveryDesign, PrefillAndStepsAreThoseOfTheCpu) {
  const Design design = open(GetParam());
  const auto here = model_on(at::kCPU, design), there = model_on(device(), design);
  for (const auto kv_type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const auto expected = logits_of(*here, kv_type), actual = logits_of(*there, kv_type);
    ASSERT_EQ(actual.size(), expected.size());
    // Keys that round to other 16-bit numbers differ by their last bit.
    const double tolerance = kv_type == at::kFloat ? 2e-4 : 2e-2;
    for (std::size_t i = 0; i < actual.size(); ++i) {
      EXPECT_LT(relative(actual[i], expected[i]), tolerance) << c10::toString(kv_type) << " logits " << i;
    }
  }
}

TEST_P(EveryDesign, SixteenBitWeightsAndSyntheticCachesRun) {
  const Design design = open(GetParam());
  const auto there = model_on(device(), design), here = model_on(at::kCPU, design);
  there->set_weight_type(at::kBFloat16), here->set_weight_type(at::kBFloat16);
  const auto expected = logits_of(*here, at::kBFloat16), actual = logits_of(*there, at::kBFloat16);
  for (std::size_t i = 0; i < actual.size(); ++i) EXPECT_LT(relative(actual[i], expected[i]), 5e-2) << "logits " << i;
  for (const auto fill : {eval::Fill::kSynthetic, eval::Fill::kReal}) {
    eval::SpeedOptions options;
    options.context = 50, options.batch = 2, options.chunk = 16, options.repeats = 1, options.steps = 2;
    options.fill = fill, options.kv_type = at::kBFloat16;
    const auto speed = eval::measure_speed(*there, options);
    EXPECT_GT(speed.decode_tok_s, 0);
    EXPECT_EQ(speed.cache_bytes_measured, speed.cache_bytes_predicted);
  }
}

INSTANTIATE_TEST_SUITE_P(All, EveryDesign, ::testing::ValuesIn(all_names()), [](const auto& info) {
  std::string name = info.param;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
});

// Numbers that repeat with a period: enough to be learned.
class Counting : public TokenSource {
 public:
  void sequence(std::uint64_t index, std::span<std::int32_t> out) const override { fill(index, out); }
  std::int64_t validation_count(std::int64_t) const override { return 4; }
  void validation(std::uint64_t index, std::span<std::int32_t> out) const override { fill(index + 1000, out); }
  const Tokenizer& tokenizer() const override { throw Error("none"); }
  std::string describe() const override { return "counting"; }
  std::uint64_t hash() const override { return 1; }

 private:
  static void fill(std::uint64_t index, std::span<std::int32_t> out) {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::int32_t>((index * 7 + i * (1 + index % 3)) % kVocab);
  }
};

class Program : public Devices {};

TEST_P(Program, TrainsAsTheCpuDoesAndItsCheckpointsServeBoth) {
  namespace fs = std::filesystem;
  const Design design = open("row-13");
  const Counting source;
  Recipe recipe;
  Resolver resolver({{"test", true, {{"train.tokens", "384", ""}, {"train.batch", "4", ""}, {"train.length", "16", ""},
                                     {"train.checkpoint_every", "3", ""}, {"train.log_every", "1", ""}}}});
  resolver.read(recipe.options());
  std::vector<double> losses[2];
  std::string hashes[2];
  const fs::path folder = fs::temp_directory_path() / fmt::format("hymba-device-{}", ::getpid());
  for (const int on_gpu : {0, 1}) {
    set_model_device(on_gpu ? device() : at::Device(at::kCPU));
    TrainJob job;
    job.design = &design, job.recipe = &recipe, job.source = &source, job.run = folder / std::to_string(on_gpu);
    job.on_point = [&](const TrainPoint& p) { losses[on_gpu].push_back(p.loss); };
    const auto result = train(job);
    EXPECT_EQ(result.model->device(), model_device());
    hashes[on_gpu] = result.state.config_hash;
    losses[on_gpu].push_back(validation_loss(*result.model, source, 16, 4, 2).loss);
  }
  EXPECT_EQ(hashes[0], hashes[1]);
  ASSERT_EQ(losses[0].size(), losses[1].size());
  for (std::size_t i = 0; i < losses[0].size(); ++i) EXPECT_NEAR(losses[0][i], losses[1][i], 2e-3) << "step " << i;
  // The GPU's checkpoint, opened on the CPU and on the GPU.
  at::Tensor logits[2];
  for (const int on_gpu : {0, 1}) {
    set_model_device(on_gpu ? device() : at::Device(at::kCPU));
    const auto loaded = load_checkpoint(folder / "1");
    logits[on_gpu] = loaded.model->logits(loaded.model->forward(some_ids(1, 12))).to(at::kCPU);
  }
  EXPECT_LT(relative(logits[1], logits[0]), 1e-4);
  // A run that the CPU began goes on where it stopped, on the GPU.
  fs::remove_all(folder / "0" / "step-00000006");
  set_model_device(device());
  TrainJob job;
  job.design = &design, job.recipe = &recipe, job.source = &source, job.run = folder / "0";
  const auto resumed = train(job);
  EXPECT_EQ(resumed.resumed_from, 3);
  EXPECT_NEAR(validation_loss(*resumed.model, source, 16, 4, 2).loss, losses[0].back(), 2e-3);
  fs::remove_all(folder);
}

TEST_P(Program, GeneratesAndScoresAsTheCpuDoes) {
  const Design design = open("row-09");
  std::vector<std::vector<std::int64_t>> texts[2];
  std::vector<double> scores[2];
  for (const int on_gpu : {0, 1}) {
    const auto model = model_on(on_gpu ? device() : at::Device(at::kCPU), design);
    const Engine engine(*model);
    GenerateOptions options;
    options.batch = 2;
    texts[on_gpu] = generate(engine, {{{1, 2, 3}, 5}, {{4}, 6}, {{9, 8, 7, 6}, 3}}, options).ids;
    eval::ModelScorer scorer(*model, {});
    const std::vector<eval::LoglikelihoodRequest> requests = {{{1, 2, 3}, {4, 5}}, {{7}, {8}}};
    for (const auto& r : scorer.loglikelihood(requests)) scores[on_gpu].push_back(r.logprob);
    eval::GenerateRequest request;
    request.prompt = {1, 2}, request.max_new_tokens = 8;
    for (const auto& ids : scorer.generate(std::vector{request})) {
      for (const auto id : ids) scores[on_gpu].push_back(id);
    }
  }
  EXPECT_EQ(texts[0], texts[1]);
  ASSERT_EQ(scores[0].size(), scores[1].size());
  for (std::size_t i = 0; i < scores[0].size(); ++i) EXPECT_NEAR(scores[0][i], scores[1][i], 1e-3);
}

TEST_P(Program, StudiesRunOnTheDevice) {
  const Design design = open("row-09");
  const auto here = model_on(at::kCPU, design), there = model_on(device(), design);
  const at::Tensor ids = some_ids(1, 14);
  const auto a = eval::attention_masses(*here, ids, true), b = eval::attention_masses(*there, ids, true);
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i].entropy, b[i].entropy, 1e-3);
  EXPECT_NEAR(eval::receptive_field(*here, ids, 2, 1).mean_distance, eval::receptive_field(*there, ids, 2, 1).mean_distance, 1e-2);
  for (const auto mode : {eval::RemovalMode::kZero, eval::RemovalMode::kMean}) {
    std::vector<double> scores[2];
    for (const int on_gpu : {0, 1}) {
      const LanguageModel& model = on_gpu ? *there : *here;
      eval::RemovalOptions options;
      options.mode = mode;
      eval::RemovalScorer scorer(model, eval::list_removals(model, {}, "both", false), options);
      const std::vector<eval::LoglikelihoodRequest> requests = {{{1, 2, 3}, {4, 5}}, {{7}, {8}}};
      for (int v = -1; v < 2; ++v) {
        scorer.select(v);
        for (const auto& r : scorer.loglikelihood(requests)) scores[on_gpu].push_back(r.logprob);
      }
    }
    ASSERT_EQ(scores[0].size(), scores[1].size());
    for (std::size_t i = 0; i < scores[0].size(); ++i) EXPECT_NEAR(scores[0][i], scores[1][i], 1e-3);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Program, ::testing::Values("cpu and device"), [](const auto&) { return "once"; });

}  // namespace
}  // namespace hymba
