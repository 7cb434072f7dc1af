#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/rng.h"
#include "base/text.h"

namespace hymba {
namespace {

std::filesystem::path temporary(const std::string& name) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "hymba_base_test";
  std::filesystem::create_directories(folder);
  std::filesystem::remove_all(folder / name);
  return folder / name;
}

TEST(Rng, SameSeedSameNumbersAndStreamsDiffer) {
  Rng a(7), b(7), c(7, "x"), d(7, "y");
  for (int i = 0; i < 100; ++i) EXPECT_EQ(a.next(), b.next());
  EXPECT_NE(c.next(), d.next());
  Rng e(1);
  const auto state = e.state();
  const auto first = e.next();
  e.set_state(state);
  EXPECT_EQ(e.next(), first);
}

TEST(Rng, BelowIsInRangeAndSampleHasNoRepeats) {
  Rng rng(3);
  for (int i = 0; i < 1000; ++i) EXPECT_LT(rng.below(7), 7u);
  EXPECT_THROW(rng.below(0), Error);
  const auto s = rng.sample(20, 20);
  EXPECT_EQ(std::set<std::size_t>(s.begin(), s.end()).size(), 20u);
}

TEST(Files, AtomicWriteReplacesAndLeavesNoPart) {
  const auto path = temporary("a.txt");
  write_file_atomic(path, "one");
  write_file_atomic(path, "two");
  EXPECT_EQ(read_file(path), "two");
  for (const auto& entry : std::filesystem::directory_iterator(path.parent_path())) {
    EXPECT_EQ(entry.path().string().find(".part"), std::string::npos);
  }
}

TEST(Files, AppenderCutsHalfALineAndLocksOutASecondWriter) {
  const auto path = temporary("r.jsonl");
  std::ofstream(path) << "{\"a\":1}\n{\"b\":";
  {
    LineAppender appender(path);
    appender.append("{\"c\":2}");
    EXPECT_THROW(LineAppender second(path), UserError);
  }
  EXPECT_EQ(read_file(path), "{\"a\":1}\n{\"c\":2}\n");
}

TEST(Files, MissingFileNamesItself) {
  try {
    read_file("no/such/file");
    FAIL();
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("no/such/file"), std::string::npos);
  }
}

TEST(Text, NumbersForPeople) {
  EXPECT_EQ(format_count(950), "950");
  EXPECT_EQ(format_count(12345), "12.3k");
  EXPECT_EQ(format_count(1522797824), "1.52G");
  EXPECT_EQ(format_bytes(1867776), "1.87 MB");
  EXPECT_EQ(format_seconds(185), "3 min 05 s");
}

TEST(Text, RangesAndTheirErrors) {
  EXPECT_EQ(parse_ranges("1,5-7", 1, 13, "--rows"), (std::vector<int>{1, 5, 6, 7}));
  EXPECT_THROW(parse_ranges("14", 1, 13, "--rows"), UserError);
  EXPECT_THROW(parse_ranges("", 1, 13, "--rows"), UserError);
  EXPECT_THROW(parse_ranges("5-3", 1, 13, "--rows"), UserError);
  EXPECT_THROW(parse_ranges("x", 1, 13, "--rows"), UserError);
}

TEST(Error, NearestWord) {
  EXPECT_EQ(nearest("attention.windw", {"attention.window", "mamba.state"}), "attention.window");
  EXPECT_EQ(nearest("zzz", {"attention.window"}), "");
}

}  // namespace
}  // namespace hymba
