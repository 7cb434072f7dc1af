// What every mixer and every row of the roadmap must do, whoever wrote it: a new mixer or row gets these for nothing.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "model/language_model.h"
#include "train/checkpoint.h"

namespace hymba {
namespace {

constexpr std::int64_t kVocab = 50;
constexpr double kRounding = 2e-4;  // fp32 sums in another order, relative to outputs of about 1 after the final norm

const DesignLibrary& library() {
  static const DesignLibrary designs(std::string(HYMBA_SOURCE_DIR) + "/ablations");
  return designs;
}

// Options that no design of ablations/ sets: those of published models (Llama 3, Qwen 2, Jamba, Falcon-H1, Hymba's variants).
const std::map<std::string, std::vector<Assignment>>& option_designs() {
  static const std::map<std::string, std::vector<Assignment>> designs = {
      {"option:biases", {{"from", "row-09", ""}, {"attention.bias", "all", ""}, {"mamba.proj_bias", "true", ""}, {"ffn.bias", "true", ""}}},
      {"option:qkv_bias", {{"from", "row-06", ""}, {"attention.bias", "qkv", ""}}},
      {"option:norm_of_each_head", {{"from", "row-09", ""}, {"attention.qk_norm", "rms_per_head", ""}}},
      {"option:llama3_rope",
       {{"from", "row-06", ""}, {"attention.rope_scaling", "llama3", ""}, {"attention.rope_factor", "8", ""}, {"attention.rope_original", "32", ""}}},
      {"option:linear_rope", {{"from", "row-06", ""}, {"attention.rope_scaling", "linear", ""}, {"attention.rope_factor", "4", ""}}},
      {"option:full_layer_with_keys_of_a_window",
       {{"from", "row-07", ""}, {"attention.full_layers", "2", ""}, {"attention.kv_groups", "1-2", ""}}},
      {"option:moe", {{"from", "row-01", ""}, {"layers.pattern", "mamba swiglu attention moe", ""}}},
      {"option:moe_renormalised",
       {{"from", "row-06", ""}, {"ffn", "moe", ""}, {"moe.experts", "3", ""}, {"moe.renormalise", "true", ""}, {"embedding_scale", "3", ""}}},
      {"option:falcon_h1",
       {{"from", "row-05", ""}, {"mixer", "parallel(attention,mamba2)", ""}, {"parallel.fusion", "concat", ""}, {"parallel.norms", "false", ""},
        {"mamba2.inner", "48", ""}, {"mamba2.head_dim", "8", ""}, {"mamba2.state", "8", ""}, {"mamba2.groups", "2", ""}, {"mamba2.in_bias", "true", ""},
        {"mamba2.out_bias", "true", ""}, {"attention.bias", "all", ""}, {"mamba2.norm_before_gate", "true", ""}, {"mamba2.dt_floor", "0.01", ""},
        {"mamba2.dt_ceiling", "0.08", ""}, {"mamba2.scales", "0.7,0.9,1.1,0.8,1.2", ""}, {"mamba2.in_scale", "1.2", ""}, {"mamba2.out_scale", "0.85", ""},
        {"attention.in_scale", "1.1", ""}, {"attention.key_scale", "0.8", ""}, {"attention.out_scale", "0.9", ""}, {"ffn.gate_scale", "0.9", ""},
        {"ffn.out_scale", "1.3", ""}, {"embedding_scale", "1.5", ""}, {"logit_scale", "0.7", ""}}},
  };
  return designs;
}

// A name of a design at smoke size, or "mixer:NAME": that registered mixer alone.
Design open(const std::string& name) {
  std::vector<Assignment> overrides = {{"vocab", std::to_string(kVocab), "test"}};
  std::string base = name;
  if (name.rfind("mixer:", 0) == 0) {
    base = "base";
    overrides.push_back({"mixer", name.substr(6), "command line"});
    overrides.push_back({"layers", "2", "command line"});
    if (name == "mixer:mamba2") overrides.push_back({"mamba2.state", "8", "command line"});
    if (name == "mixer:mamba2") overrides.push_back({"mamba2.head_dim", "8", "command line"});
    if (name == "mixer:mamba2") overrides.push_back({"mamba2.groups", "2", "command line"});
  }
  if (const auto found = option_designs().find(name); found != option_designs().end()) {
    for (const auto& [key, value, origin] : found->second) {
      if (key == "from") base = value;
      if (key != "from") overrides.push_back({key, value, "command line"});
    }
  }
  return library().open(base, "smoke", overrides);
}

std::vector<std::string> all_names() {
  std::vector<std::string> names = library().names();
  for (const auto& mixer : mixer_names()) names.push_back("mixer:" + mixer);
  for (const auto& [name, overrides] : option_designs()) names.push_back(name);
  return names;
}

at::Tensor some_ids(std::int64_t batch, std::int64_t length) {
  Rng rng(5);
  at::Tensor ids = at::randint(0, 1, {batch, length}, at::kLong);
  for (std::int64_t i = 0; i < ids.numel(); ++i) ids.data_ptr<std::int64_t>()[i] = static_cast<std::int64_t>(rng.below(kVocab));
  return ids;
}

double max_difference(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

class Conformance : public testing::TestWithParam<std::string> {
 protected:
  Design design_ = open(GetParam());
  LanguageModel model_{design_, 3};
};

TEST_P(Conformance, ShapesAndFiniteOutputs) {
  const at::NoGradGuard no_grad;
  for (const std::int64_t length : {1, 2, 37}) {
    const at::Tensor hidden = model_.forward(some_ids(2, length));
    EXPECT_EQ(hidden.sizes(), (std::vector<std::int64_t>{2, length, design_.config().hidden}));
    EXPECT_TRUE(at::isfinite(model_.logits(hidden)).all().item<bool>());
  }
}

TEST_P(Conformance, NoOutputDependsOnTheFuture) {
  const at::NoGradGuard no_grad;
  const at::Tensor ids = some_ids(1, 40);
  const at::Tensor before = model_.forward(ids);
  for (const std::int64_t t : {1, 17, 39}) {
    at::Tensor changed = ids.clone();
    changed.narrow(1, t, 40 - t).copy_((ids.narrow(1, t, 40 - t) + 1).remainder(kVocab));
    EXPECT_LE(max_difference(model_.forward(changed).narrow(1, 0, t), before.narrow(1, 0, t)), 1e-5) << "position " << t;
  }
}

TEST_P(Conformance, AnyChunkingOfPrefillAndStepsEqualsOnePass) {
  const at::NoGradGuard no_grad;
  const std::int64_t length = 61;  // several windows of 16, no multiple of anything
  const at::Tensor ids = some_ids(2, length);
  const at::Tensor whole = model_.forward(ids);
  for (const std::int64_t chunk : {1, 5, 16, 17, 60}) {
    ModelCache cache = model_.make_cache(2, length);
    std::vector<at::Tensor> parts;
    for (std::int64_t first = 0; first < length; first += chunk) {
      parts.push_back(model_.forward(ids.narrow(1, first, std::min(chunk, length - first)), &cache));
    }
    EXPECT_LE(max_difference(at::cat(parts, 1), whole), kRounding) << "chunk " << chunk;
  }
  // A prompt and then single steps, as generation does it.
  ModelCache cache = model_.make_cache(2, length);
  at::Tensor last = model_.forward(ids.narrow(1, 0, 33), &cache).narrow(1, 32, 1);
  EXPECT_LE(max_difference(last, whole.narrow(1, 32, 1)), kRounding);
  for (std::int64_t t = 33; t < length; ++t) {
    EXPECT_LE(max_difference(model_.forward(ids.narrow(1, t, 1), &cache), whole.narrow(1, t, 1)), kRounding) << "step " << t;
  }
}

TEST_P(Conformance, ExactAccountingEqualsTheBytesThatTheCacheOwns) {
  const at::NoGradGuard no_grad;
  for (const std::int64_t context : {9, 48}) {
    ModelCache cache = model_.make_cache(3, context);
    model_.forward(some_ids(3, context - 4), &cache);
    for (int step = 0; step < 4; ++step) model_.forward(some_ids(3, 1), &cache);
    CacheQuery query;
    query.context = context;
    query.bytes_kv = 4;
    EXPECT_EQ(static_cast<double>(cache.bytes()), 3 * model_.cache_bytes(query).total()) << "context " << context;
  }
}

TEST_P(Conformance, EveryParameterGetsAFiniteGradient) {
  const at::Tensor ids = some_ids(2, 24);
  model_.loss(ids.narrow(1, 0, 23), ids.narrow(1, 1, 23)).backward();
  for (const auto& parameter : model_.parameters().all()) {
    ASSERT_TRUE(parameter.value.grad().defined()) << parameter.name;
    EXPECT_TRUE(at::isfinite(parameter.value.grad()).all().item<bool>()) << parameter.name;
    EXPECT_GT(parameter.value.grad().abs().max().item<double>(), 0) << parameter.name;
  }
}

TEST_P(Conformance, SavedAndLoadedModelsAreBitForBitTheSame) {
  const at::NoGradGuard no_grad;
  auto name = GetParam();
  std::replace(name.begin(), name.end(), ':', '_');
  const auto folder = std::filesystem::path(testing::TempDir()) / ("hymba_conformance_" + name);
  CheckpointState state;
  state.design = design_.name();
  state.size = "smoke";
  save_checkpoint(folder, design_, model_, nullptr, state);
  const auto loaded = load_checkpoint(folder);
  EXPECT_EQ(loaded.design.hash(), design_.hash());
  const at::Tensor ids = some_ids(1, 20);
  EXPECT_TRUE(at::equal(loaded.model->forward(ids), model_.forward(ids)));
}

// A sublayer is linear in its heads after the branch norm: what each head's removal takes away adds up to what the
// removal of all of them takes away, and masks of ones change nothing.
TEST_P(Conformance, MaskingAHeadRemovesExactlyItsContribution) {
  const at::NoGradGuard no_grad;
  for (const auto& sublayer : model_.sublayers()) {
    const at::Tensor x = at::randn({2, 30, design_.config().hidden});
    for (std::size_t m = 0; m < sublayer->mixers().size(); ++m) {
      const std::int64_t heads = sublayer->mixers()[m]->heads();
      const auto run = [&](const at::Tensor& scale) {
        Pass pass;
        pass.meta_tokens = design_.config().meta_tokens;
        pass.kv.resize(static_cast<std::size_t>(design_.config().layers));
        if (scale.defined()) pass.masks = {{sublayer->layer(), sublayer->mixer_names()[m], scale, {}}};
        // A layer that uses another one's K and V needs that one to have run.
        for (const auto& source : model_.sublayers()) {
          if (source->layer() < sublayer->layer()) source->forward(x, pass);
        }
        return sublayer->forward(x, pass);
      };
      const at::Tensor intact = run({});
      EXPECT_TRUE(at::equal(run(at::ones({heads})), intact)) << sublayer->name();
      at::Tensor removed = at::zeros_like(intact);
      for (std::int64_t h = 0; h < heads; ++h) {
        at::Tensor scale = at::ones({heads});
        scale.data_ptr<float>()[h] = 0;
        const at::Tensor one = intact - run(scale);
        EXPECT_GT(one.abs().max().item<double>(), 0) << sublayer->name() << " head " << h << " does nothing";
        removed = removed + one;
      }
      EXPECT_LE(max_difference(removed, intact - run(at::ones({heads}) * 0)), 1e-4) << sublayer->name();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Conformance, testing::ValuesIn(all_names()), [](const auto& info) {
  std::string name = info.param;
  for (auto& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
});

// Initialisation as the papers prescribe, and no weight decay where none belongs.
TEST(Initialisation, StateSpaceParameters) {
  for (const std::string name : {"row-01", "mamba2", "row-13"}) {
    const Design design = open(name);
    LanguageModel model(design, 7);
    int seen = 0;
    for (const auto& p : model.parameters().all()) {
      const auto ends = [&](const std::string& end) { return p.name.size() >= end.size() && p.name.compare(p.name.size() - end.size(), end.size(), end) == 0; };
      const auto low = p.value.min().item<double>(), high = p.value.max().item<double>();
      const bool never_decays = ends("A_log") || ends(".D") || ends("norm.weight") || ends("bias") || p.name == "meta_tokens";
      EXPECT_EQ(p.decay, !never_decays) << p.name;
      if (ends("dt_proj.bias") || ends("dt_bias")) {  // softplus of it lies in [0.001, 0.1]
        ++seen;
        EXPECT_GE(std::log1p(std::exp(low)), 0.00099) << p.name;
        EXPECT_LE(std::log1p(std::exp(high)), 0.101) << p.name;
      }
      if (ends("mamba.A_log")) {
        EXPECT_EQ(low, 0) << p.name;
        EXPECT_NEAR(high, std::log(static_cast<double>(p.value.size(1))), 1e-6) << p.name;
      }
      if (ends("mamba2.A_log")) {
        EXPECT_GE(low, 0) << p.name;
        EXPECT_LE(high, std::log(16.0)) << p.name;
      }
      if (ends(".D")) {
        EXPECT_TRUE(low == 1 && high == 1) << p.name;
      }
    }
    EXPECT_GT(seen, 0) << name;
  }
}

TEST(Initialisation, ResidualProjectionsAreScaledByDepth) {
  const Design design = open("row-06");
  const LanguageModel model(design, 1);
  const double expected = design.config().init_std * design.config().residual_scale / std::sqrt(static_cast<double>(design.sublayers().size()));
  const auto* out = model.parameters().find("layers.0.ffn.out_proj.weight");
  ASSERT_NE(out, nullptr);
  EXPECT_NEAR(out->value.std().item<double>(), expected, 0.1 * expected);
}

}  // namespace
}  // namespace hymba
