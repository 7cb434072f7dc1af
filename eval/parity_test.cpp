// Parity with lm-evaluation-harness on the shared goldens: strings, ids, scores, and the golden model's own numbers.
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "data/tokenizer.h"
#include "data/utf8.h"
#include "eval/reference_llama.h"
#include "eval/replay_scorer.h"
#include "eval/scoring.h"
#include "eval/shots.h"

namespace hymba::eval {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class Parity : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = shared_folder(HYMBA_SOURCE_DIR) / "golden" / "lm-eval";
    if (!fs::exists(folder_)) GTEST_SKIP() << "no " << folder_ << ": set HYMBA_SHARED to the shared folder";
    tokenizer_ = open_tokenizer((folder_ / "tokenizer.model").string());
    expected_ = json::parse(read_file(folder_ / "expected.json"));
  }

  static const TaskDefinition& definition(const std::string& golden) {
    return find_task(all_tasks(), golden.starts_with("mmlu_") ? "mmlu" : golden);
  }

  void check_metrics(const json& golden, const TaskResult& result) const {
    int compared = 0;
    for (const auto& [key, value] : golden["metrics"].items()) {
      if (key == "sample_len") continue;
      std::string name = key.substr(0, key.find(','));
      const bool error = name.ends_with("_stderr");
      if (error) name.resize(name.size() - 7);
      ASSERT_TRUE(result.metrics.contains(name)) << key;
      const Metric& metric = result.metrics.at(name);
      ASSERT_TRUE(!error || metric.error.has_value()) << key;
      EXPECT_NEAR(error ? *metric.error : metric.value, value.get<double>(), 1e-9 * (1 + value.get<double>())) << key;
      ++compared;
    }
    EXPECT_GT(compared, 0);
  }

  // One task of expected.json: requests equal, and the expected log-likelihoods give the expected scores.
  void check_task(const std::string& name, const json& golden, std::int64_t max_length) const {
    SCOPED_TRACE(fmt::format("task {} max_length {}", name, max_length));
    const TaskDefinition& task = definition(name);
    const TaskData data = load_task(task, folder_ / "tasks");
    ASSERT_EQ(data.items.size(), golden["samples"].size());
    const auto shots = choose_shots(task, data.items, data.shot_pool, task.shots);
    ReplayScorer scorer;
    for (std::size_t i = 0; i < data.items.size(); ++i) {
      const json& sample = golden["samples"][i];
      if (task.kind == TaskKind::kCompletion) {
        scorer.answers.push_back(tokenizer_->encode(sample["requests"][0]["response"].get<std::string>()));
      } else if (task.kind == TaskKind::kRolling) {
        check_rolling(data.items[i], sample, max_length, &scorer);
      } else {
        check_requests(task, data.items[i], shots[i], i, sample, max_length, &scorer);
      }
    }
    RunOptions options;
    options.max_length = max_length;
    options.shot_pool = data.shot_pool;
    const TaskResult result = run_task(task, data.items, *tokenizer_, scorer, options);
    check_metrics(golden, result);
    for (std::size_t i = 0; i < data.items.size(); ++i) {
      for (const char* score : {"acc", "acc_norm", "contains"}) {
        const json& sample = golden["samples"][i];
        if (sample.contains(score)) {
          EXPECT_EQ(result.samples[i][score], sample[score]) << score << " of item " << i;
        }
      }
      if (task.kind != TaskKind::kCompletion) continue;
      const std::string context = golden["samples"][i]["requests"][0]["context"].get<std::string>();
      EXPECT_EQ(data.items[i].prompt, context);
      EXPECT_EQ(scorer.prompts[i].prompt, encode_with_bos(*tokenizer_, context));
    }
  }

  void check_requests(const TaskDefinition& task, const Item& item, Shots shots, std::size_t i, const json& sample,
                      std::int64_t max_length, ReplayScorer* scorer) const {
    const json& golden = sample["requests"];
    const auto contexts = contexts_with_shots(task, item, shots);
    const auto whole = loglikelihood_requests(task, item, *tokenizer_, 100000, shots);
    const auto requests = loglikelihood_requests(task, item, *tokenizer_, max_length, shots);
    ASSERT_EQ(requests.size(), golden.size()) << "item " << i;
    for (std::size_t r = 0; r < requests.size(); ++r) {
      SCOPED_TRACE(fmt::format("item {} request {}", i, r));
      if (golden[r].contains("context")) {
        EXPECT_EQ(contexts[contexts.size() == 1 ? 0 : r], golden[r]["context"].get<std::string>());
        const auto& choices = item.choices;
        const std::string& text = choices.empty() ? item.answer : choices[choices.size() == 1 ? 0 : r];
        EXPECT_EQ(task.delimiter + text, golden[r]["continuation"].get<std::string>());
      }
      EXPECT_EQ(whole[r].context.size(), golden[r]["context_tokens"].get<std::size_t>());
      if (golden[r].contains("context_ids")) {
        EXPECT_EQ(whole[r].context, golden[r]["context_ids"].get<std::vector<std::int32_t>>());
      }
      EXPECT_EQ(requests[r].continuation, golden[r]["continuation_ids"].get<std::vector<std::int32_t>>());
      const std::size_t room = static_cast<std::size_t>(max_length) + 1 - requests[r].continuation.size();
      const std::size_t kept = std::min(room, whole[r].context.size());
      EXPECT_TRUE(std::equal(requests[r].context.begin(), requests[r].context.end(), whole[r].context.end() - kept,
                             whole[r].context.end()));
      scorer->results.push_back({golden[r]["loglikelihood"].get<double>(), golden[r]["is_greedy"].get<bool>()});
    }
  }

  // Windows cover every id once, with exactly max_length inputs from the second on.
  void check_rolling(const Item& item, const json& sample, std::int64_t max_length, ReplayScorer* scorer) const {
    const json& golden = sample["requests"][0];
    if (golden.contains("text")) {
      EXPECT_EQ(item.prompt, golden["text"].get<std::string>());
    }
    const auto ids = encode_with_bos(*tokenizer_, item.prompt);
    EXPECT_EQ(ids.size(), golden["n_tokens"].get<std::size_t>() + 1);  // the golden counts without bos
    const auto windows = rolling_windows(*tokenizer_, item.prompt, max_length);
    EXPECT_EQ(windows.size(), (ids.size() + static_cast<std::size_t>(max_length) - 1) / static_cast<std::size_t>(max_length));
    std::vector<std::int32_t> covered;
    for (std::size_t w = 0; w < windows.size(); ++w) {
      const auto& window = windows[w];
      covered.insert(covered.end(), window.continuation.begin(), window.continuation.end());
      const std::size_t inputs = window.context.size() + window.continuation.size() - 1;
      if (w > 0) {
        EXPECT_EQ(inputs, static_cast<std::size_t>(max_length));
      }
      const auto from = static_cast<std::ptrdiff_t>(covered.size() - window.continuation.size());
      const auto size = static_cast<std::ptrdiff_t>(window.context.size());
      const bool left = w == 0 ? window.context == std::vector<std::int32_t>{1}
                               : std::equal(window.context.begin(), window.context.end(), ids.begin() + (from - size));
      EXPECT_TRUE(left) << "context of window " << w;
      scorer->results.push_back({w == 0 ? golden["loglikelihood"].get<double>() : 0.0, false});
    }
    EXPECT_EQ(covered, ids);
    EXPECT_EQ(static_cast<double>(count_words(item.original)), sample["word_perplexity"][1].get<double>());
    EXPECT_EQ(static_cast<double>(item.original.size()), sample["byte_perplexity"][1].get<double>());
  }

  fs::path folder_;
  std::unique_ptr<Tokenizer> tokenizer_;
  json expected_;
};

TEST_F(Parity, EveryTaskAsTheHarness) {
  EXPECT_GE(expected_["tasks"].size(), 10u);
  for (const auto& [name, golden] : expected_["tasks"].items()) {
    check_task(name, golden, expected_["max_length"].get<std::int64_t>());
  }
}

TEST_F(Parity, TruncatedFromTheLeftAsTheHarness) {
  const json& truncated = expected_["truncated"];
  for (const auto& [name, golden] : truncated["tasks"].items()) {
    check_task(name, golden, truncated["max_length"].get<std::int64_t>());
  }
}

// The whole way: the golden model in plain loops gives the harness' log-likelihoods, answers and metrics.
TEST_F(Parity, ReferenceModelGivesTheHarnessNumbers) {
  ReferenceLlama model(folder_ / "model");
  auto check = [&](const json& group, const std::string& name) {
    SCOPED_TRACE(fmt::format("task {} max_length {}", name, group["max_length"].get<int>()));
    const json& golden = group["tasks"][name];
    const TaskDefinition& task = definition(name);
    const TaskData data = load_task(task, folder_ / "tasks");
    RunOptions options;
    options.max_length = group["max_length"].get<std::int64_t>();
    options.shot_pool = data.shot_pool;
    const TaskResult result = run_task(task, data.items, *tokenizer_, model, options);
    for (std::size_t i = 0; i < data.items.size(); ++i) {
      const json& requests = golden["samples"][i]["requests"];
      const json& sample = result.samples[i];
      for (std::size_t r = 0; r < requests.size(); ++r) {
        if (task.kind == TaskKind::kCompletion) {
          EXPECT_EQ(strip(sample["response"].get<std::string>()), strip(requests[r]["response"].get<std::string>()));
          continue;
        }
        const double mine = (sample.contains("loglikelihoods") ? sample["loglikelihoods"][r] : sample["loglikelihood"]);
        EXPECT_NEAR(mine, requests[r]["loglikelihood"].get<double>(), 1e-3) << "item " << i << " request " << r;
      }
    }
    for (const auto& [name_of, metric] : result.metrics) {
      const json& metrics = golden["metrics"];
      if (!metrics.contains(name_of + ",none")) continue;  // acc_norm of letters
      const json& wanted = metrics[name_of + ",none"];
      EXPECT_NEAR(metric.value, wanted.get<double>(), 1e-5 * wanted.get<double>()) << name_of;
    }
  };
  for (const auto& [name, golden] : expected_["tasks"].items()) {
    check(expected_, name);
  }
  for (const auto& [name, golden] : expected_["truncated"]["tasks"].items()) check(expected_["truncated"], name);
}

TEST_F(Parity, EmptyContextIsBosAndTheContinuationAlone) {
  const auto pair = encode_pair(*tokenizer_, "", " ladder");
  EXPECT_EQ(pair.context, std::vector<std::int32_t>{1});
  EXPECT_EQ(pair.continuation, tokenizer_->encode(" ladder"));
  const auto moved = encode_pair(*tokenizer_, "the  ", "ladder");
  EXPECT_EQ(moved.context, encode_with_bos(*tokenizer_, "the"));
}

}  // namespace
}  // namespace hymba::eval
