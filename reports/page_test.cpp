#include "reports/page.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/files.h"
#include "base/log.h"
#include "base/rng.h"
#include "reports/figure_svg.h"
#include "reports/html.h"
#include "reports/roadmap.h"
#include "reports/test_records.h"

namespace hymba::reports {
namespace {

// The data as the page's script reads it.
nlohmann::json data_of(const std::string& page) {
  const std::string open = "<script type=\"application/json\" id=\"data\">";
  const std::size_t begin = page.find(open) + open.size();
  return nlohmann::json::parse(page.substr(begin, page.find("</script>", begin) - begin));
}

int count(const std::string& text, const std::string& part) {
  int n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

// A quick run of all rows but one, two seeds, with curves and breakdowns: also what one looks at by eye.
std::vector<Record> invented_run() {
  std::vector<Record> records;
  Rng rng(7);
  for (const PaperRow& p : paper_rows()) {
    if (p.row == 11) continue;
    const std::string design = fmt::format("row-{:02}", p.row);
    for (std::uint64_t seed : {0, 1}) {
      const double noise = 0.02 * rng.normal();
      for (Record r : design_records(design, p.row, seed, p.general + 0.08 + noise, p.recall * 0.6 + noise)) {
        if (r.metric == "ratio") r.extra["text"] = p.ratio;
        if (r.metric == "decode_tok_s") {
          r.value = p.throughput_tok_s * 0.11 * (1 + 0.1 * rng.uniform());
          r.extra["min"] = r.value * 0.93, r.extra["max"] = r.value * 1.04;
        }
        if (r.metric.rfind("cache_mb", 0) == 0) r.value = p.cache_mb * 0.004;
        records.push_back(r);
      }
      for (int pairs : {2, 4, 8, 16, 24}) {
        Record r = make_record(design, "acc", p.recall / (1 + pairs * 0.12), seed, "recall-a");
        r.error = 0.015;
        r.extra = {{"suite", "recall"}, {"pairs", pairs}, {"chance", 0.03125}};
        records.push_back(r);
      }
      for (Record r : curve_records(design, seed, 400)) {
        r.value += 0.05 * rng.normal() + (1 - p.recall);
        records.push_back(r);
      }
    }
  }
  return records;
}

PageOptions invented_options() {
  PageOptions options;
  options.title = "Hymba roadmap";
  DesignDetails details;
  details.config = "[row-09]\nlayers = 12\nattention.window = 16\nattention.kv_share = 2\n";
  for (int i = 0; i < 12; ++i)
    details.layers.push_back({"parallel", i == 0 || i == 6 || i == 11 ? 0 : 16, i % 2 == 0 && i != 6 ? i - 1 : -1, 0});
  options.details["row-09"] = details;
  return options;
}

TEST(Page, HoldsTheDataAndIsWellFormed) {
  const std::string page = render_page(invented_run(), paper_rows(), invented_options());
  EXPECT_LT(page.size(), 3u << 20);
  for (const char* tag : {"html", "head", "body", "main", "noscript", "title"}) {
    EXPECT_EQ(count(page, std::string("</") + tag + ">"), 1) << tag;
  }
  EXPECT_EQ(count(page, "<script"), count(page, "</script>"));
  EXPECT_EQ(count(page, "http://") - count(page, "http://www.w3.org/"), 0);
  EXPECT_EQ(count(page, "https://"), 0);
  const nlohmann::json data = data_of(page);
  ASSERT_EQ(data["roadmaps"][0]["rows"].size(), 13u);
  EXPECT_EQ(data["roadmaps"][0]["rows"][8]["layers"].size(), 12u);
  EXPECT_EQ(data["curves"].size(), 24u);
  EXPECT_EQ(data["breakdowns"].size(), 12u);
  EXPECT_FALSE(data["roadmaps"][0]["rows"][10]["run"]);
  if (const char* folder = std::getenv("HYMBA_REPORT_SAMPLE")) {  // to look at by eye
    write_file_atomic(std::string(folder) + "/page.html", page);
    const Roadmap roadmap = build_roadmap(invented_run(), paper_rows());
    write_file_atomic(std::string(folder) + "/scatter.svg", cache_scatter_svg(roadmap));
    write_file_atomic(std::string(folder) + "/bars.svg", recall_bars_svg(roadmap));
  }
}

TEST(Page, EscapesEveryString) {
  const std::string evil = "</script><script>alert(1)</script>";
  std::vector<Record> records;
  for (Record r : design_records("<script>alert(1)</script>", 0, 0, 0.4, 0.3)) {
    r.host = r.commit = r.unit = evil;
    r.extra["title"] = r.extra["group"] = evil;
    records.push_back(r);
  }
  PageOptions options;
  options.title = evil;
  options.details["<script>alert(1)</script>"].config = evil;
  const std::string page = render_page(records, paper_rows(), options);
  EXPECT_EQ(count(page, "<script>alert"), 0);
  EXPECT_EQ(count(page, "<script"), count(page, "</script>"));
  EXPECT_EQ(data_of(page)["title"], evil);
  if (const char* folder = std::getenv("HYMBA_REPORT_SAMPLE"))
    write_file_atomic(std::string(folder) + "/evil.html", page);
  EXPECT_EQ(script_json("\xE2\x80\xA8<&>"), "\"\\u2028\\u003c\\u0026\\u003e\"");
}

TEST(Page, ThousandDesignsInThreeMegabytes) {
  std::vector<Record> records;
  const std::vector<Record> model = design_records("model", 0, 0, 0.4, 0.3), curve = curve_records("model", 0, 100);
  for (int i = 0; i < 1000; ++i) {
    for (const auto* list : {&model, &curve}) {
      for (Record r : *list) {
        r.design = fmt::format("design-{}", i);
        records.push_back(r);
      }
    }
  }
  PageOptions options;
  for (int i = 0; i < 1000; ++i) {  // a config of forty lines, two of them its own, as in a sweep
    DesignDetails& details = options.details[fmt::format("design-{}", i)];
    for (int k = 0; k < 38; ++k) details.config += fmt::format("attention.key_{} = {}                  # default\n", k, k);
    details.config += fmt::format("attention.window = {}  # sweep.ini:4\ninit_std = {}\n", i, 0.001 * i);
    for (int k = 0; k < 12; ++k) details.layers.push_back({"parallel(attention,mamba)", k % 5 == 0 ? 0 : i, k % 2 - 1, 0});
  }
  const std::string page = render_page(records, paper_rows(), options);  // about a second
  EXPECT_LT(page.size(), 3u << 20);
  const nlohmann::json data = data_of(page), row = data["roadmaps"][0]["rows"][1012];
  EXPECT_EQ(data["roadmaps"][0]["rows"].size(), 1013u);
  std::string config;
  for (const auto& line : row["config"]) config += data["shared"][line.get<std::size_t>()].get<std::string>() + "\n";
  config.pop_back();  // lines are joined, the text ends in a line feed of its own
  EXPECT_EQ(config, options.details[row["design"]].config);
  EXPECT_EQ(data["shared"][row["layers"][5].get<std::size_t>()]["mixer"], "parallel(attention,mamba)");
  if (const char* folder = std::getenv("HYMBA_REPORT_SAMPLE"))
    write_file_atomic(std::string(folder) + "/many.html", page);
}

TEST(Page, NoRecordsAtAll) {
  const std::string page = render_page({}, paper_rows());
  EXPECT_EQ(data_of(page)["roadmaps"][0]["rows"].size(), 13u);
  EXPECT_NE(page.find("not run"), std::string::npos);
}

}  // namespace
}  // namespace hymba::reports
