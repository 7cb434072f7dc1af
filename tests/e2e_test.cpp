// The real program from outside: output, exit codes, resume after kill -9 and a full disk, bad input.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/text.h"
#include "results/record.h"
#include "tests/program.h"

namespace hymba {
namespace {

TEST(Cli, ShowAndCacheGiveTheKeysOfTheContract) {
  const auto show = run("show 9 --format json");
  ASSERT_EQ(show.code, 0) << show.err;
  const auto json = lines_of(show.out).at(0);
  for (const char* key : {"design", "size", "layers", "params_total", "params_attention", "params_mamba", "params_embedding", "ratio", "flops_per_token"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
  for (const char* key : {"index", "mixer", "window", "kv_source", "meta"}) EXPECT_TRUE(json["layers"][0].contains(key)) << key;
  const auto cache = run("cache all --context 8000 --dtype fp16 --accounting paper --format json");
  ASSERT_EQ(cache.code, 0) << cache.err;
  const auto rows = lines_of(cache.out);
  ASSERT_EQ(rows.size(), 13u);
  EXPECT_NEAR(rows[12]["mb"].get<double>(), 40.01, 0.005);
  EXPECT_EQ(run("show --diff 8 9").code, 0);
  EXPECT_EQ(run("doctor --format json").code, 0);
  for (const char* command : {"roadmap", "show", "cache", "train", "eval", "generate", "chat", "throughput", "report", "doctor"}) {
    const auto help = run(fmt::format("{} --help", command));
    EXPECT_EQ(help.code, 0);
    EXPECT_NE(help.out.find("Example:"), std::string::npos) << command;
  }
}

TEST(Cli, MistakesAreNamedWithTheirRemedy) {
  EXPECT_MISTAKE("shwo 9", "did you mean show?");
  EXPECT_MISTAKE("show 14", "rows 1-13");
  EXPECT_MISTAKE("show row-9x", "no stanza", "did you mean row-0");
  EXPECT_MISTAKE("show 9 --attention.windw=3", "attention.windw", "did you mean --attention.window?");
  EXPECT_MISTAKE("show 1 --attention.window=3", "no component");
  EXPECT_MISTAKE("show 9 --attention.heads=15", "not a multiple");
  EXPECT_MISTAKE("show 9 --attention.heads=many", "attention.heads = 'many'");
  EXPECT_MISTAKE("show 9 --size huge", "paper");
  EXPECT_MISTAKE("show 9 --size ''", "--size ''");
  EXPECT_MISTAKE("show 9 --layers=100000000", "layers = 100000000", "at most 10000");
  EXPECT_MISTAKE("show 9 --layers=-1", "must be positive", "-1");
  EXPECT_MISTAKE("roadmap --rows 14", "14 is outside 1-13");
  EXPECT_MISTAKE("roadmap --rows ''x", "whole number");
  EXPECT_MISTAKE("roadmap --data /nowhere.txt --tasks /nowhere", "/nowhere.txt");
  EXPECT_MISTAKE("train 9 --steps 0", "--steps 0");
  EXPECT_MISTAKE("eval /nowhere", "/nowhere");
  EXPECT_MISTAKE("report /nowhere", "/nowhere");
  EXPECT_MISTAKE("throughput 9 --batch 0", "batch");
  EXPECT_MISTAKE("show 9 --format yaml", "text or json");
}

TEST(Cli, OwnDesignFilesAreReadAndTheirErrorsNameTheLine) {
  const auto folder = scratch("designs");
  fs::create_directories(folder);
  write_file_atomic(folder / "my.ini", "[mine]\nfrom = row-09\nattention.window = 32\n[typo]\nfrom = row-09\nattention.windw = 32\n[noop]\nfrom = row-09\nattention.window = 256\n");
  const auto good = run(fmt::format("show {}:mine --format json", (folder / "my.ini").string()));
  ASSERT_EQ(good.code, 0) << good.err;
  EXPECT_EQ(lines_of(good.out).at(0)["layers"][2]["window"], 32);
  EXPECT_MISTAKE(fmt::format("show {}:typo", (folder / "my.ini").string()), "my.ini [typo] line 6", "did you mean attention.window?");
  EXPECT_MISTAKE(fmt::format("show {}:noop", (folder / "my.ini").string()), "my.ini [noop] line 9", "changes nothing");
}

std::string weights_of(const fs::path& out) {
  fs::path newest;
  if (!fs::exists(out)) return "";
  for (const auto& entry : fs::directory_iterator(out)) {
    if (fs::exists(entry.path() / "model.safetensors") && entry.path() > newest) newest = entry.path();
  }
  return newest.empty() ? "" : read_file(newest / "model.safetensors") + read_file(newest / "optimizer.safetensors");
}

TEST(Train, KilledAndResumedRunsEqualAnUninterruptedOneBitForBit) {
  const std::string arguments = "train 13 --size smoke --steps 40 --train.checkpoint_every=7 --threads 2 --seed 3 --out ";
  const auto whole = scratch("whole"), broken = scratch("broken");
  ASSERT_EQ(run(arguments + whole.string()).code, 0);
  int kills = 0;
  for (int attempt = 0; attempt < 12; ++attempt) {
    const auto outcome = run(arguments + broken.string() + " --resume", 350 + 60 * attempt);
    if (outcome.code == 0) break;
    ++kills;
    ASSERT_EQ(outcome.code, 128 + SIGKILL) << outcome.err;
  }
  const auto last = run(arguments + broken.string() + " --resume");
  ASSERT_EQ(last.code, 0) << last.err;
  EXPECT_GT(kills, 0);
  ASSERT_FALSE(weights_of(whole).empty());
  EXPECT_TRUE(weights_of(whole) == weights_of(broken)) << "after " << kills << " kills";
}

TEST(Train, AFullDiskLeavesTheLastCheckpointAndTheRunGoesOnBitForBit) {
  const std::string arguments = "train 13 --size smoke --steps 60 --train.checkpoint_every=9 --threads 2 --seed 4 --out ";
  const auto whole = scratch("room"), full = scratch("no_room");
  ASSERT_EQ(run(arguments + whole.string()).code, 0);
  // Stopped once, so that a checkpoint is there (ctrl-C writes one, whenever it comes after the start).
  for (int wait = 1000; weights_of(full).empty(); wait += 500) {
    const auto stopped = run(arguments + full.string() + " --resume", wait, SIGINT);
    ASSERT_EQ(stopped.code, 130) << stopped.err;
  }
  const auto before = weights_of(full);
  const auto failed = run(arguments + full.string() + " --resume", 0, 0, "ulimit -f 64");  // KiB: no room for weights
  EXPECT_EQ(failed.code, 1) << failed.err;
  for (const char* word : {"model.safetensors: cannot write", "make room", "Last good checkpoint: "})
    EXPECT_NE(failed.err.find(word), std::string::npos) << word << " in " << failed.err;
  EXPECT_TRUE(weights_of(full) == before);
  const auto last = run(arguments + full.string() + " --resume");
  ASSERT_EQ(last.code, 0) << last.err;
  EXPECT_TRUE(weights_of(whole) == weights_of(full));
}

TEST(Train, AFinishedRunIsNotOverwrittenAndDamageIsNamed) {
  const auto out = scratch("finished");
  ASSERT_EQ(run("train 6 --size smoke --steps 4 --out " + out.string()).code, 0);
  EXPECT_MISTAKE("train 6 --size smoke --steps 4 --out " + out.string(), "--resume");
  EXPECT_MISTAKE("train 6 --size smoke --steps 5 --resume --out " + out.string(), "another design, recipe, data or seed");
  const auto model = out / "step-00000004" / "model.safetensors";
  const auto bytes = read_file(model);
  write_file_atomic(model, bytes.substr(0, bytes.size() / 2));
  EXPECT_MISTAKE("eval " + out.string() + " --limit 5", "model.safetensors", "truncated");
}

TEST(Roadmap, RunsAndGoesOnAndDoesNothingTwice) {
  const auto out = scratch("roadmap");
  const std::string arguments = "roadmap --size smoke --rows 1,9 --limit 20 --train.tokens=6000 --seeds 2 --format json --out " + out.string();
  run(arguments, 2500, SIGINT);  // wherever that hits
  const auto first = run(arguments);
  ASSERT_EQ(first.code, 0) << first.err;
  const auto rows = lines_of(first.out);
  ASSERT_EQ(rows.size(), 2u);
  for (const char* key : {"row", "design", "ratio", "general", "general_stderr", "recall", "recall_stderr", "chance", "decode_tok_s", "prefill_tok_s",
                          "cache_mb_paper", "cache_mb_exact", "cache_mb_measured", "params_total", "seeds", "size", "paper"}) {
    EXPECT_TRUE(rows[1].contains(key)) << key;
  }
  EXPECT_EQ(rows[1]["cache_mb_exact"], rows[1]["cache_mb_measured"]);
  for (const auto& record : read_records(out / "records.jsonl")) {
    EXPECT_FALSE(record.config_hash.empty() || record.commit.empty() || record.host.empty()) << record.metric;
  }
  const auto before = read_file(out / "records.jsonl");
  const auto again = run(arguments);
  EXPECT_EQ(again.code, 0);
  EXPECT_EQ(again.out, first.out);
  EXPECT_EQ(read_file(out / "records.jsonl"), before);
  // Half a line at the end (a crash) costs that line alone.
  std::ofstream(out / "records.jsonl", std::ios::app) << "{\"study\":\"roadm";
  const auto healed = run(arguments);
  EXPECT_EQ(healed.code, 0) << healed.err;
  EXPECT_EQ(healed.out, first.out);
  EXPECT_EQ(read_file(out / "records.jsonl"), before);
  EXPECT_TRUE(fs::exists(out / "page.html") && fs::exists(out / "page.md") && fs::exists(out / "page.csv"));
}

TEST(Roadmap, TrainsAndScoresOnRealTextFiles) {
  const auto folder = scratch("text");
  fs::create_directories(folder / "tasks" / "commonsense");
  std::string text;
  for (int i = 0; i < 3000; ++i) text += fmt::format("The number {} comes before the number {}.\n", i, i + 1);
  write_file_atomic(folder / "numbers.txt", text);
  std::string items;
  for (int i = 0; i < 30; ++i) items += fmt::format(R"({{"query": "Question: What comes after {}?", "choices": ["{}", "{}"], "gold": 0}})", i, i + 1, i + 2) + "\n";
  write_file_atomic(folder / "tasks" / "commonsense" / "arc_easy.jsonl", items);
  const std::string arguments = fmt::format("roadmap --size smoke --rows 6 --train.tokens=4000 --data {} --tasks {} --format json --out {}",
                                            (folder / "numbers.txt").string(), (folder / "tasks").string(), (folder / "out").string());
  const auto outcome = run(arguments);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(lines_of(outcome.out).size(), 1u);
  bool perplexity = false, accuracy = false;
  for (const auto& record : read_records(folder / "out" / "records.jsonl")) {
    perplexity = perplexity || record.metric == "perplexity";
    accuracy = accuracy || (record.metric == "acc" && record.task == "arc_easy" && record.n == 30);
  }
  EXPECT_TRUE(perplexity && accuracy);
  write_file_atomic(folder / "tasks" / "commonsense" / "arc_easy.jsonl", items + "{broken\n");
  EXPECT_MISTAKE(arguments, "arc_easy.jsonl:31");
  write_file_atomic(folder / "empty.txt", "");
  EXPECT_MISTAKE(fmt::format("train 6 --size smoke --data {}", (folder / "empty.txt").string()), "empty.txt");
  write_file_atomic(folder / "binary.txt", std::string("\x00\x01\xff\xfe", 4) + std::string(1000, '\x80'));
  EXPECT_MISTAKE(fmt::format("train 6 --size smoke --data {}", (folder / "binary.txt").string()), "binary.txt");
}

TEST(Roadmap, TwoRunsInOneFolder) {
  const auto out = scratch("locked");
  const FolderLock lock(out);
  EXPECT_MISTAKE("roadmap --size smoke --rows 1 --out " + out.string(), "another run is using this folder");
}

TEST(Cli, AFullDiskIsAFailureNotASilence) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full on this system";
  const int status = std::system(fmt::format("'{}' cache all >/dev/full 2>/dev/null", HYMBA_PROGRAM).c_str());
  EXPECT_EQ(WEXITSTATUS(status), 1);
}

// A few steps of training are enough for what is asked of studies here.
fs::path tiny_model(const std::string& row) {
  const auto folder = scratch("study_" + row);
  EXPECT_EQ(run(fmt::format("train {} --size smoke --steps 6 --out {}", row, folder.string())).code, 0);
  return folder;
}

TEST(Studies, HeadsGivesTheContractsKeysAndIsNotMeasuredTwice) {
  const auto model = tiny_model("9"), out = scratch("heads");
  const std::string arguments = fmt::format("heads {} --tasks facts,records --limit 8 --layers 0,3 --per-head --speedup --format json --out {}", model.string(), out.string());
  const auto first = run(arguments);
  ASSERT_EQ(first.code, 0) << first.err;
  int removals = 0;
  for (const auto& line : lines_of(first.out)) {
    if (line.contains("speedup")) continue;
    ++removals;
    for (const char* key : {"layer", "branch", "head", "task", "value", "baseline", "difference", "stderr"}) EXPECT_TRUE(line.contains(key)) << key;
    EXPECT_NEAR(line["value"].get<double>() - line["baseline"].get<double>(), line["difference"].get<double>(), 1e-9);
  }
  EXPECT_EQ(removals, 2 * 2 * (1 + 1 + 8));  // tasks, layers; both branches and 8 heads
  const auto before = read_file(out / "records.jsonl");
  EXPECT_EQ(run(arguments).out, first.out);
  EXPECT_EQ(read_file(out / "records.jsonl"), before);
  EXPECT_MISTAKE(fmt::format("heads {} --layers 7", model.string()), "layers 0-5");
  EXPECT_MISTAKE(fmt::format("heads {} --mode mean --fusion whole", model.string()), "--fusion whole");
  EXPECT_MISTAKE(fmt::format("heads {} --tasks nonsense", model.string()), "no such task");
  EXPECT_MISTAKE(fmt::format("heads {} --branch attention", tiny_model("1").string()), "attention branch");
  EXPECT_MISTAKE("heads /nowhere", "/nowhere");
}

TEST(Studies, AllOfARoadmapAndTheirFiguresInThePage) {
  const auto out = scratch("studied");
  ASSERT_EQ(run("roadmap --size smoke --rows 1,13 --limit 10 --train.tokens=4000 --out " + out.string()).code, 0);
  const auto outcome = run(fmt::format("studies {} --limit 8 --format json", out.string()));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto page = read_file(out / "page.html");
  for (const char* id : {"tradeoff", "heads-row-13", "needle", "needle-length", "receptive-field", "attention-mass", "meta-by-domain", "composed-map", "magnitudes", "curves"}) {
    EXPECT_NE(page.find(fmt::format("id=\"{}\"", id)), std::string::npos) << id;
    EXPECT_TRUE(fs::exists(out / "page.figures" / (std::string(id) + ".svg"))) << id;
  }
  EXPECT_LT(page.size(), 3u << 20);
  EXPECT_EQ(page.find("not run (<code>./hymba heads"), std::string::npos);
  // Records of one run from two commits are not shown without a word.
  const auto file = out / "studies" / "magnitudes" / "records.jsonl";
  auto text = read_file(file);
  const auto at = text.find("\"commit\":\"");
  text.insert(at + 10, "other");
  write_file_atomic(file, text);
  ASSERT_EQ(run(fmt::format("report {} --out {}", out.string(), (out / "again.html").string())).code, 0);
  EXPECT_NE(read_file(out / "again.html").find("Records of one run come from 2 commits"), std::string::npos);
}

// The commands of docs/your-own-design.md, in its order, below a folder of its own.
TEST(OwnDesign, TheDocumentsCommandsDoWhatTheySay) {
  const auto folder = scratch("own");
  fs::create_directories(folder);
  const auto page = read_file(fs::path(HYMBA_SOURCE_DIR) / "docs" / "your-own-design.md");
  const auto block = [&](const std::string& kind, std::size_t from) {
    const auto begin = page.find("```" + kind + "\n", from) + kind.size() + 4;
    return page.substr(begin, page.find("```", begin) - begin);
  };
  write_file_atomic(folder / "my.ini", block("ini", 0));
  int commands = 0;
  for (std::size_t at = page.find("```sh\n"); at != std::string::npos; at = page.find("```sh\n", at + 1)) {
    for (const auto& line : split(block("sh", at), '\n')) {
      if (!starts_with(line, "./hymba ")) continue;
      // Shorter than the reader's: fewer tokens and items.
      const bool trains = starts_with(line, "./hymba roadmap") || starts_with(line, "./hymba sweep");
      const auto command = fmt::format("cd '{}' && '{}' {}{} 2>err.txt >out.txt", folder.string(), HYMBA_PROGRAM, line.substr(8), trains ? " --train.tokens=3000 --limit 8" : "");
      EXPECT_EQ(std::system(command.c_str()), 0) << line << "\n" << read_file(folder / "err.txt");
      ++commands;
    }
  }
  EXPECT_EQ(commands, 4);
  EXPECT_NE(read_file(folder / "results/mine/page.html").find("narrow"), std::string::npos);
  const auto grid = read_file(folder / "out.txt");
  for (const char* name : {"row-13.window-8.meta_tokens-0", "row-13.window-32.meta_tokens-8"}) EXPECT_NE(grid.find(name), std::string::npos) << grid;
  // Two shards are the same grid; a second start has nothing to do.
  const std::string sweep = "sweep --vary attention.window=8,32 --from 9 --size smoke --train.tokens=3000 --limit 8 --format json --out " + (folder / "shards").string();
  ASSERT_EQ(run(sweep + " --shard 1/2").code, 0);
  const auto second = run(sweep + " --shard 2/2");
  ASSERT_EQ(second.code, 0) << second.err;
  EXPECT_EQ(lines_of(second.out).size(), 2u);
  EXPECT_EQ(run(sweep + " --shard 2/2").out, second.out);
  EXPECT_MISTAKE("sweep --vary attention.widow=8 --from 9", "did you mean attention.window?");
  EXPECT_MISTAKE("sweep --vary attention.window=8,8 --from 9", "different values");
  EXPECT_MISTAKE("sweep --from 9", "--vary");
  EXPECT_MISTAKE("sweep --vary attention.window=8 --shard 3/2", "--shard 3/2");
}

}  // namespace
}  // namespace hymba
