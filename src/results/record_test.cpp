#include "results/record.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "base/error.h"
#include "base/files.h"

namespace hymba {
namespace {

std::filesystem::path fresh(const std::string& name) {
  const auto path = std::filesystem::path(testing::TempDir()) / ("hymba_record_" + name);
  std::filesystem::remove_all(path);
  return path;
}

Record sample() {
  Record r;
  r.study = "eval";
  r.design = "row-09";
  r.metric = "acc";
  r.value = 0.5;
  r.error = 0.01;
  r.n = 100;
  r.extra["chance"] = 0.25;
  return r;
}

TEST(Record, RoundTripWithNotANumber) {
  const auto path = fresh("a.jsonl");
  auto r = sample();
  {
    RecordWriter writer(path);
    writer.write(r);
    r.value = std::nan("");
    r.error.reset();
    writer.write(r);
  }
  const auto back = read_records(path);
  ASSERT_EQ(back.size(), 2u);
  EXPECT_EQ(back[0].value, 0.5);
  EXPECT_EQ(*back[0].error, 0.01);
  EXPECT_EQ(back[0].extra["chance"], 0.25);
  EXPECT_TRUE(std::isnan(back[1].value));
  EXPECT_FALSE(back[1].error);
}

TEST(Record, BrokenLastLineIsDroppedElsewhereIsAnErrorWithItsPlace) {
  const auto path = fresh("b.jsonl");
  {
    RecordWriter writer(path);
    writer.write(sample());
  }
  const auto good = read_file(path);
  std::ofstream(path) << good << good.substr(0, 20);
  std::vector<std::string> warnings;
  EXPECT_EQ(read_records(path, &warnings).size(), 1u);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find(":2:"), std::string::npos);
  std::ofstream(path) << good.substr(0, 20) << "\n" << good;
  try {
    read_records(path);
    FAIL();
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find(":1:"), std::string::npos);
  }
}

TEST(Record, NumbersOfAnotherKindAreNamedNotTurned) {
  const auto good = to_json(sample());
  const std::vector<std::pair<std::string, nlohmann::json>> wrong = {{"seed", -3}, {"seed", 1.5}, {"n", 1.5}, {"n", "3"}, {"value", "x"}, {"extra", {1, 2}}, {"extra", 3}};
  for (const auto& [key, value] : wrong) {
    auto json = good;
    json[key] = value;
    try {
      record_from_json(json, "f.jsonl:7");
      ADD_FAILURE() << key << " = " << value;
    } catch (const UserError& error) {
      EXPECT_NE(std::string(error.what()).find("f.jsonl:7: \"" + key + "\""), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace hymba
