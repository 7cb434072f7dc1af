// The whole way from a folder to scores: models that lm-evaluation-harness scored, loaded and scored by the program's own
// code, with shared beginnings and batches. Golden folders are found by what they hold.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "base/files.h"
#include "base/shared_folder.h"
#include "data/tokenizer.h"
#include "data/utf8.h"
#include "eval/model_scorer.h"
#include "eval/scoring.h"
#include "exchange/open_model.h"

namespace hymba {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

fs::path golden() { return shared_folder(HYMBA_SOURCE_DIR) / "golden"; }

// Folders whose expected.json has scores of tasks.
std::vector<fs::path> scored_folders() {
  std::vector<fs::path> found;
  if (!fs::is_directory(golden())) return found;
  for (const auto& entry : fs::directory_iterator(golden())) {
    const auto file = entry.path() / "expected.json";
    if (fs::is_regular_file(file) && json::parse(read_file(file)).contains("tasks")) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

// The folder itself, or the one beside it that has what it lacks.
fs::path beside(const fs::path& folder, const char* name) {
  if (fs::exists(folder / name)) return folder / name;
  for (const auto& other : scored_folders()) {
    if (fs::exists(other / name)) return other / name;
  }
  return folder / name;
}

const eval::TaskDefinition& definition(const std::string& golden_name) {
  static const auto tasks = eval::load_task_definitions(fs::path(HYMBA_SOURCE_DIR) / "eval" / "tasks");
  return eval::find_task(tasks, golden_name.starts_with("mmlu_") ? "mmlu" : golden_name.starts_with("blimp_") ? "blimp" : golden_name);
}

void check_sample(const eval::TaskDefinition& task, const json& mine, const json& wanted) {
  const auto& requests = wanted["requests"];
  if (task.kind == eval::TaskKind::kCompletion) {
    EXPECT_EQ(strip(mine["response"].get<std::string>()), strip(requests[0]["response"].get<std::string>()));
  } else if (task.kind == eval::TaskKind::kRolling) {
    EXPECT_NEAR(mine["loglikelihood"].get<double>(), requests[0]["loglikelihood"].get<double>(), 1e-3);
  } else {
    ASSERT_EQ(mine["resps"].size(), requests.size());
    for (std::size_t r = 0; r < requests.size(); ++r) {
      EXPECT_NEAR(mine["resps"][r][0][0].get<double>(), requests[r]["loglikelihood"].get<double>(), 1e-3) << "request " << r;
      EXPECT_EQ(mine["resps"][r][0][1], requests[r]["is_greedy"]) << "request " << r;
    }
  }
  for (const char* score : {"acc", "acc_norm", "contains"}) {
    if (wanted.contains(score)) {
      EXPECT_EQ(mine.at(score), wanted[score]) << score;
    }
  }
}

void check_tasks(const json& expected, const fs::path& tasks, const Tokenizer& tokenizer, eval::Scorer& scorer) {
  for (const auto& [name, wanted] : expected["tasks"].items()) {
    SCOPED_TRACE(name + " at " + expected["max_length"].dump());
    const auto& task = definition(name);
    const auto data = eval::load_task(task, tasks);
    ASSERT_EQ(data.items.size(), wanted["samples"].size());
    eval::RunOptions options;
    options.max_length = expected["max_length"].get<std::int64_t>();
    options.shot_pool = data.shot_pool;
    if (wanted.contains("num_fewshot")) options.shots = wanted["num_fewshot"].get<int>();
    const auto result = eval::run_task(task, data.items, tokenizer, scorer, options);
    for (std::size_t i = 0; i < data.items.size(); ++i) {
      SCOPED_TRACE("item " + std::to_string(i));
      check_sample(task, result.samples[i], wanted["samples"][i]);
    }
    for (const auto& [key, value] : wanted["metrics"].items()) {
      const auto found = result.metrics.find(key.substr(0, key.find(',')));
      if (found == result.metrics.end()) continue;
      const bool random_model = key.starts_with("perplexity") || key.starts_with("word_");  // exp of large numbers
      EXPECT_NEAR(found->second.value, value.get<double>(), (random_model ? 1e-3 : 1e-5) * value.get<double>()) << key;
    }
  }
}

TEST(Harness, FoldersGiveTheHarnessNumbers) {
  const auto folders = scored_folders();
  if (folders.empty()) GTEST_SKIP() << "no scored models: set HYMBA_SHARED to the shared folder";
  for (const auto& folder : folders) {
    SCOPED_TRACE(folder.string());
    const auto expected = json::parse(read_file(folder / "expected.json"));
    const auto loaded = load_model(fs::exists(folder / "config.json") ? folder : folder / "model");
    // The harness was run at a length of its own choice, at most the model's.
    EXPECT_GE(loaded.state.extra["max_length"], expected["max_length"]);
    const auto tokenizer = open_tokenizer(beside(folder, "tokenizer.model").string());
    for (const std::int64_t rows : {0, 3}) {
      eval::ModelScorer scorer(*loaded.model, {.batch_rows = rows, .progress = {}});
      check_tasks(expected, beside(folder, "tasks"), *tokenizer, scorer);
      if (expected.contains("truncated")) check_tasks(expected["truncated"], beside(folder, "tasks"), *tokenizer, scorer);
    }
  }
}

}  // namespace
}  // namespace hymba
