// Every checkpoint in the shared golden folder: logits, greedy tokens, training loss and gradients of its reference.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "exchange/hf_folder.h"
#include "exchange/open_model.h"
#include "io/safetensors.h"
#include "tests/golden_folders.h"

namespace hymba {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

double largest(const at::Tensor& t) { return t.abs().max().item<double>(); }

void expect_near(const at::Tensor& actual, const at::Tensor& expected, const std::string& what) {
  ASSERT_TRUE(actual.sizes().equals(expected.sizes())) << what;
  EXPECT_LE(largest(actual - expected), 1e-4 * std::max(1.0, largest(expected))) << what;
}

at::Tensor ids_of(const json& list) {
  const auto ids = list.get<std::vector<std::int64_t>>();
  at::Tensor tensor = at::empty({1, static_cast<std::int64_t>(ids.size())}, at::kLong);
  std::copy(ids.begin(), ids.end(), tensor.data_ptr<std::int64_t>());
  return tensor;
}

class Golden : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    loaded_ = std::make_unique<LoadedModel>(load_model(GetParam()));
    golden_ = read_safetensors(fs::path(GetParam()) / "expected.safetensors");
    expected_ = json::parse(read_file(fs::path(GetParam()) / "expected.json"));
  }
  const LanguageModel& model() const { return *loaded_->model; }
  at::Tensor logits(const at::Tensor& ids, ModelCache* cache = nullptr) const {
    return model().logits(model().forward(ids, cache));
  }

  std::unique_ptr<LoadedModel> loaded_;
  TensorFile golden_;
  json expected_;
};

TEST_P(Golden, Logits) {
  const at::NoGradGuard no_grad;
  expect_near(logits(golden_.tensors.at("input_ids")), golden_.tensors.at("logits"), "logits");
}

TEST_P(Golden, HiddenStates) {
  const at::NoGradGuard no_grad;
  const auto states = model().hidden_states(golden_.tensors.at("input_ids"));
  ASSERT_EQ(static_cast<std::int64_t>(states.size()), model().config().layers + 1);
  if (golden_.tensors.count("embeddings") == 0) GTEST_SKIP() << "this fixture has no states";
  expect_near(states[0], golden_.tensors.at("embeddings"), "embeddings");
  for (std::size_t i = 0; i + 1 < states.size(); ++i) {
    const auto found = golden_.tensors.find(fmt::format("layer.{}.output", i));
    if (found != golden_.tensors.end()) expect_near(states[i + 1], found->second, found->first);
  }
}

// The `recompute` rule, by full passes and with a cache.
TEST_P(Golden, GreedyTokens) {
  const at::NoGradGuard no_grad;
  for (const auto& generation : expected_["generation"]) {
    const bool named = generation.contains("generated_ids_recompute");
    const auto wanted =
        generation[named ? "generated_ids_recompute" : "generated_ids"].get<std::vector<std::int64_t>>();
    const at::Tensor prompt = ids_of(generation["prompt_ids"]);
    at::Tensor ids = prompt;
    ModelCache cache = model().make_cache(1, prompt.size(1) + static_cast<std::int64_t>(wanted.size()));
    at::Tensor next = prompt;
    std::vector<at::Tensor> steps;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const at::Tensor full = logits(ids), cached = logits(next, &cache);
      steps.push_back(full.narrow(1, full.size(1) - 1, 1));
      EXPECT_LE(largest(cached.select(1, cached.size(1) - 1) - steps.back().select(1, 0)),
                1e-4 * std::max(1.0, largest(steps.back())))
          << "cache, step " << i;
      ASSERT_EQ(steps.back().argmax().item<std::int64_t>(), wanted[i]) << "step " << i;
      next = ids_of(json{wanted[i]});
      ids = at::cat({ids, next}, 1);
    }
    const std::string prefix = fmt::format("gen{}.logits", prompt.size(1));
    const auto found = golden_.tensors.find(prefix + (named ? "_recompute" : ""));
    if (found != golden_.tensors.end()) expect_near(at::cat(steps, 1), found->second, found->first);
  }
}

TEST_P(Golden, LossAndGradients) {
  if (!expected_.contains("train")) GTEST_SKIP() << "this fixture has no training step";
  const at::Tensor ids = golden_.tensors.at("input_ids");
  const std::int64_t length = ids.size(1);
  const at::Tensor loss = model().loss(ids.narrow(1, 0, length - 1), ids.narrow(1, 1, length - 1));
  const auto& train = expected_["train"];
  EXPECT_NEAR(loss.item<double>(), train["loss"].get<double>(), 1e-4 * std::max(1.0, train["loss"].get<double>()));
  loss.backward();
  std::map<std::string, at::Tensor> gradients;
  for (const auto& link : link_tensors(find_family(HfConfig(GetParam())), model())) {
    const auto parts = split_parts(link, model().parameters().find(link.ours)->value.grad());
    for (std::size_t i = 0; i < parts.size(); ++i) gradients[link.parts[i].name] = parts[i];
  }
  for (const auto& [name, wanted] : train["grad"].items()) {
    const auto norm = wanted["norm"].get<double>();
    if (norm == 0 && gradients.count(name) == 0) continue;  // a weight that is there and never used
    ASSERT_EQ(gradients.count(name), 1u) << name;
    const at::Tensor& gradient = gradients.at(name);
    EXPECT_NEAR(gradient.norm().item<double>(), norm, 1e-3 * norm + 1e-6) << name;
    EXPECT_NEAR(gradient.sum().item<double>(), wanted["sum"].get<double>(),
                2e-3 * norm * std::sqrt(static_cast<double>(gradient.numel())) + 1e-5)
        << name;
    const at::Tensor flat = gradient.reshape({-1});
    for (std::size_t i = 0; i < wanted["first"].size(); ++i) {
      EXPECT_NEAR(flat[static_cast<std::int64_t>(i)].item<double>(), wanted["first"][i].get<double>(),
                  1e-3 * norm + 1e-6)
          << name << " " << i;
    }
    gradients.erase(name);
  }
  for (const auto& [name, gradient] : gradients)
    ADD_FAILURE() << name << " has a gradient that the reference does not know";
}

std::string label(const testing::TestParamInfo<std::string>& info) {
  std::string name = fs::path(info.param).filename().string();
  for (auto& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return fmt::format("{}_{}", info.index, name);
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Golden);
INSTANTIATE_TEST_SUITE_P(All, Golden, testing::ValuesIn(golden_folders("expected.safetensors")), label);

TEST(GoldenFolders, AreThere) {
  const auto found = golden_folders("expected.safetensors");
  if (found.empty()) GTEST_SKIP() << "no golden checkpoints: set HYMBA_SHARED to the shared folder";
  SUCCEED() << found.size();
}

// States after a cached prefill, as section 6 of HYMBA-FORMAT.md describes them.
TEST(GoldenFolders, CachesAfterPrefill) {
  const at::NoGradGuard no_grad;
  const auto found = golden_folders("expected_cache.safetensors");
  if (found.empty()) GTEST_SKIP() << "no golden caches";
  for (const auto& folder : found) {
    const auto expected = read_safetensors(fs::path(folder) / "expected_cache.safetensors").tensors;
    const at::Tensor ids = read_safetensors(fs::path(folder) / "expected.safetensors").tensors.at("input_ids");
    const auto loaded = load_model(folder);
    ModelCache cache = loaded.model->make_cache(ids.size(0), ids.size(1));
    loaded.model->forward(ids, &cache);
    for (std::size_t s = 0; s < cache.sublayers.size(); ++s) {
      for (const auto& mixer : cache.sublayers[s]) {
        const auto of = [&](const char* what) {
          return expected.find(fmt::format("layer.{}.{}", loaded.model->sublayers()[s]->layer(), what));
        };
        if (!mixer.state || of("conv") == expected.end()) continue;
        const std::int64_t taps = mixer.state->conv_BSE.size(1), have = of("conv")->second.size(2);
        expect_near(mixer.state->conv_BSE.transpose(1, 2), of("conv")->second.narrow(2, have - taps, taps), "conv");
        expect_near(mixer.state->ssm, of("ssm")->second, "ssm");
      }
    }
  }
}

// The released config against the released list of tensors.
TEST(GoldenFolders, ReleasedHymbaMapsCompletely) {
  const fs::path golden = shared_folder(HYMBA_SOURCE_DIR) / "golden", list = golden / "hymba-released-tensors.json";
  if (!fs::exists(list)) GTEST_SKIP() << "no " << list;
  const fs::path config = golden / "hymba-released-config.json";
  const Design design = read_hf_design(config);
  const LanguageModel model(design, 0, /*meta=*/true);
  EXPECT_EQ(model.parameters().count(), 1522797824);
  auto expected = json::parse(read_file(list)).get<std::map<std::string, std::vector<std::int64_t>>>();
  EXPECT_EQ(expected.size(), 611u);
  for (const auto& link : link_tensors(find_family(HfConfig(config)), model)) {
    for (const auto& part : link.parts) {
      ASSERT_EQ(expected.count(part.name), 1u) << part.name;
      EXPECT_EQ(expected[part.name], part.shape) << part.name;
      expected.erase(part.name);
    }
  }
  for (const auto& [name, shape] : expected) ADD_FAILURE() << name << " is not read";
}

}  // namespace
}  // namespace hymba
