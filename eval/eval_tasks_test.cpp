// The task files on the data beside the project, their errors, and the scoring rules at the edges.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "base/error.h"
#include "base/files.h"
#include "base/rng.h"
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

namespace fs = std::filesystem;

// --- the task files on the data that lies beside the project ---

struct Expectation {
  const char* task;
  std::int64_t records;
  std::uint64_t hash;  // of the first 100 items
};

std::uint64_t hash_items(const std::vector<Item>& items) {
  std::string text;
  for (const auto& item : items) {
    text += fmt::format("{}\x1f{}\x1f{}\x1f{}\x1f{}\x1f{}\x1f{}\x1f{}\x1f{}\x1f{}\x1e", item.id, item.group,
                        join(item.contexts, "\x1d"), join(item.choices, "\x1d"), item.gold, item.prompt, item.answer,
                        join(item.aliases, "\x1d"), item.original, item.preamble);
  }
  return hash64(text);
}

// Record counts as in the data folder's list of sources (wikitext: 32 pages by the harness' rule for titles, which takes
// two headings for titles; 30 articles); hashes as first seen, after reading items by eye.
const Expectation kExpected[] = {
    {"arc_easy", 1188, 0x83148e78874b1c0fULL},
    {"arc_challenge", 586, 0x0aad0366eea7955cULL},
    {"piqa", 919, 0x2bfa9cc8d87d181eULL},
    {"hellaswag", 2542, 0xc53bad13dd8dc890ULL},
    {"winogrande", 634, 0xe20c5033fd89fddeULL},
    {"winograd", 137, 0xf6702fc7d76a1a2fULL},
    {"openbookqa", 250, 0xd6641460ec239597ULL},
    {"boolq", 1000, 0x603a996f58fe2e5dULL},
    {"copa", 50, 0xb7be528d43ffd828ULL},
    {"commonsense_qa", 611, 0xf88294cc90b73deaULL},
    {"mmlu", 2850, 0x153feced194b1917ULL},
    {"blimp", 10200, 0x96225dc0386a6867ULL},
    {"zorro", 12000, 0xcfcddddb0f2aae33ULL},
    {"lambada_openai", 2577, 0xd8ffb226a018bad0ULL},
    {"wikitext", 32, 0xbbe8402a03d75c6fULL},
    {"wikitext_valid", 60, 0x150a19bf307f46ffULL},
    {"squad_completion", 2616, 0x579e4e82ba4079e9ULL},
    {"xquad", 632, 0x528ffd8cd2f89452ULL},
    {"kv_pairs", 100, 0x1613e0960b0d6185ULL},
    {"kv_pairs_beginning", 100, 0x3a838fec7483cb9dULL},
    {"kv_pairs_end", 100, 0x52278aae26c67942ULL},
    {"nq_openbook", 412, 0xecc2f37aa13ea251ULL},
    {"wikidata", 3000, 0xce1f42e242c12e68ULL},
    {"truthfulqa_mc2", 407, 0x614d4c12f967a1f4ULL},
    {"nq_open", 1805, 0x49cec1e9a1f88247ULL},
    {"gsm8k", 660, 0x949cd2973f147117ULL},
};

TEST(TaskFiles, EveryTaskReadsItsData) {
  const fs::path data = shared_folder(HYMBA_SOURCE_DIR) / "data";
  if (!fs::exists(data)) GTEST_SKIP() << "no " << data << ": set HYMBA_SHARED to the shared folder";
  const auto bytes = open_tokenizer("bytes");
  for (const auto& task : all_tasks()) {
    SCOPED_TRACE(task.name);
    if (task.name == "swde") {  // not among the shared data
      EXPECT_THROW(load_task(task, data), NoTaskFiles);
      continue;
    }
    const TaskData all = load_task(task, data);
    const auto it = std::find_if(std::begin(kExpected), std::end(kExpected),
                                 [&](const Expectation& e) { return task.name == e.task; });
    const Expectation none{"", 0, 0};
    const Expectation& expected = it == std::end(kExpected) ? none : *it;
    EXPECT_EQ(all.records, expected.records);
    LoadOptions options;
    options.limit = 100;
    const TaskData some = load_task(task, data, options);
    EXPECT_EQ(hash_items(some.items), expected.hash) << fmt::format("items changed: {{\"{}\", {}, 0x{}ULL}}", task.name,
                                                               all.records, hex64(hash_items(some.items)));
    options.seed = 7;
    EXPECT_EQ(hash_items(load_task(task, data, options).items), hash_items(load_task(task, data, options).items));
    for (const auto& item : all.items) {
      if (!item.choices.empty()) {
        const std::size_t options_of = task.kind == TaskKind::kPartial ? item.contexts.size() : item.choices.size();
        ASSERT_LT(static_cast<std::size_t>(item.gold), options_of) << item.id;
        for (const auto& choice : item.choices) ASSERT_FALSE(trim(choice).empty()) << item.id;
      } else {
        ASSERT_FALSE(trim(item.prompt).empty()) << item.id;
      }
    }
    ReplayScorer scorer;  // the whole way at least once: all scores -1 makes the first choice win
    const std::span<const Item> few(some.items.data(), std::min<std::size_t>(3, some.items.size()));
    std::size_t requests = 0;
    if (task.kind == TaskKind::kCompletion) {
      for (const auto& item : few) scorer.answers.push_back(bytes->encode("It is " + to_lower(item.answer)));
    } else {
      for (const auto& item : few) {
        requests += loglikelihood_requests(task, item, *bytes, 100000).size();
      }
    }
    scorer.results.assign(requests, {-1.0, true});
    RunOptions run;
    run.max_length = 100000;
    run.shot_pool = some.shot_pool;
    const TaskResult result = run_task(task, few, *bytes, scorer, run);
    EXPECT_TRUE(result.metrics.contains(result.main_metric));
    if (task.kind == TaskKind::kCompletion) {
      // "It is ..." holds the answer, and the number behind "####"; as a whole it is not the answer.
      EXPECT_EQ(result.metrics.at(result.main_metric).value, task.name == "nq_open" ? 0.0 : 1.0);
    }
  }
}

TEST(TaskFiles, StringsOfTheFirstItems) {
  const fs::path data = shared_folder(HYMBA_SOURCE_DIR) / "data";
  if (!fs::exists(data)) GTEST_SKIP() << "no " << data << ": set HYMBA_SHARED to the shared folder";
  auto first = [&](const std::string& name) { return load_task(find_task(all_tasks(), name), data).items.at(0); };
  EXPECT_EQ(first("hellaswag").contexts[0], "Roof shingle removal: A man is sitting on a roof. He");
  EXPECT_EQ(first("hellaswag").gold, 3);
  EXPECT_EQ(first("copa").contexts[0], "The man turned on the faucet therefore");
  EXPECT_EQ(first("piqa").gold, 0);
  EXPECT_TRUE(first("arc_easy").contexts[0].ends_with("food webs?\nAnswer:"));
  EXPECT_EQ(first("lambada_openai").answer, "signs");
  EXPECT_EQ(first("blimp").group, "adjunct_island");
  EXPECT_EQ(first("mmlu").group, "abstract_algebra");
  EXPECT_TRUE(first("wikitext_valid").prompt.starts_with(" = Homarus gammarus =\n\nHomarus gammarus, known as"));
}

// --- definitions and broken files ---

class TaskErrors : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() /
              fmt::format("hymba-tasks-{}-{}", ::testing::UnitTest::GetInstance()->current_test_info()->name(), ::getpid());
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }
  template <class F>
  static std::string complaint(F&& f) {
    try {
      f();
    } catch (const UserError& error) {
      return error.what();
    }
    return "no error";
  }
  // Of a definition with the lines given, and a data file.
  std::string of(const std::string& lines, const std::string& file = "", const std::string& text = "") {
    return complaint([&] {
      const auto tasks = load_task_definitions(write("t.ini", "[t]\n" + lines));
      if (!file.empty()) {
        write(file, text);
        load_task(tasks.at(0), folder_);
      }
    });
  }
  fs::path folder_;
};

#define EXPECT_HAS(text, part)                                    \
  do {                                                            \
    const std::string said = (text);                              \
    EXPECT_NE(said.find(part), std::string::npos) << said;        \
  } while (false)

const char* const kGood = "files = d.jsonl\na.context = {q}\na.choices = {c}\na.gold = {g}\n";

TEST_F(TaskErrors, DefinitionsNameFileStanzaAndKey) {
  EXPECT_EQ(of(kGood), "no error");
  EXPECT_HAS(of(std::string(kGood) + "metrc = acc\n"), "t.ini [t] line 6: unknown key 'metrc'; did you mean 'metric'?");
  EXPECT_HAS(of(std::string(kGood) + "a.contxt = x\n"), "did you mean 'context'?");
  EXPECT_HAS(of(std::string(kGood) + "kind = multiple\n"), "expected one of multiple_choice, multiple_true");
  EXPECT_HAS(of(std::string(kGood) + "suite = fun\n"), "'suite'");
  EXPECT_HAS(of(std::string(kGood) + "metric = f1\n"), "'metric'");
  EXPECT_HAS(of(std::string(kGood) + "chance = 2\n"), "[0, 1]");
  EXPECT_HAS(of(std::string(kGood) + "shots = 5\n"), "needs 'shot_files'");
  EXPECT_HAS(of(std::string(kGood) + "from = t\n"), "circle");
  EXPECT_HAS(of(std::string(kGood) + "from = u\n"), "expected the name of a task");
  EXPECT_HAS(of("files = d.jsonl\n"), "expected at least one shape");
  EXPECT_HAS(of("files = d.jsonl\na.choices = {c}\na.gold = 0\n"), "expected 'context'");
  EXPECT_HAS(of(std::string(kGood) + "b.context = {q|capitalise}\n"), "did you mean 'capitalize'?");
  EXPECT_HAS(of(std::string(kGood) + "b.context = {q\n"), "closing brace");
  EXPECT_HAS(complaint([&] { find_task(all_tasks(), "piqua"); }), "did you mean 'piqa'?");
  EXPECT_EQ(select_tasks(all_tasks(), "piqa, grammar").size(), 3u);
}

TEST_F(TaskErrors, DataNamesFileAndLine) {
  const std::string good = R"({"q": "x", "c": ["a", "b"], "g": 1})" "\n";
  EXPECT_EQ(of(kGood, "d.jsonl", good), "no error");
  EXPECT_HAS(of(kGood, "other.jsonl", good), "no error");  // d.jsonl is still there
  fs::remove(folder_ / "d.jsonl");
  EXPECT_HAS(of(kGood, "other.jsonl", good), "looked for d.jsonl");
  EXPECT_HAS(of(kGood, "d.jsonl", good + "{\"q\": \n"), "d.jsonl:2: expected one JSON object");
  EXPECT_HAS(of(kGood, "d.jsonl", good + "[1]\n"), "d.jsonl:2: expected a JSON object, found array");
  EXPECT_HAS(of(kGood, "d.jsonl", ""), "an empty file");
  EXPECT_HAS(of(kGood, "d.jsonl", R"({"q": "x", "c": ["a", "b"]})"), "lacks \"g\"");
  EXPECT_HAS(of(kGood, "d.jsonl", R"({"q": "x", "c": ["a", "b"], "g": 2})"), "one of 2 choices, found number 2");
  EXPECT_HAS(of(kGood, "d.jsonl", R"({"q": "x", "c": ["a"], "g": 0})"), "at least two choices");
  EXPECT_HAS(of(kGood, "d.jsonl", R"({"q": "x", "c": ["a", 3], "g": 0})"), "a list of texts");
  EXPECT_HAS(of(kGood, "d.jsonl", "{\"q\": \"\xff\"}\n"), "UTF-8");
  const std::string labelled = std::string(kGood) + "labels = l.lst\n";
  EXPECT_HAS(of(labelled, "d.jsonl", good), "l.lst: expected the labels");
  write("l.lst", "0\n1\n");
  EXPECT_HAS(of(labelled, "d.jsonl", good), "expected 1 labels");
  const std::string csv = "files = d.csv\na.context = {q}\na.choices = x | y\na.gold = {g}\n";
  EXPECT_EQ(of(csv, "d.csv", "q,g\n\"a \"\"b\"\",\nc\",1\n"), "no error");
  EXPECT_HAS(of(csv, "d.csv", "q,g\nx,0\ny\n"), "d.csv:3: expected 2 fields");
  EXPECT_HAS(of(csv, "d.csv", "q,g\n\"x,0\n"), "closing quote");
  const std::string blocks = "files = d.txt\ntext_format = blocks:2\na.context = {line0}\na.choices = x | y\na.gold = {line1}\n";
  EXPECT_EQ(of(blocks, "d.txt", "q\n1\n"), "no error");
  EXPECT_HAS(of(blocks, "d.txt", "q\n1\nq\n"), "blocks of 2 lines");
}

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
