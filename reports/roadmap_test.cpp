#include "reports/roadmap.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "reports/figure_svg.h"
#include "reports/roadmap_table.h"
#include "reports/series.h"
#include "reports/test_records.h"

namespace hymba::reports {
namespace {

const RoadmapRow& row_of(const Roadmap& roadmap, const std::string& design) {
  for (const RoadmapRow& row : roadmap.rows)
    if (row.design == design) return row;
  throw std::runtime_error("no row " + design);
}

TEST(Roadmap, CombinesTwoSeedsAndTwoTasks) {
  std::vector<Record> records = design_records("row-09", 9, 0, 0.40, 0.30);
  const std::vector<Record> second = design_records("row-09", 9, 1, 0.44, 0.34);
  records.insert(records.end(), second.begin(), second.end());
  const Roadmap roadmap = build_roadmap(records, paper_rows());
  const RoadmapRow& row = row_of(roadmap, "row-09");
  EXPECT_NEAR(row.general.value, 0.42, 1e-12);
  EXPECT_NEAR(row.recall.value, 0.32, 1e-12);
  EXPECT_NEAR(row.recall.seed_error, 0.02, 1e-12);
  EXPECT_NEAR(row.recall.item_error, 0.01 / std::sqrt(2.0), 1e-12);
  EXPECT_EQ(row.seeds.size(), 2u);
  EXPECT_DOUBLE_EQ(row.general_chance, 0.25);
  EXPECT_DOUBLE_EQ(row.cache_mb_paper, 39.42);
  EXPECT_EQ(row.decode.batch, 64);
  EXPECT_EQ(row.decode.batch_asked, 128);
}

TEST(Roadmap, WhatWasNotRunSaysSo) {
  const Roadmap roadmap = build_roadmap(design_records("row-09", 9, 0, 0.4, 0.3), paper_rows());
  ASSERT_EQ(roadmap.rows.size(), 13u);
  EXPECT_FALSE(roadmap.rows[0].was_run);
  EXPECT_EQ(roadmap.rows[0].title, "Mamba heads only");
  const auto lines = split(roadmap_markdown(roadmap), '\n');
  const auto line =
      std::find_if(lines.begin(), lines.end(), [](const std::string& l) { return starts_with(l, "| 1 |"); });
  ASSERT_NE(line, lines.end());
  EXPECT_NE(line->find("not run"), std::string::npos);
  EXPECT_NE(line->find("42.98"), std::string::npos);
}

TEST(Roadmap, EmptyRecordsStillMakeEveryReport) {
  const Roadmap roadmap = build_roadmap({}, paper_rows());
  EXPECT_EQ(roadmap.rows.size(), 13u);
  EXPECT_NE(roadmap_terminal(roadmap).find("not run"), std::string::npos);
  EXPECT_NE(cache_scatter_svg(roadmap).find("</svg>"), std::string::npos);
  EXPECT_NE(recall_bars_svg(roadmap).find("</svg>"), std::string::npos);
  EXPECT_TRUE(build_roadmap({}, {}).rows.empty());
}

TEST(Roadmap, TheLaterRecordCounts) {
  std::vector<Record> records = design_records("row-01", 1, 0, 0.4, 0.3);
  for (Record r : design_records("row-01", 1, 0, 0.5, 0.3)) {
    r.time = "2026-02-01T00:00:00Z";
    records.insert(records.begin(), r);  // later in time though earlier in the file
  }
  EXPECT_NEAR(row_of(build_roadmap(records, paper_rows()), "row-01").general.value, 0.5, 1e-12);
}

TEST(Roadmap, OwnDesignsFollowThePaperRows) {
  std::vector<Record> records = design_records("mine", 0, 0, 0.4, 0.3);
  const Roadmap roadmap = build_roadmap(records, paper_rows());
  ASSERT_EQ(roadmap.rows.size(), 14u);
  EXPECT_EQ(roadmap.rows[13].design, "mine");
  EXPECT_FALSE(roadmap.rows[13].paper.has_value());
  EXPECT_TRUE(to_json(roadmap.rows[13])["paper"].is_null());
}

TEST(Roadmap, NaNIsNotMeasured) {
  std::vector<Record> records = design_records("row-02", 2, 0, kNaN, kNaN);
  for (Record& r : records) r.value = kNaN;
  const Roadmap roadmap = build_roadmap(records, paper_rows());
  const nlohmann::json json = to_json(row_of(roadmap, "row-02"));
  EXPECT_TRUE(json["general"].is_null());
  EXPECT_TRUE(json["decode_tok_s"].is_null());
  EXPECT_EQ(roadmap_csv(roadmap).find("nan"), std::string::npos);
  EXPECT_EQ(roadmap_terminal(roadmap).find("nan"), std::string::npos);
}

TEST(Roadmap, JsonHasTheKeysOfTheContract) {
  const Roadmap roadmap = build_roadmap(design_records("row-09", 9, 0, 0.4, 0.3), paper_rows());
  const nlohmann::json json = to_json(row_of(roadmap, "row-09"));
  for (const char* key : {"row", "design", "ratio", "general", "general_stderr", "recall", "recall_stderr", "chance",
                          "decode_tok_s", "prefill_tok_s", "cache_mb_paper", "cache_mb_exact", "cache_mb_measured",
                          "params_total", "seeds", "size", "paper"})
    EXPECT_TRUE(json.contains(key)) << key;
  EXPECT_EQ(json["ratio"], "1:5.23");
  EXPECT_EQ(json["row"], 9);
  EXPECT_EQ(json["paper"]["recall"], 0.4804);
}

TEST(Roadmap, AgreementWithItself) {
  std::vector<Record> records;
  for (const PaperRow& p : paper_rows()) {
    for (Record r : design_records(fmt::format("row-{:02}", p.row), p.row, 0, p.general, p.recall)) {
      if (r.metric == "decode_tok_s") r.value = p.throughput_tok_s;
      records.push_back(r);
    }
  }
  const Roadmap roadmap = build_roadmap(records, paper_rows());
  for (const ColumnAgreement& c : roadmap.agreement) {
    if (c.column != "General accuracy" && c.column != "Recall accuracy" && c.column != "Decode throughput") continue;
    EXPECT_DOUBLE_EQ(c.agreement.tau, 1) << c.column;
    EXPECT_EQ(c.agreement.n, 13u);
  }
}

TEST(Roadmap, WarnsWhereATaskIsMissing) {
  std::vector<Record> records = design_records("row-01", 1, 0, 0.4, 0.3);
  for (const Record& r : design_records("row-02", 2, 0, 0.4, 0.3))
    if (r.task != "facts-b") records.push_back(r);
  const Roadmap roadmap = build_roadmap(records, paper_rows());
  ASSERT_EQ(roadmap.warnings.size(), 1u);
  EXPECT_NE(roadmap.warnings[0].find("row-02: general is the mean of 1 of 2 tasks"), std::string::npos);
}

TEST(Roadmap, RecordsThatContradictEachOtherAreNamed) {
  std::vector<Record> records = design_records("row-01", 1, 0, 0.4, 0.3);
  for (Record r : design_records("row-01", 1, 0, 0.4, 0.35)) {
    r.commit = "def5678";
    r.time = "2026-02-01T12:00:00Z";
    r.host = "another";
    records.push_back(r);
  }
  const Roadmap roadmap = build_roadmap(records, paper_rows());
  EXPECT_NEAR(row_of(roadmap, "row-01").recall.value, 0.35, 1e-12);
  ASSERT_EQ(roadmap.warnings.size(), 3u);
  EXPECT_EQ(roadmap.warnings[0], "row-01, seed 0: Records of one run come from 2 commits (abc1234, def5678)");
  EXPECT_EQ(roadmap.warnings[1], "row-01, seed 0: 2 numbers contradict each other, for instance acc of recall-a: 0.3 (commit abc1234) and 0.35 (commit def5678); the newest is shown");
  EXPECT_NE(roadmap.warnings[2].find("2 machines (another; test host)"), std::string::npos);
}

TEST(Roadmap, ColumnsOfThePapersShapesStandInTheTable) {
  std::vector<Record> records = design_records("row-01", 1, 0, 0.4, 0.3);
  Record cache = make_record("row-01", "cache_mb_paper", 1.87, 0), speed = make_record("row-01", "decode_tok_s", 55, 0);
  cache.study = "shapes", speed.study = "throughput";
  cache.size = speed.size = "paper";
  speed.extra = {{"context", 8000}, {"batch", 64}, {"batch_asked", 128}, {"dtype", "bf16"}};
  records.push_back(cache);
  Record other = speed;  // another context does not count beside the paper's
  other.extra["context"] = 512;
  other.value = 99;
  records.push_back(speed);
  records.push_back(other);
  const auto row = row_of(build_roadmap(records, paper_rows()), "row-01");
  EXPECT_EQ(shown_cache(row), 1.87);
  EXPECT_EQ(shown_decode(row), 55);
  EXPECT_EQ(row.cache_mb_paper, 39.42);
  EXPECT_NE(roadmap_markdown(build_roadmap(records, paper_rows())).find("Ratio, cache and decode speed: the paper's shapes."), std::string::npos);

  // A design of one's own without counts, and these columns are of the size that was run; speeds stay, it has none.
  for (const Record& r : design_records("odd", 0, 0, 0.4, 0.3)) records.push_back(r);
  const auto mixed = build_roadmap(records, paper_rows());
  EXPECT_EQ(shown_cache(row_of(mixed, "row-01")), 39.42);
  EXPECT_EQ(shown_decode(row_of(mixed, "row-01")), 55);
  EXPECT_TRUE(std::isnan(shown_decode(row_of(mixed, "odd"))));
  ASSERT_EQ(mixed.warnings.size(), 1u);
  EXPECT_NE(mixed.warnings[0].find("odd: no counts at the paper's shapes"), std::string::npos) << mixed.warnings[0];

  // More rows of the roadmap timed at their own size than at the paper's.
  for (const auto& [design, number] : {std::pair("row-02", 2), std::pair("row-03", 3)}) {
    for (const Record& r : design_records(design, number, 0, 0.4, 0.3)) records.push_back(r);
  }
  EXPECT_EQ(shown_decode(row_of(build_roadmap(records, paper_rows()), "row-01")), row.decode.value);
}

TEST(Roadmap, CurvePointsDoNotCountInSuites) {
  std::vector<Record> records = design_records("row-01", 1, 0, 0.4, 0.3);
  Record point = make_record("row-01", "acc", 0.9, 0, "recall-a");
  point.extra = {{"suite", "recall"}, {"pairs", 4}};
  records.push_back(point);
  EXPECT_NEAR(row_of(build_roadmap(records, paper_rows()), "row-01").recall.value, 0.3, 1e-12);
  const auto breakdowns = accuracy_breakdowns(records);
  ASSERT_EQ(breakdowns.size(), 1u);
  EXPECT_EQ(breakdowns[0].by, "pairs");
  EXPECT_DOUBLE_EQ(breakdowns[0].points[0].x, 4);
}

TEST(Roadmap, SizesAreKeptApart) {
  std::vector<Record> records = design_records("row-01", 1, 0, 0.4, 0.3);
  for (Record r : design_records("row-01", 1, 0, 0.8, 0.7)) {
    r.size = "paper";
    records.push_back(r);
  }
  EXPECT_EQ(roadmap_sizes(records).size(), 2u);
  EXPECT_NEAR(row_of(build_roadmap(records, paper_rows(), "paper"), "row-01").general.value, 0.8, 1e-12);
  EXPECT_NEAR(row_of(build_roadmap(records, paper_rows(), "quick"), "row-01").general.value, 0.4, 1e-12);
}

TEST(Series, LongCurvesAreThinnedAndKeepTheirEnd) {
  const auto curves = loss_curves(curve_records("row-01", 0, 1000), 50);
  ASSERT_EQ(curves.size(), 1u);
  EXPECT_EQ(curves[0].points.size(), 50u);
  EXPECT_DOUBLE_EQ(curves[0].points.back().tokens, 1000 * 4096.0);
}

TEST(FigureSvg, EscapesNames) {
  const auto records = design_records("<b>&", 0, 0, 0.4, 0.3);
  const std::string svg = recall_bars_svg(build_roadmap(records, paper_rows()));
  EXPECT_EQ(svg.find("<b>"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

}  // namespace
}  // namespace hymba::reports
