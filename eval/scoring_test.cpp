// The scoring rules at the edges: ties, shots, filters of answers, means over groups, results and comparisons.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "data/tokenizer.h"
#include "data/utf8.h"
#include "eval/comparison.h"
#include "eval/replay_scorer.h"
#include "eval/results_json.h"
#include "eval/scoring.h"
#include "eval/shots.h"

namespace hymba::eval {
namespace {

TEST(Scoring, RulesAtTheEdges) {
  const std::vector<double> one = {1.0};
  EXPECT_FALSE(mean_of(one).error.has_value());
  TaskDefinition task;
  task.name = "t";
  Item item;
  item.id = "0";
  item.contexts = {"c"};
  item.choices = {"äöü", "abcd"};
  const auto bytes = open_tokenizer("bytes");
  ReplayScorer scorer;
  scorer.results = {{-3.0, false}, {-3.0, false}};
  RunOptions options;
  options.max_length = 16;
  const TaskResult result = run_task(task, std::span(&item, 1), *bytes, scorer, options);
  EXPECT_EQ(result.samples[0]["acc"], 1.0);       // the first choice wins a tie
  EXPECT_EQ(result.samples[0]["acc_norm"], 0.0);  // -3 / 3 characters < -3 / 4
  EXPECT_EQ(result.chance, 0.5);
  options.max_length = 3;
  EXPECT_THROW(run_task(task, std::span(&item, 1), *bytes, scorer, options), UserError);
  options.max_length = 16;
  options.shots = 1;
  EXPECT_THROW(run_task(task, std::span(&item, 1), *bytes, scorer, options), UserError);
  options.shots.reset();
  scorer.results[1].logprob = std::nan("");
  EXPECT_THROW(run_task(task, std::span(&item, 1), *bytes, scorer, options), Error);
}

// random.Random(1234) of Python 3: what sample() gives, small pools and large ones.
TEST(Shots, DrawnAsPythonDraws) {
  PythonRandom random(1234);
  using Numbers = std::vector<std::size_t>;
  EXPECT_EQ(random.sample(40, 5), (Numbers{28, 7, 0, 5, 37}));
  EXPECT_EQ(random.sample(40, 5), (Numbers{2, 5, 6, 22, 15}));
  EXPECT_EQ(random.sample(10, 3), (Numbers{0, 9, 8}));
  EXPECT_EQ(random.sample(200, 7), (Numbers{88, 165, 159, 123, 157, 118, 38}));
  EXPECT_EQ(random.sample(25, 6), (Numbers{2, 5, 22, 3, 0, 16}));
}

// PIQA and others have no test split: the harness then draws one more, in case the item is among them, whatever the file.
TEST(Shots, OneMoreIsDrawnWhereTheHarnessHasNoTestSplit) {
  TaskDefinition task;
  std::vector<Item> items(1), pool(40);
  for (int i = 0; i < 40; ++i) pool[static_cast<std::size_t>(i)].doc = {{"n", i}};
  items[0].doc = {{"n", 7}};
  const auto numbers = [&] {
    std::vector<int> found;
    const auto chosen = choose_shots(task, items, pool, 5);
    for (const Item* shot : chosen[0]) found.push_back(shot->doc["n"].get<int>());
    return found;
  };
  PythonRandom random(1234);
  const auto plain = random.sample(40, 5);
  EXPECT_EQ(numbers(), std::vector<int>(plain.begin(), plain.end()));
  task.spare_shot = true;
  PythonRandom again(1234);
  std::vector<int> expected;
  for (const auto n : again.sample(40, 6)) {
    if (n != 7 && expected.size() < 5) expected.push_back(static_cast<int>(n));
  }
  EXPECT_EQ(numbers(), expected);
  for (auto& item : pool) item.doc = {{"n", 7}};
  EXPECT_THROW(numbers(), UserError);
}

TEST(Shots, OwnItemsAreNoExamplesForThemselves) {
  TaskDefinition task;
  task.name = "t";
  std::vector<Item> items(8);
  for (int i = 0; i < 8; ++i) {
    auto& item = items[static_cast<std::size_t>(i)];
    item.id = std::to_string(i);
    item.doc = {{"n", i}};
    item.contexts = {"Q" + item.id};
    item.choices = {"no" + item.id, "yes" + item.id};
    item.gold = 1;
  }
  const auto chosen = choose_shots(task, items, {}, 3);
  for (std::size_t i = 0; i < items.size(); ++i) {
    ASSERT_EQ(chosen[i].size(), 3u);
    for (const Item* shot : chosen[i]) EXPECT_NE(shot, &items[i]);
  }
  task.sampler = "first_n";
  EXPECT_EQ(shots_text(task, choose_shots(task, items, {}, 2)[0]), "Q1 yes1\n\nQ2 yes2\n\n");
  EXPECT_THROW(choose_shots(task, items, {}, 8), UserError);
  EXPECT_THROW(choose_shots(task, items, std::span(items).first(2), 3), UserError);
}

TEST(Answers, FiltersAndWhatIsNotCompared) {
  const auto& gsm8k = find_task(all_tasks(), "gsm8k").rules;
  ASSERT_EQ(gsm8k.filters.size(), 2u);
  const auto strict = [&](const std::string& text) { return filtered_answer(gsm8k.filters[0], text); };
  const auto flexible = [&](const std::string& text) { return filtered_answer(gsm8k.filters[1], text); };
  EXPECT_EQ(strict("3 and 4\n#### 1,234.5 or\n#### 7"), "1,234.5");
  EXPECT_EQ(flexible("3 and $4,000. So 12"), "12");
  EXPECT_EQ(flexible("costs $4,000.50!"), "$4,000.50");
  EXPECT_EQ(strict("The answer is 7"), "[invalid]");
  EXPECT_TRUE(exact_match(gsm8k, "1,234", {"First it is 2.\n#### 1234"}));
  EXPECT_TRUE(exact_match(gsm8k, "$18.", {"#### 18"}));
  EXPECT_FALSE(exact_match(gsm8k, "[invalid]", {"#### 18"}));
  const auto& nq = find_task(all_tasks(), "nq_open").rules;
  EXPECT_EQ(filtered_answer(nq.filters[0], " The Beatles"), "The Beatles");
  EXPECT_TRUE(exact_match(nq, "the Beatles!", {"Queen", "The beatles"}));
  EXPECT_FALSE(exact_match(nq, "Beatles, The", {"The beatles"}));
  EXPECT_EQ(cut_at_stops("a\nb. c", {".", "\n"}), "a");
}

TEST(Scoring, SharesOfTheProbability) {
  TaskDefinition task;
  task.name = "t";
  task.kind = TaskKind::kMultipleTrue;
  Item item;
  item.id = "0";
  item.contexts = {"c"};
  item.choices = {"a", "b", "d"};
  item.right = {true, false, true};
  const auto bytes = open_tokenizer("bytes");
  ReplayScorer scorer;
  scorer.results = {{std::log(0.2), false}, {std::log(0.1), false}, {std::log(0.1), false}};
  RunOptions options;
  const TaskResult result = run_task(task, std::span(&item, 1), *bytes, scorer, options);
  EXPECT_NEAR(result.metrics.at("acc").value, 0.75, 1e-12);
  EXPECT_NEAR(result.chance, 2.0 / 3, 1e-12);
}

// The harness' formulas for a group: weighted by items with pooled variance, or plain.
TEST(Scoring, MeansOverGroups) {
  const std::vector<double> a = {1, 0, 1, 1}, b = {0, 0, 1};
  const std::vector<Metric> groups = {mean_of(a), mean_of(b)};
  const Metric by_size = pooled(groups, true), plain = pooled(groups, false);
  EXPECT_NEAR(by_size.value, 4.0 / 7, 1e-12);
  EXPECT_NEAR(plain.value, (0.75 + 1.0 / 3) / 2, 1e-12);
  const double ea = *groups[0].error, eb = *groups[1].error;
  EXPECT_NEAR(*by_size.error, std::sqrt((3 * ea * ea * 4 + 2 * eb * eb * 3) / 5 / 7), 1e-12);
  EXPECT_NEAR(*plain.error, std::sqrt(ea * ea + eb * eb) / 2, 1e-12);
  const Metric drawn = mean_of(a, 4000);
  EXPECT_NEAR(*drawn.bootstrap, *drawn.error * std::sqrt(3.0 / 4), 0.02);  // draws divide by n, the formula by n - 1
}

TEST(Results, HaveTheHarnessKeys) {
  ScoredTask task;
  task.definition = find_task(all_tasks(), "mmlu");
  task.result.main_metric = "acc";
  task.result.metrics = {{"acc", {0.5, 0.25, 8}}};
  task.result.groups = {{"anatomy", {0.5, 0.3, 4}}};
  task.result.categories = {{"stem", {0.5, 0.3, 4}}};
  task.records = 100;
  task.shots = 5;
  ScoredTask text;
  text.definition = find_task(all_tasks(), "gsm8k");
  text.result.main_metric = "exact_match,strict-match";
  text.result.metrics = {{"exact_match,strict-match", {0.0, 0.0, 3}}, {"exact_match,flexible-extract", {1.0, 0.0, 3}}};
  const auto json = results_json({task, text}, {});
  EXPECT_EQ(json["results"]["mmlu"]["acc,none"], 0.5);
  EXPECT_EQ(json["results"]["mmlu"]["acc_stderr,none"], 0.25);
  EXPECT_EQ(json["results"]["mmlu_stem"]["acc,none"], 0.5);
  EXPECT_EQ(json["results"]["mmlu_anatomy"]["acc_stderr,none"], 0.3);
  EXPECT_EQ(json["groups"]["mmlu"]["acc,none"], 0.5);
  EXPECT_EQ(json["results"]["gsm8k"]["exact_match,flexible-extract"], 1.0);
  EXPECT_EQ(json["results"]["gsm8k"]["exact_match_stderr,strict-match"], 0.0);
  EXPECT_EQ(json["n-shot"]["mmlu"], 5);
  EXPECT_EQ(json["n-samples"]["mmlu"]["original"], 100);
  EXPECT_EQ(json["n-samples"]["mmlu"]["effective"], 8);
  for (const char* key : {"configs", "versions", "higher_is_better", "group_subtasks", "config", "date"}) EXPECT_TRUE(json.contains(key)) << key;
}

// Differences with known errors: a paired t test, and what resampling says of the same.
TEST(Comparing, PairedDifferences) {
  nlohmann::json a = nlohmann::json::array(), b = a;
  for (int i = 0; i < 60; ++i) {
    a.push_back({{"id", std::to_string(i)}, {"acc", i % 3 == 0 ? 1.0 : 0.0}, {"loglikelihood", -2.0 - 0.01 * i}});
    b.push_back({{"id", std::to_string(59 - i)}, {"acc", (59 - i) % 2 == 0 ? 1.0 : 0.0}, {"loglikelihood", -1.0 - 0.01 * (59 - i)}});
  }
  const auto all = compare_samples("t", a, b, 2000);
  ASSERT_EQ(all.size(), 2u);
  const auto& acc = all[0];
  EXPECT_EQ(acc.metric, "acc");
  EXPECT_NEAR(acc.difference, 0.5 - 1.0 / 3, 1e-12);
  EXPECT_EQ(acc.b_only, 20);
  EXPECT_EQ(acc.a_only, 10);
  // differences: 20 times +1, 10 times -1, 30 times 0
  const double error = std::sqrt((30 - 60 * acc.difference * acc.difference) / 59 / 60);
  EXPECT_NEAR(acc.error, error, 1e-12);
  EXPECT_NEAR(acc.p, 0.067449, 1e-5);  // scipy.stats.ttest_rel
  EXPECT_NEAR(acc.bootstrap_error, error, 0.06 * error);
  EXPECT_NEAR(acc.bootstrap_low, acc.low, 0.03);
  EXPECT_NEAR(acc.bootstrap_p, acc.p, 0.03);
  const auto& perplexity = all[1];
  EXPECT_NEAR(perplexity.a / perplexity.b, std::exp(1.0), 1e-9);
  EXPECT_NEAR(perplexity.error, perplexity.bootstrap_error, 0.1 * perplexity.error);
  const auto same = compare_samples("t", a, a, 200)[0];
  EXPECT_EQ(same.difference, 0);
  EXPECT_EQ(same.p, 1);
  EXPECT_EQ(same.bootstrap_p, 1);
  const auto mean = average("suite", {acc, same});
  EXPECT_NEAR(mean.difference, acc.difference / 2, 1e-12);
  EXPECT_NEAR(mean.error, acc.error / 2, 1e-12);
  b[0]["id"] = "x";
  EXPECT_THROW(compare_samples("t", a, b, 10), UserError);
}

TEST(Scoring, CompletionStopsAndTakesAliases) {
  TaskDefinition task;
  task.name = "t";
  task.kind = TaskKind::kCompletion;
  task.until = {"\n"};
  task.max_new_tokens = 20;
  Item item;
  item.prompt = std::string(100, 'p');
  item.answer = "Paris";
  item.aliases = {"the city of light"};
  const auto bytes = open_tokenizer("bytes");
  ReplayScorer scorer;
  RunOptions options;
  options.max_length = 30;
  auto contains = [&](const std::string& response) {
    scorer.answers = {bytes->encode(response)};
    return run_task(task, std::span(&item, 1), *bytes, scorer, options).metrics.at("contains").value;
  };
  EXPECT_EQ(contains("it is PARIS."), 1.0);
  EXPECT_EQ(contains("The City of Light"), 1.0);
  EXPECT_EQ(contains("Rome\nParis"), 0.0);
  EXPECT_EQ(scorer.prompts[0].prompt.size(), 10u);
  EXPECT_TRUE(scorer.prompts[0].stop(bytes->encode("a\n")));
  EXPECT_FALSE(scorer.prompts[0].stop(bytes->encode("a")));
  options.max_length = 20;
  EXPECT_THROW(contains("x"), UserError);
}

}  // namespace
}  // namespace hymba::eval
