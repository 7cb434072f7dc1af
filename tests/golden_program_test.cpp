// Every checkpoint in the shared golden folder through the program itself: greedy ids and logits of its reference.
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "io/safetensors.h"
#include "tests/golden_folders.h"
#include "tests/program.h"

namespace hymba {
namespace {

TEST(GoldenProgram, GeneratesTheIdsOfTheReference) {
  const auto folders = golden_folders("expected.json");
  if (folders.empty()) GTEST_SKIP() << "no golden checkpoints: set HYMBA_SHARED to the shared folder";
  for (const auto& folder : folders) {
    const auto expected = nlohmann::json::parse(read_file(fs::path(folder) / "expected.json"));
    for (const auto& text : expected.value("generation", nlohmann::json::array())) {
      const auto prompt = text.at("prompt_ids").get<std::vector<std::int64_t>>();
      const auto ids = text.contains("generated_ids") ? text["generated_ids"] : text.at("generated_ids_recompute");
      const auto made = run(fmt::format("generate {} --prompt-ids {} --max-new-tokens {} --dtype fp32 --format json", folder, fmt::join(prompt, ","), ids.size()));
      ASSERT_EQ(made.code, 0) << folder << ": " << made.err;
      EXPECT_EQ(lines_of(made.out).at(0).at("ids"), ids) << folder;
    }
  }
}

TEST(GoldenProgram, WritesTheLogitsOfTheReference) {
  const auto folders = golden_folders("expected.safetensors");
  if (folders.empty()) GTEST_SKIP() << "no golden checkpoints: set HYMBA_SHARED to the shared folder";
  for (const auto& folder : folders) {
    const auto out = scratch("golden_logits.safetensors");
    const auto made = run(fmt::format("logits {0} --input {0}/expected.safetensors --out {1} --format json", folder, out.string()));
    ASSERT_EQ(made.code, 0) << folder << ": " << made.err;
    const auto actual = read_safetensors(out).tensors.at("logits"), expected = read_safetensors(fs::path(folder) / "expected.safetensors").tensors.at("logits");
    ASSERT_TRUE(actual.sizes().equals(expected.sizes())) << folder;
    EXPECT_LE((actual - expected).abs().max().item<double>(), 1e-4 * std::max(1.0, expected.abs().max().item<double>())) << folder;
  }
}

}  // namespace
}  // namespace hymba
