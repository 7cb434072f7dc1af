// `report` and `throughput --contexts` from outside: several machines' results in one page, and what the page says of gaps.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/files.h"
#include "results/record.h"
#include "tests/program.h"

namespace hymba {
namespace {

TEST(Report, ResultsOfSeveralMachinesBecomeOnePageThatNamesItsGaps) {
  const auto a = scratch("machine_a"), b = scratch("machine_b"), page = scratch("merged.html");
  const std::string common = "roadmap --size smoke --limit 8 --train.tokens=3000 ";
  ASSERT_EQ(run(common + "--rows 1 --out " + a.string()).code, 0);
  ASSERT_EQ(run(common + "--rows 6 --out " + b.string()).code, 0);
  auto text = read_file(b / "records.jsonl");
  for (std::size_t at = text.find("\"host\":\""); at != std::string::npos; at = text.find("\"host\":\"", at + 20)) text.insert(at + 8, "another machine, ");
  write_file_atomic(b / "records.jsonl", text);
  std::ofstream(b / "records.jsonl", std::ios::app) << "{\"study\":\"roadm";  // a crash cut it
  fs::create_directories(b / "runs" / "row-07-seed0");
  const auto findings = scratch("findings.md");
  const auto outcome = run(fmt::format("report {} {} --out {} --findings {} --format json", a.string(), b.string(), page.string(), findings.string()));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto html = read_file(page);
  for (const char* words : {"speeds were measured on 2 machines", "row-07-seed0: training has begun", "records.jsonl", "id=\"provenance\"", "another machine"}) {
    EXPECT_NE(html.find(words), std::string::npos) << words;
  }
  EXPECT_EQ(html.find("\"run\":true", html.find("\"design\":\"row-06\"")) != std::string::npos, true);
  EXPECT_NE(read_file(findings).find("| 10: needle in a haystack |"), std::string::npos);
  EXPECT_NE(read_file(findings).find("**not run**"), std::string::npos);
  const auto lines = lines_of(outcome.out);
  for (const auto& file : lines.at(0)["files"]) EXPECT_TRUE(fs::exists(file.get<std::string>())) << file;
  // Table 1's shapes are counted beside the small models.
  bool shapes = false;
  for (const auto& r : read_records(a / "records.jsonl")) shapes = shapes || (r.study == "shapes" && r.metric == "cache_mb_paper" && std::abs(r.value - 1.87) < 0.005);
  EXPECT_TRUE(shapes);
}

TEST(Report, AnEmptyFolderAmongOthersIsNamed) {
  const auto a = scratch("with"), empty = scratch("without"), page = scratch("gap.html");
  ASSERT_EQ(run("roadmap --size smoke --limit 8 --train.tokens=3000 --rows 1 --out " + a.string()).code, 0);
  fs::create_directories(empty);
  ASSERT_EQ(run(fmt::format("report {} {} --out {}", a.string(), empty.string(), page.string())).code, 0);
  EXPECT_NE(read_file(page).find(empty.string() + ": no Records here"), std::string::npos);
  EXPECT_MISTAKE(fmt::format("report {}", empty.string()), "no Records here");
  EXPECT_MISTAKE(fmt::format("report {} --out page.txt", a.string()), ".html");
}

TEST(Throughput, SeveralContextsGiveATableRecordsAndAFigure) {
  const auto out = scratch("contexts"), page = scratch("contexts.html");
  const auto outcome = run("throughput 1,6 --size smoke --contexts 64,128,256 --batch 1 --rounds 1 --steps 2 --out " + out.string());
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("last / first"), std::string::npos) << outcome.out;
  EXPECT_EQ(read_records(out).size(), 3u * 2 * 5);
  ASSERT_EQ(run(fmt::format("report {} --out {}", out.string(), page.string())).code, 0);
  EXPECT_NE(read_file(page).find("id=\"context-cost\""), std::string::npos);
  EXPECT_NE(read_file(page).find("id=\"throughput\""), std::string::npos);
  EXPECT_MISTAKE("throughput 1 --contexts 64,x", "--contexts");
  EXPECT_MISTAKE("throughput 1 --contexts 64 --context 64", "give one of them");
  EXPECT_MISTAKE("throughput 1,14", "14 is outside 1-13");
}

}  // namespace
}  // namespace hymba
