#include "reports/table.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/text.h"
#include "reports/csv.h"
#include "reports/paper.h"
#include "reports/unicode.h"

namespace hymba::reports {
namespace {

Table sample() {
  Table table({{"Design", Align::kLeft, 0, true, 8}, {"Recall", Align::kRight, 0}, {"Params", Align::kRight, 3}});
  table.add_group("First group");
  table.add_row({"Mamba + 16 attn heads", "56.46 ±0.80", "1.2M"});
  table.add_row({"模型", "not run", "–"});
  return table;
}

TEST(Unicode, DisplayWidth) {
  EXPECT_EQ(display_width("abc"), 3);
  EXPECT_EQ(display_width("±τ—"), 3);
  EXPECT_EQ(display_width("模型"), 4);
  EXPECT_EQ(display_width("e\xCC\x81"), 1);         // e and a combining accent
  EXPECT_EQ(display_width("\xF0\x9F\x98\x80"), 2);  // an emoji
  EXPECT_EQ(printable("a\x1b[31m\nb\xFF"), "a [31m b\xEF\xBF\xBD");
  EXPECT_EQ(clip("abcdef", 4), "abc…");
}

TEST(Table, EveryLineFitsTheWidth) {
  for (int width : {24, 30, 40, 60, 100}) {
    for (const std::string& line : split(sample().to_terminal({width, false}), '\n')) {
      if (starts_with(line, "left out")) continue;
      EXPECT_LE(display_width(line), width) << line;
    }
  }
}

TEST(Table, AllLinesAreOfOneWidth) {
  const std::vector<std::string> lines = split(sample().to_terminal({100, false}), '\n');
  for (const std::string& line : lines)
    EXPECT_EQ(display_width(line), line.empty() ? 0 : display_width(lines[0])) << line;
  EXPECT_NE(lines[2].find("First group"), std::string::npos);
}

TEST(Table, LeavesOutTheLeastImportantAndSaysSo) {
  const std::string text = sample().to_terminal({30, false});
  EXPECT_EQ(text.find("1.2M"), std::string::npos);
  EXPECT_NE(text.find("left out at this width: Params"), std::string::npos);
  EXPECT_NE(text.find("56.46"), std::string::npos);
}

TEST(Table, ColourOnlyWhereAsked) {
  EXPECT_EQ(sample().to_terminal({100, false}).find('\x1b'), std::string::npos);
  EXPECT_NE(sample().to_terminal({100, true}).find('\x1b'), std::string::npos);
}

TEST(Table, MarkdownEscapes) {
  Table table({{"a|b", Align::kLeft}});
  table.add_row({"<script> | x"});
  EXPECT_EQ(table.to_markdown(), "| a\\|b |\n| :--- |\n| &lt;script> \\| x |\n");
}

TEST(Table, RejectsARowOfAnotherLength) { EXPECT_THROW(sample().add_row({"one"}), UserError); }

TEST(Csv, QuotesAndReadsBack) {
  const std::vector<std::string> fields = {"plain", "a,b", "say \"hi\"", "two\nlines", ""};
  const std::string line = csv_line(fields);
  EXPECT_EQ(line, "plain,\"a,b\",\"say \"\"hi\"\"\",\"two\nlines\",\r\n");
  const auto lines = parse_csv("# comment, \"free\n" + line + "\n" + line, "x.csv");
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].fields, fields);
  EXPECT_EQ(lines[1].line, 5);
}

TEST(Csv, NamesThePlaceOfAMistake) {
  try {
    parse_csv("a,b\n\"open,c\n", "x.csv");
    FAIL();
  } catch (const UserError& e) {
    EXPECT_NE(std::string(e.what()).find("x.csv:2"), std::string::npos);
  }
}

TEST(Paper, RoadmapFile) {
  const auto rows = read_paper(HYMBA_SOURCE_DIR "/ablations/paper/roadmap.csv");
  ASSERT_EQ(rows.size(), 13u);
  EXPECT_DOUBLE_EQ(rows[3].recall, 0.5646);
  EXPECT_DOUBLE_EQ(rows[12].throughput_tok_s, 2695.8);
  EXPECT_DOUBLE_EQ(rows[5].cache_mb, 414.72);
  EXPECT_EQ(rows[10].title, "9), mean replaced by concat");
}

TEST(Unicode, SparklinesAndBars) {
  EXPECT_EQ(sparkline({0, 1, 2, 3, 4, 5, 6, 7}, 8), "▁▂▃▄▅▆▇█");
  EXPECT_EQ(sparkline({0.5, std::nan("")}, 8, 0, 1), "▄ ");
  EXPECT_EQ(sparkline({}, 8), "");
  EXPECT_EQ(sparkline({3, 3}, 8), "▁▁");
  EXPECT_EQ(text_bar(0.5, 4), "██");
  EXPECT_EQ(text_bar(0.3125, 2), "▋");
  EXPECT_EQ(text_bar(7, 2), "██");
  EXPECT_EQ(text_bar(-1, 2), "");
}

TEST(Paper, Ratios) {
  EXPECT_DOUBLE_EQ(ratio_value("1:8.48"), 8.48);
  EXPECT_DOUBLE_EQ(ratio_value("1:0"), 0);
  EXPECT_TRUE(std::isinf(ratio_value("0:1")));
  EXPECT_TRUE(std::isnan(ratio_value("")));
  EXPECT_TRUE(std::isnan(ratio_value("1:x")));
}

TEST(Paper, MistakesNameTheLine) {
  const std::string names = "row,group,design,ratio,general,recall,throughput_tok_s,cache_mb\n";
  EXPECT_THROW(parse_paper("row,group\n1,a\n", "p.csv"), UserError);
  EXPECT_THROW(parse_paper(names + "1,g,d,1:0,x,1,1,1\n", "p.csv"), UserError);
  EXPECT_THROW(parse_paper(names + "1,g,d\n", "p.csv"), UserError);
}

}  // namespace
}  // namespace hymba::reports
