// Figures of the studies from Records.
#include <gtest/gtest.h>

#include <algorithm>

#include "reports/findings.h"
#include "reports/page.h"
#include "reports/study_figures.h"
#include "reports/test_studies.h"

namespace hymba::reports {
namespace {

Record study(const std::string& study, const std::string& design, const std::string& metric, double value,
             nlohmann::json extra) {
  Record r = make_record(design, metric, value, 0, "facts");
  r.study = study;
  r.error = 0.01;
  r.config_hash = "a";
  r.extra = std::move(extra);
  r.extra["row"] = 9;
  return r;
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

std::vector<Record> heads() {
  std::vector<Record> records;
  for (int layer = 0; layer < 6; ++layer) {
    for (const char* branch : {"attention", "ssm"}) {
      const double difference = layer == 0 && branch == std::string("ssm") ? -0.4 : -0.01 * layer;
      records.push_back(study("heads", "row-09", "acc", 0.5 + difference,
                              {{"layer", layer},
                               {"branch", branch},
                               {"head", nullptr},
                               {"baseline", 0.5},
                               {"difference", difference},
                               {"stderr", 0.01},
                               {"layers", 6}}));
    }
  }
  return records;
}

TEST(StudyFigures, ADesignsNameLeadsToNoOtherFolder) {
  auto records = heads();
  for (auto& r : records) r.design = "x/../../y z";
  EXPECT_EQ(study_figures(records).at(0).id, "heads-x_.._.._y_z");
}

TEST(StudyFigures, HeadsDrawBothBranchesAndWriteWhatLeavesTheBox) {
  const auto figures = study_figures(heads());
  ASSERT_EQ(figures.size(), 1u);
  ASSERT_EQ(figures[0].panels.size(), 1u);
  EXPECT_EQ(figures[0].table.size(), 13u);
  const auto svg = figure_svg(figures[0]);
  EXPECT_EQ(count(svg, "<rect class=\"m\""), 12u);
  EXPECT_NE(svg.find(">-40.0<"), std::string::npos);  // the bar is cut and carries its value
  EXPECT_EQ(count(svg, "var(--"), 0u);
  EXPECT_NE(figure_html(figures[0]).find("var(--c0)"), std::string::npos);
}

TEST(StudyFigures, OtherOptionsAndCommitsOfOneRunAreNamed) {
  auto records = heads();
  records.back().commit = "another";
  EXPECT_NE(view_study(records, "heads").notes.at(0).find("2 commits"), std::string::npos);
  auto newer = heads();
  for (auto& r : newer) r.config_hash = "b", r.time = "2099-01-01T00:00:00Z";
  records = heads();
  records.insert(records.end(), newer.begin(), newer.end());
  const auto view = view_study(records, "heads");
  EXPECT_EQ(view.models.begin()->second.size(), 12u);
  EXPECT_NE(view.notes.at(0).find("2 sets of options"), std::string::npos);
}

TEST(StudyFigures, DamagedRecordsLeaveFiguresThatSayNotRun) {
  std::vector<Record> records = heads();
  for (auto& r : records) r.extra = {{"layer", 0}, {"branch", "ssm"}, {"difference", "much"}};
  for (const char* name : {"needle", "erf", "attention", "magnitudes", "curves"})
    records.push_back(study(name, "row-09", "map", kNaN, {{"map", "broken"}, {"length", "long"}}));
  for (const auto& figure : study_figures(records)) EXPECT_FALSE(figure_svg(figure).empty());
  const auto page = render_page(records, paper_rows());
  EXPECT_EQ(count(page, "<section"), count(page, "</section>"));
}

TEST(StudyFigures, ThePageNamesStudiesThatWereNotRun) {
  const auto page = render_page(heads(), paper_rows());
  EXPECT_NE(page.find("needle in a haystack: not run"), std::string::npos);
  EXPECT_EQ(page.find("head removal: not run"), std::string::npos);
  EXPECT_NE(page.find("id=\"tradeoff\""), std::string::npos);
}

TEST(StudyFigures, SeedsBecomeOneMeanWithTheErrorOfItemsAndSeeds) {
  std::vector<Record> records;
  for (const std::uint64_t seed : {0, 1, 2}) {
    for (auto r : heads()) {
      r.seed = seed;
      r.extra["difference"] = r.extra["difference"].get<double>() + 0.03 * static_cast<double>(seed);
      r.extra["stderr"] = 0.04;
      records.push_back(r);
    }
  }
  const auto view = view_study(records, "heads");
  ASSERT_EQ(view.models.size(), 1u);
  ASSERT_EQ(view.models.begin()->second.size(), 12u);
  const auto& first = view.models.begin()->second.front();
  EXPECT_NEAR(extra_number(first, "difference"), 0.03, 1e-12);              // 0, 0.03, 0.06
  EXPECT_NEAR(extra_number(first, "stderr"), std::hypot(0.04, 0.03 / std::sqrt(3.0)), 1e-12);
  EXPECT_EQ(extra_number(first, "seeds"), 3);
  EXPECT_EQ(view.names.begin()->second.find("seeds)"), std::string::npos) << "all designs have them: the caption says so";
  EXPECT_NE(study_figures(records).front().caption.find("3 seeds a design."), std::string::npos);
  // One design with fewer seeds is named.
  records.push_back(study("heads", "row-01", "acc", 0.5, {{"layer", 0}, {"branch", "ssm"}, {"difference", 0.0}, {"stderr", 0.1}}));
  records.back().extra["row"] = 1;
  const auto uneven = view_study(records, "heads");
  EXPECT_NE(uneven.names.rbegin()->second.find("(3 seeds)"), std::string::npos);
  EXPECT_NE(uneven.notes.at(0).find("Not every design has 3 seeds here: row 1 (1)"), std::string::npos);
}

TEST(StudyFigures, ThroughputStandsBesideThePaperAndAgainstContext) {
  const auto figures = throughput_figures(invented_studies(), paper_rows());
  ASSERT_EQ(figures.size(), 2u);
  EXPECT_EQ(figures[0].id, "throughput");
  EXPECT_EQ(figures[0].table.size(), 14u);
  EXPECT_NE(figures[0].caption.find("measured 1.00"), std::string::npos) << figures[0].caption;
  EXPECT_EQ(figures[1].id, "context-cost");
  EXPECT_EQ(figures[1].panels[0].series.size(), 7u);  // the others have one context alone
  EXPECT_TRUE(throughput_figures({}, paper_rows()).empty());
}

TEST(Findings, FollowTheirRulesAndSayWhatWasNotRun) {
  for (const auto& f : findings({}, paper_rows())) EXPECT_EQ(f.verdict, "not run") << f.figure;
  const auto list = findings(invented_studies(), paper_rows());
  const auto verdict = [&](const std::string& figure) {
    for (const auto& f : list)
      if (f.figure.rfind(figure, 0) == 0) return f.verdict;
    return std::string();
  };
  EXPECT_EQ(verdict("3, 13"), "agrees");  // one drop of 42 points, all others of 1.5
  EXPECT_EQ(verdict("11"), "agrees");     // the invented field grows with the row
  EXPECT_EQ(verdict("12"), "partly");     // the SSM is always larger, and its gate too
  EXPECT_EQ(verdict("2, 9"), "not run");
  // One seed of attention masses has no error: nothing is claimed of it.
  std::vector<Record> one;
  for (const auto& r : invented_studies())
    if (r.seed == 0) one.push_back(r);
  for (const auto& f : findings(one, paper_rows())) {
    if (f.figure.rfind("7", 0) == 0) {
      EXPECT_EQ(f.verdict, "unclear");
    }
  }
  const auto text = findings_markdown(list, invented_studies());
  EXPECT_EQ(count(text, "\n| "), list.size() + 2 + 8 + 2);  // and eight studies
  std::vector<Record> records;
  const auto add = [&](const char* design, std::uint64_t seed, std::int64_t n) {
    Record r;
    r.study = "needle", r.design = design, r.metric = "acc", r.seed = seed, r.n = n;
    records.push_back(r);
  };
  add("row-01", 0, 40), add("row-02", 1, 50), add("row-04", 1, 40), add("mine", 3, 40);
  EXPECT_NE(findings_markdown({}, records).find("| needle | rows 1-2, 4, mine | 0-1, 3 | 40 to 50 |"), std::string::npos);
  EXPECT_NE(findings_markdown({}, records).find("| head removal | not run | - | - |"), std::string::npos);
}

TEST(Pareto, FrontOfTwoQuantities) {
  const auto front = pareto_front({{1, 5}, {2, 4}, {2, 3}, {3, 1}, {kNaN, 9}, {3, 1}});
  EXPECT_EQ(front, (std::vector<bool>{true, true, false, true, false, true}));
  EXPECT_TRUE(pareto_front({}).empty());
}

}  // namespace
}  // namespace hymba::reports
