// The studies from outside on several models at once: a results folder with seeds, and models that lack what is asked for.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "base/files.h"
#include "reports/unicode.h"
#include "tests/program.h"

namespace hymba {
namespace {

// Rows 1 and 9, two seeds of a few steps each.
const fs::path& results() {
  static const fs::path folder = [] {
    const auto made = scratch("two_seeds");
    EXPECT_EQ(run(fmt::format("roadmap --rows 1,9 --seeds 2 --size smoke --limit 8 --train.tokens=21000 --out {}", made.string())).code, 0);
    return made;
  }();
  return folder;
}

TEST(StudiesOfSeveral, HeadsTakesAResultsFolderAndNamesWhatHasNoSuchBranch) {
  const auto out = scratch("heads_of_all");
  const auto arguments = fmt::format("heads {} --branch attention --layers 0 --tasks facts --limit 8 --out {}", results().string(), out.string());
  const auto outcome = run(arguments);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const char* words : {"row-01-seed0: --layers 0: that layer has no attention branch", "row-01-seed1: --layers 0"}) EXPECT_NE(outcome.err.find(words), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.out.find("row-09-seed1"), std::string::npos) << outcome.out;
  std::set<int> seeds;
  for (const auto& line : lines_of(run(arguments + " --format json").out)) seeds.insert(line["seed"].get<int>());
  EXPECT_EQ(seeds, (std::set<int>{0, 1}));
  EXPECT_MISTAKE(fmt::format("heads {} --layers 40", results().string()), "the model has the layers 0-", "row-01-seed0");
}

TEST(StudiesOfSeveral, TablesTellSeedsApart) {
  for (const char* study : {"erf --length 16 --prompts 1", "magnitudes --length 16 --prompts 1", "attention --length 16 --prompts 1", "curves"}) {
    const auto outcome = run(fmt::format("{} {} --out {}", study, results().string(), scratch("seeds_told").string()));
    EXPECT_NE(outcome.out.find("row-09-seed1"), std::string::npos) << study << outcome.out << outcome.err;
  }
}

TEST(StudiesOfSeveral, CurvesHaveHeldOutLossOverTokens) {
  const auto outcome = run(fmt::format("curves {}/runs/row-09-seed1 --format json --out {}", results().string(), scratch("curves").string()));
  std::set<std::int64_t> tokens;
  for (const auto& line : lines_of(outcome.out)) {
    if (line["metric"] != "validation_loss") continue;
    tokens.insert(line["tokens"].get<std::int64_t>());
    EXPECT_TRUE(line["stage"].is_string()) << line;
    EXPECT_TRUE(line["stderr"].is_number()) << line;
  }
  EXPECT_GE(tokens.size(), 3u) << outcome.out;
}

TEST(Needle, RealTextMayBeAFolder) {
  const auto folder = scratch("needle_text"), model = scratch("needle_model");
  fs::create_directories(folder / "books");
  std::string text;
  for (int i = 0; i < 3000; ++i) text += fmt::format("The {} ship sailed on day {} and came back. ", i % 7 == 0 ? "old" : "new", i);
  write_file_atomic(folder / "books" / "book.txt", text);
  ASSERT_EQ(run(fmt::format("train 6 --size smoke --tokens 4096 --data {} --out {}", folder.string(), model.string())).code, 0);
  const auto words = fmt::format("needle {} --lengths 300 --items 2 --depths 2 --out {} --data ", model.string(), scratch("needle_out").string());
  const auto outcome = run(words + folder.string());
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  write_file_atomic(folder / "other" / "lines.jsonl", "{\"text\": \"a\"}\n");
  EXPECT_MISTAKE(words + (folder / "other").string(), "expected plain text", "found none there");
  EXPECT_MISTAKE(words + (folder / "nowhere").string(), "nowhere");
}

TEST(StudiesOfSeveral, WhatIsPrintedFitsTheTerminal) {
  for (const int width : {80, 120}) {
    for (const std::string& words : {fmt::format("heads {}/runs/row-09-seed1 --layers 0 --tasks facts --limit 8 --speedup", results().string()),
                                    fmt::format("needle {} --lengths 32,64 --items 4 --depths 3", results().string())}) {
      const auto outcome = run(words + " --out " + scratch("fits").string(), 0, SIGKILL, fmt::format("export COLUMNS={}", width));
      ASSERT_EQ(outcome.code, 0) << outcome.err;
      for (const auto& line : split(outcome.out, '\n')) EXPECT_LE(reports::display_width(line), width) << line;
    }
    const auto outcome = run(fmt::format("tradeoff {}", results().string()), 0, SIGKILL, fmt::format("export COLUMNS={}", width));
    for (const auto& line : split(outcome.out, '\n')) EXPECT_LE(reports::display_width(line), width) << line;
  }
}

}  // namespace
}  // namespace hymba
