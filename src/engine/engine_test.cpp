// The engine's rule for every row and peer: any chunking of the prompt, then steps in a ragged batch, equal one forward
// pass over the whole sequence.
#include "engine/engine.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <c10/core/CPUAllocator.h>
#include <gtest/gtest.h>

#include <atomic>

#include "base/error.h"
#include "engine/generate.h"

namespace hymba {
namespace {

constexpr std::int64_t kVocab = 50;

const DesignLibrary& library() {
  static const DesignLibrary designs(std::string(HYMBA_SOURCE_DIR) + "/ablations");
  return designs;
}

Design open(const std::string& name, std::vector<Assignment> more = {}) {
  more.push_back({"vocab", std::to_string(kVocab), "test"});
  return library().open(name, "smoke", more);
}

std::vector<std::int64_t> some_ids(std::uint64_t seed, std::size_t n) {
  Rng rng(seed);
  std::vector<std::int64_t> ids;
  for (std::size_t i = 0; i < n; ++i) ids.push_back(static_cast<std::int64_t>(rng.below(kVocab)));
  return ids;
}

// Logits [T, V] of one forward pass without caches.
at::Tensor whole_pass(const LanguageModel& model, const std::vector<std::int64_t>& ids) {
  const at::NoGradGuard no_grad;
  const at::Tensor row = at::empty({1, static_cast<std::int64_t>(ids.size())}, at::kLong);
  std::copy(ids.begin(), ids.end(), row.data_ptr<std::int64_t>());
  return model.logits(model.forward(row)).select(0, 0);
}

double difference(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

// Three sequences of different lengths, prompts in chunks, then steps; slot 1 idles in the middle for some steps and
// the largest difference from the whole passes is returned.
double largest_difference(const LanguageModel& model, const EngineOptions& options,
                          const std::vector<at::Tensor>& expected) {
  const std::vector<std::size_t> prompts = {33, 1, 18}, lengths = {61, 40, 55};
  const Engine engine(model, options);
  const auto batch = engine.open(3, 61);
  double worst = 0;
  for (std::size_t s = 0; s < 3; ++s) {
    const auto ids = some_ids(s, lengths[s]);
    const at::Tensor logits = batch->prefill(static_cast<std::int64_t>(s), std::span(ids).first(prompts[s]));
    worst = std::max(worst, difference(logits, expected[s][static_cast<std::int64_t>(prompts[s]) - 1]));
  }
  for (std::size_t t = 0; t < 39; ++t) {
    std::vector<std::int64_t> next;
    for (std::size_t s = 0; s < 3; ++s) {
      const std::size_t at = prompts[s] + t;
      next.push_back(at < lengths[s] ? some_ids(s, lengths[s])[at] : -1);
    }
    const at::Tensor& logits = batch->step(next);
    for (std::size_t s = 0; s < 3; ++s) {
      if (next[s] < 0) continue;
      worst = std::max(worst, difference(logits[static_cast<std::int64_t>(s)],
                                         expected[s][static_cast<std::int64_t>(prompts[s] + t)]));
      EXPECT_EQ(batch->length(static_cast<std::int64_t>(s)), static_cast<std::int64_t>(prompts[s] + t + 1));
    }
  }
  return worst;
}

std::vector<at::Tensor> whole_passes(const LanguageModel& model) {
  return {whole_pass(model, some_ids(0, 61)), whole_pass(model, some_ids(1, 40)), whole_pass(model, some_ids(2, 55))};
}

class EngineRule : public testing::TestWithParam<std::string> {};

TEST_P(EngineRule, ChunksAndRaggedStepsEqualOnePass) {
  const LanguageModel model(open(GetParam()), 3);
  const auto expected = whole_passes(model);
  for (const std::int64_t chunk : {1, 5, 16, 17, 64}) {
    EXPECT_LE(largest_difference(model, {at::kFloat, chunk}, expected), 5e-4) << "chunk " << chunk;
  }
}

// Caches in 16 bits: rounding of K and V alone, the same for every chunk.
TEST_P(EngineRule, SixteenBitCachesStayNearAndDoNotDependOnTheChunk) {
  const LanguageModel model(open(GetParam()), 3);
  const auto expected = whole_passes(model);
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    const double scale = expected[0].abs().max().item<double>(), rounding = type == at::kHalf ? 2e-3 : 2e-2;
    const double one = largest_difference(model, {type, 7}, expected),
                 other = largest_difference(model, {type, 64}, expected);
    EXPECT_LE(one, rounding * scale) << GetParam();
    EXPECT_NEAR(one, other, 2e-4 * scale + 0.2 * one);
    const Engine a(model, {type, 3}), b(model, {type, 512});
    const auto ids = some_ids(9, 50);
    const auto in_a = a.open(1, 60), in_b = b.open(1, 60);
    // A key that lands on the other side of a rounding step moves by 2^-8 (bf16), once in a thousand.
    EXPECT_LE(difference(in_a->prefill(0, ids), in_b->prefill(0, ids)), 0.2 * rounding * scale);
  }
}

// Rounding of what is multiplied alone (by a weight, or in attention), the same for every chunk.
TEST_P(EngineRule, Bf16ProductsStayNearAndDoNotDependOnTheChunk) {
  LanguageModel model(open(GetParam()), 3);
  model.set_weight_type(at::kBFloat16);
  const auto ids = some_ids(9, 50);
  const auto prefill = [&](std::int64_t chunk, bool bf16) {
    const Engine engine(model, {at::kFloat, chunk, bf16});
    return engine.open(1, 60)->prefill(0, ids).clone();
  };
  const at::Tensor exact = prefill(64, false), rounded = prefill(64, true);
  const double scale = exact.abs().max().item<double>();
  EXPECT_GT(difference(exact, rounded), 0);
  EXPECT_LE(difference(exact, rounded), 5e-2 * scale);
  EXPECT_LE(difference(prefill(3, true), rounded), 2e-2 * scale);
}

TEST_P(EngineRule, SixteenBitWeightsStepLikeTheirOwnForwardPass) {
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    LanguageModel model(open(GetParam()), 3);
    const std::int64_t before = model.weight_bytes();
    model.set_weight_type(type);
    EXPECT_LT(model.weight_bytes(), before * 3 / 4);
    EXPECT_LE(largest_difference(model, {at::kFloat, 16}, whole_passes(model)), 5e-4);
  }
}

TEST_P(EngineRule, ExactAccountingEqualsTheBytesThatABatchOwns) {
  const LanguageModel model(open(GetParam()), 3);
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const Engine engine(model, {type, 16});
    for (const std::int64_t context : {5, 40}) {
      const auto batch = engine.open(3, context);
      EXPECT_EQ(static_cast<double>(batch->cache_bytes()), cache_bytes_of(model, engine.options(), 3, context))
          << context;
      batch->fill_synthetic(context - 2);
      batch->step(std::vector<std::int64_t>{1, 2, 3});
      EXPECT_EQ(static_cast<double>(batch->cache_bytes()), cache_bytes_of(model, engine.options(), 3, context))
          << context;
    }
  }
}

TEST_P(EngineRule, ARefilledSlotForgetsAndABatchGivesWhatEachPromptAloneGives) {
  const LanguageModel model(open(GetParam()), 3);
  const Engine engine(model, {});
  std::vector<Prompt> prompts;
  for (std::size_t i = 0; i < 5; ++i)
    prompts.push_back({some_ids(i, 3 + 7 * i), static_cast<std::int64_t>(4 + 3 * (i % 3))});
  GenerateOptions options;
  options.batch = 2;
  const auto together = generate(engine, prompts, options);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    EXPECT_EQ(together.ids[i], generate(engine, {prompts[i]}, options).ids[0]) << i;
    EXPECT_EQ(together.ids[i].size(), static_cast<std::size_t>(prompts[i].max_new_tokens));
  }
}

// Counts what tensors allocate while it lives.
class CountedMemory : public c10::Allocator {
 public:
  CountedMemory() : inner_(c10::GetCPUAllocator()) { c10::SetCPUAllocator(this, 100); }
  ~CountedMemory() override { c10::SetCPUAllocator(inner_, 100); }
  c10::DataPtr allocate(std::size_t bytes) override {
    ++count;
    return inner_->allocate(bytes);
  }
  c10::DeleterFnPtr raw_deleter() const override { return inner_->raw_deleter(); }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { inner_->copy_data(to, from, bytes); }
  std::atomic<int> count{0};

 private:
  c10::Allocator* inner_;
};

TEST_P(EngineRule, AStepAllocatesNoTensorMemory) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    LanguageModel model(open(GetParam()), 3);
    model.set_weight_type(type);
    const Engine engine(model, {type, 16});
    for (const std::int64_t size : {2, 20}) {
      const auto batch = engine.open(size, 40);
      const std::vector<std::int64_t> ids(static_cast<std::size_t>(size), 7);
      for (int warm = 0; warm < 3; ++warm) batch->step(ids);
      const CountedMemory memory;
      for (int t = 0; t < 30; ++t) batch->step(ids);
      EXPECT_EQ(memory.count, 0) << size;
    }
  }
}

std::vector<std::string> names() { return library().names(); }

INSTANTIATE_TEST_SUITE_P(All, EngineRule, testing::ValuesIn(names()), [](const auto& info) {
  std::string name = info.param;
  for (auto& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
});

TEST(Engine, AWindowedProducerKeepsWhatItsFullConsumerNeeds) {
  const LanguageModel model(open("row-13", {{"attention.kv_share", "1", "command line"},
                                            {"attention.full_layers", "2", "command line"},
                                            {"attention.kv_groups", "1-2", "command line"}}),
                            3);
  const auto expected = whole_passes(model);
  EXPECT_LE(largest_difference(model, {at::kFloat, 16}, expected), 5e-4);
}

TEST(Engine, QkNormAndNoRope) {
  for (const char* rope : {"true", "false"}) {
    for (const char* norm : {"rms", "none"}) {
      std::vector<Assignment> more;
      if (rope == std::string("false")) more.push_back({"attention.rope", rope, "command line"});
      if (norm == std::string("rms")) more.push_back({"attention.qk_norm", norm, "command line"});
      const LanguageModel model(open("row-09", more), 3);
      EXPECT_LE(largest_difference(model, {at::kFloat, 16}, whole_passes(model)), 5e-4) << rope << " " << norm;
    }
  }
}

TEST(Engine, WholeBatchesUseTheGemmAndAgree) {
  const LanguageModel model(open("row-09"), 3);
  const Engine engine(model, {});
  const auto batch = engine.open(20, 8);
  const auto ids = some_ids(4, 8);
  const at::Tensor expected = whole_pass(model, ids);
  for (std::size_t t = 0; t < ids.size(); ++t) {
    const at::Tensor& logits = batch->step(std::vector<std::int64_t>(20, ids[t]));
    for (const std::int64_t b : {0, 7, 19})
      EXPECT_LE(difference(logits[b], expected[static_cast<std::int64_t>(t)]), 5e-4);
  }
}

template <class F>
std::string error_of(const F& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Engine, MistakesAreNamed) {
  const LanguageModel model(open("row-13"), 3);
  const Engine engine(model, {});
  const auto batch = engine.open(1, 4);
  EXPECT_NE(error_of([&] { batch->prefill(0, {}); }).find("empty prompt"), std::string::npos);
  EXPECT_NE(error_of([&] {
              batch->prefill(0, std::vector<std::int64_t>{1, kVocab});
            }).find("token id 50 (number 2)"),
            std::string::npos);
  EXPECT_NE(error_of([&] { batch->prefill(0, some_ids(1, 5)); }).find("do not fit"), std::string::npos);
  batch->prefill(0, some_ids(1, 4));
  EXPECT_NE(error_of([&] { batch->step(std::vector<std::int64_t>{1}); }).find("is full"), std::string::npos);
  EXPECT_NE(error_of([&] { generate(engine, {{{}, 3}}, {}); }).find("empty prompt"), std::string::npos);
  EXPECT_NE(error_of([&] { generate(engine, {{{-1}, 3}}, {}); }).find("prompt id -1"), std::string::npos);
  const auto huge = error_of([&] { engine.open(8, std::int64_t{1} << 40); });
  EXPECT_NE(huge.find("are available"), std::string::npos) << huge;
  EXPECT_THROW(parse_dtype("int8", "--dtype"), UserError);
  for (const auto* word : {"fp32", "bf16", "fp16"}) EXPECT_EQ(name_of_dtype(parse_dtype(word, "--dtype")), word);
}

TEST(Engine, SampledTokensDependOnSeedAndPromptNotOnTheBatch) {
  const LanguageModel model(open("row-09"), 3);
  const Engine engine(model, {});
  const std::vector<Prompt> prompts(4, Prompt{some_ids(1, 5), 12});
  GenerateOptions options;
  options.sampling = {1.0, 20, 0.9, 7};
  options.batch = 1;
  const auto alone = generate(engine, prompts, options).ids;
  options.batch = 4;
  EXPECT_EQ(generate(engine, prompts, options).ids, alone);
  EXPECT_NE(alone[0], alone[1]);  // one stream each
  options.sampling.seed = 8;
  EXPECT_NE(generate(engine, prompts, options).ids, alone);
}

}  // namespace
}  // namespace hymba
