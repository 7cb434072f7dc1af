// The task files on the data beside the project, and their errors.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "base/error.h"
#include "base/files.h"
#include "base/rng.h"
#include "base/text.h"
#include "data/tokenizer.h"
#include "data/utf8.h"
#include "eval/replay_scorer.h"
#include "eval/scoring.h"

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

// Of names and bytes of the files that tasks read: the counts and strings below are those of one data folder, and any
// other may be put in its place.
constexpr std::uint64_t kKnownData = 0xacb08af1807db2a3ULL;

bool is_known(const fs::path& data) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(data)) {
    const std::string top = fs::relative(entry.path(), data).begin()->string();
    if (entry.is_regular_file() && top != "tokenizers" && top != "checkpoints" && top != "SOURCES.md") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::uint64_t hash = 0;
  for (const auto& file : files) hash = hash64(read_file(file), hash64(fs::relative(file, data).string(), hash));
  if (hash != kKnownData) fmt::print("data {}: counts and strings of its tasks are not known\n", hex64(hash));
  return hash == kKnownData;
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
    {"mmlu", 2850, 0xc4de6c81494bf2f7ULL},
    {"blimp", 10200, 0xed14c1e4b590e0f7ULL},
    {"zorro", 12000, 0x5ff0cad2d6900e39ULL},
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
  const bool known = is_known(data);
  int read = 0;
  for (const auto& task : all_tasks()) {
    SCOPED_TRACE(task.name);
    TaskData all;
    try {
      all = load_task(task, data);
    } catch (const NoTaskFiles&) {
      EXPECT_TRUE(!known || task.name == "swde");  // not among the known data
      continue;
    }
    ++read;
    const auto it = std::find_if(std::begin(kExpected), std::end(kExpected),
                                 [&](const Expectation& e) { return task.name == e.task; });
    const Expectation none{"", 0, 0};
    const Expectation& expected = it == std::end(kExpected) ? none : *it;
    EXPECT_GT(all.records, 0);
    if (known) {
      EXPECT_EQ(all.records, expected.records);
    }
    LoadOptions options;
    options.limit = 100;
    const TaskData some = load_task(task, data, options);
    if (known) {
      EXPECT_EQ(hash_items(some.items), expected.hash) << fmt::format("items changed: {{\"{}\", {}, 0x{}ULL}}", task.name,
                                                                 all.records, hex64(hash_items(some.items)));
    }
    LoadOptions grouped = options;
    grouped.limit = 2;
    grouped.limit_groups = true;
    std::map<std::string, int> left, there;
    for (const auto& item : all.items) ++there[item.group];
    for (const auto& item : load_task(task, data, grouped).items) ++left[item.group];
    std::set<std::string> kept;
    for (const auto& item : some.items) kept.insert(item.group);
    EXPECT_EQ(kept.size(), std::min<std::size_t>(there.size(), 100)) << task.name;  // a short roadmap sees every paradigm
    EXPECT_EQ(left.size(), there.size());  // the harness limits subtasks: no subject and no paradigm is left out
    for (const auto& [group, count] : left) EXPECT_EQ(count, std::min(there[group], 2)) << group;
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
  EXPECT_GT(read, 0);
}

TEST(TaskFiles, StringsOfTheFirstItems) {
  const fs::path data = shared_folder(HYMBA_SOURCE_DIR) / "data";
  if (!fs::exists(data)) GTEST_SKIP() << "no " << data << ": set HYMBA_SHARED to the shared folder";
  if (!is_known(data)) GTEST_SKIP() << data << " is another data folder than the one whose strings are known";
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

// The harness lets the two tasks of one form go on differently far.
TEST(TaskFiles, SwdeStopsAtTheLine) {
  const auto tasks = all_tasks();
  EXPECT_EQ(find_task(tasks, "swde").max_new_tokens, 48);
  EXPECT_EQ(find_task(tasks, "swde").until, std::vector<std::string>{"\n"});
  EXPECT_EQ(find_task(tasks, "squad_completion").max_new_tokens, 256);
}

TEST_F(TaskErrors, DataNamesFileAndLine) {
  const std::string good = R"({"q": "x", "c": ["a", "b"], "g": 1})" "\n";
  EXPECT_EQ(of(kGood, "d.jsonl", good), "no error");
  EXPECT_HAS(of(kGood, "other.jsonl", good), "no error");  // d.jsonl is still there
  fs::remove(folder_ / "d.jsonl");
  EXPECT_HAS(of(kGood, "other.jsonl", good), "looked for d.jsonl, t.jsonl, t/test.jsonl");
  EXPECT_HAS(of("files = t.jsonl\na.context = {q}\na.choices = {c}\na.gold = {g}\n", "other.jsonl", good), "looked for t.jsonl, t/test.jsonl");
  EXPECT_HAS(of(kGood, "d.jsonl", good + "{\"q\": \n"), "d.jsonl:2: expected one JSON object");
  EXPECT_HAS(of(kGood, "d.jsonl", good + "[1]\n"), "d.jsonl:2: expected a JSON object, found array");
  EXPECT_HAS(of(kGood, "d.jsonl", ""), "an empty file");
  EXPECT_HAS(of(kGood, "d.jsonl", R"({"q": "x", "c": ["a", "b"]})"), "lacks \"g\"");
  EXPECT_HAS(of(kGood, "d.jsonl", R"({"q": "x", "c": ["a", "b"], "g": 2})"), "one of 2 choices, 0 to 1, found 2");
  EXPECT_HAS(of(std::string(kGood) + "a.gold_base = 1\n", "d.jsonl", R"({"q": "x", "c": ["a", "b"], "g": 3})"), "1 to 2, found 3");
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

}  // namespace
}  // namespace hymba::eval
