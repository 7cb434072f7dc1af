// The paper's arithmetic: Table 1's cache and ratio columns and the sizes of the released models, by `show`'s own code.
#include <gtest/gtest.h>

#include "base/error.h"
#include "model/language_model.h"

namespace hymba {
namespace {

const DesignLibrary& library() {
  static const DesignLibrary designs(std::string(HYMBA_SOURCE_DIR) + "/ablations");
  return designs;
}

struct Shape {
  Design design;
  LanguageModel model;
  explicit Shape(const std::string& name) : design(library().open(name, "paper", {})), model(design, 0, /*meta=*/true) {}
};

std::string cache_mb(const LanguageModel& model) {
  CacheQuery query;
  query.accounting = Accounting::kPaper;
  return fmt::format("{:.2f}", model.cache_bytes(query).total() / 1e6);
}

TEST(Paper, CacheColumnOfAll13RowsToTheLastDigit) {
  const char* expected[] = {"1.87", "99.09", "197.39", "394.00", "148.24", "414.72", "5.51", "41.19", "39.42", "28.98", "39.42", "1.87", "40.01"};
  ASSERT_EQ(library().roadmap().size(), 13u);
  for (int row = 1; row <= 13; ++row) EXPECT_EQ(cache_mb(Shape(std::to_string(row)).model), expected[row - 1]) << "row " << row;
}

TEST(Paper, AttentionToMambaRatios) {
  const std::pair<int, const char*> expected[] = {{1, "0:1"}, {2, "1:8.48"}, {3, "1:4.24"}, {4, "1:2.12"}, {5, "1:3.64"}, {6, "1:0"},
                                                  {7, "1:3.64"}, {8, "1:3.64"}, {10, "1:0"}, {12, "0:1"}};
  for (const auto& [row, ratio] : expected) EXPECT_EQ(Shape(std::to_string(row)).model.param_counts().ratio_text(), ratio) << "row " << row;
}

TEST(Paper, HymbaSizes) {
  const Shape big("hymba-1.5b");
  EXPECT_EQ(big.model.param_counts().total, 1522797824);
  EXPECT_EQ(cache_mb(big.model), "78.60");
  // Within 5 % of their names.
  EXPECT_NEAR(static_cast<double>(Shape("hymba-125m").model.param_counts().total), 125e6, 0.05 * 125e6);
  EXPECT_NEAR(static_cast<double>(Shape("hymba-350m").model.param_counts().total), 350e6, 0.05 * 350e6);
}

TEST(Paper, CountsOfThePartsAddUpToTheParameters) {
  for (const auto& name : library().names()) {
    const Shape shape(name);
    const auto counts = shape.model.param_counts();
    EXPECT_EQ(counts.attention + counts.mamba + counts.other + counts.embedding + counts.meta, counts.total) << name;
  }
}

TEST(Paper, SharingFollowsTheReleasedModel) {
  // kv_reuse_group of the released 1.5B: 1-2 ... 13-14, 16-17-18, 19-20 ... 29-30; full attention in 0, 15, 31.
  const Shape big("hymba-1.5b");
  for (const auto& sublayer : big.model.sublayers()) {
    if (sublayer->mixers().size() < 2) continue;
    std::map<std::string, std::int64_t> facts;
    for (const auto& [key, value] : sublayer->mixers()[0]->facts()) facts[key] = value;
    const auto layer = sublayer->layer();
    const bool full = layer == 0 || layer == 15 || layer == 31;
    EXPECT_EQ(facts["window"], full ? -1 : 1024) << layer;
    std::int64_t source = layer;
    if (!full && layer < 15) source = layer % 2 == 1 ? layer : layer - 1;
    if (!full && layer > 15) source = layer <= 18 ? 16 : layer % 2 == 1 ? layer : layer - 1;
    EXPECT_EQ(facts["kv_source"], source) << layer;
  }
}

}  // namespace
}  // namespace hymba
