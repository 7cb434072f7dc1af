#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "mixer/attention_plan.h"
#include "model/language_model.h"

namespace hymba {
namespace {

const DesignLibrary& library() {
  static const DesignLibrary designs(std::string(HYMBA_SOURCE_DIR) + "/ablations");
  return designs;
}

std::string error_of(const std::string& design, const std::vector<Assignment>& overrides) {
  try {
    const Design opened = library().open(design, "smoke", overrides);
    const LanguageModel model(opened, 0, true);
    model.flops_per_token(1e6);
  } catch (const UserError& error) {
    return error.what();
  }
  return "no error";
}

TEST(AttentionPlan, WindowsFullLayersAndGroups) {
  AttentionPlanOptions o;
  o.window = 8;
  o.full_layers = "first,middle,last";
  o.kv_share = 2;
  const auto plan = plan_attention(o, {0, 1, 2, 3, 4, 5, 6, 7});
  EXPECT_EQ(plan.at(0).window, -1);
  EXPECT_EQ(plan.at(3).window, -1);
  EXPECT_EQ(plan.at(7).window, -1);
  EXPECT_EQ(plan.at(1).source, 1);
  EXPECT_EQ(plan.at(2).source, 1);
  EXPECT_EQ(plan.at(4).source, 4);  // a run of three is one group
  EXPECT_EQ(plan.at(5).source, 4);
  EXPECT_EQ(plan.at(6).source, 4);
}

TEST(AttentionPlan, AWindowedProducerKeepsWhatAFullConsumerNeeds) {
  AttentionPlanOptions o;
  o.window = 8;
  o.full_layers = "2";
  o.kv_groups = "1-2";
  const auto plan = plan_attention(o, {0, 1, 2});
  EXPECT_EQ(plan.at(1).window, 8);
  EXPECT_EQ(plan.at(1).cache_window, -1);
  EXPECT_EQ(plan.at(2).source, 1);
}

TEST(AttentionPlan, Mistakes) {
  AttentionPlanOptions o;
  o.full_layers = "first";
  EXPECT_THROW(plan_attention(o, {0, 1}), UserError);
  o.window = 4;
  o.full_layers = "9";
  EXPECT_THROW(plan_attention(o, {0, 1}), UserError);
  o.full_layers = "none";
  o.kv_groups = "0-1, 1-2";
  EXPECT_THROW(plan_attention(o, {0, 1, 2}), UserError);
}

// Whatever whole number a key is given: a model, or an error that names the key; nothing overflows on the way (--sanitize).
TEST(Design, EveryWholeNumberHasBounds) {
  const std::map<std::string, std::pair<std::string, std::vector<Assignment>>> designs = {
      {"mamba2", {"row-12", {{"mixer", "mamba2", "test"}}}}, {"moe", {"row-06", {{"ffn", "moe", "test"}}}}};
  int keys = 0, refused = 0;
  for (const auto& [key, value, about] : describe_design_keys()) {
    if (value.empty() || value.find_first_not_of("0123456789-") != std::string::npos) continue;
    const auto found = designs.find(key.substr(0, key.find('.')));
    for (const std::string number : {"9223372036854775807", "-9223372036854775808", "4611686018427387904", "1099511627776", "-1"}) {
      auto [design, overrides] = found == designs.end() ? std::pair<std::string, std::vector<Assignment>>("row-09", {}) : found->second;
      overrides.push_back({key, number, "test"});
      const std::string error = error_of(design, overrides);
      if (error == "no error") continue;
      EXPECT_NE(error.find(key), std::string::npos) << key << " = " << number << ": " << error;
      ++refused;
    }
    ++keys;
  }
  EXPECT_GE(keys, 25);
  EXPECT_GE(refused, 3 * keys);
}

TEST(Design, PatternsAndImpossibleOnes) {
  const auto samba = library().open("samba", "smoke", {});
  ASSERT_EQ(samba.sublayers().size(), 12u);
  EXPECT_EQ(samba.sublayers()[0].mixers[0], "mamba");
  EXPECT_TRUE(samba.sublayers()[1].ffn);
  EXPECT_EQ(samba.sublayers()[2].mixers[0], "attention");
  const auto set = [](const std::string& key, const std::string& value) { return std::vector<Assignment>{{key, value, "command line"}}; };
  EXPECT_NE(error_of("samba", set("layers.pattern", "ffn mamba")).find("an ffn follows a mixer"), std::string::npos);
  EXPECT_NE(error_of("samba", set("layers.pattern", "mambo ffn")).find("did you mean mamba?"), std::string::npos);
  EXPECT_NE(error_of("row-09", set("mixer", "parallel(attention)")).find("needs two mixers"), std::string::npos);
  EXPECT_NE(error_of("row-01", set("parallel.fusion", "concat")).find("no layer has parallel mixers"), std::string::npos);
  EXPECT_NE(error_of("row-05", set("attention.v_dim", "7")).find("no multiple"), std::string::npos);
  EXPECT_NE(error_of("row-09", set("attention.head_dim", "5")).find("even"), std::string::npos);
  EXPECT_NE(error_of("row-09", set("attention.rope_scaling", "ntk")).find("attention.rope_max"), std::string::npos);
}

TEST(Model, IdsOutsideTheVocabularyAreNamed) {
  const auto design = library().open("row-01", "smoke", {{"vocab", "10", "command line"}});
  const LanguageModel model(design, 0);
  const at::Tensor ids = at::Tensor(model.parameters().all()[0].value.new_full({1, 3}, 10, at::kLong));
  EXPECT_THROW(model.forward(ids), UserError);
}

TEST(Model, SameSeedSameWeightsAndAnAddedParameterChangesNoOther) {
  const auto design = library().open("row-12", "smoke", {}), plain = library().open("row-01", "smoke", {});
  const LanguageModel a(design, 5), b(design, 5), c(plain, 5);
  for (const auto& p : a.parameters().all()) {
    EXPECT_TRUE(p.value.equal(b.parameters().find(p.name)->value)) << p.name;
    const auto* same = c.parameters().find(p.name);
    if (same != nullptr) {
      EXPECT_TRUE(p.value.equal(same->value)) << p.name;
    }
  }
}

}  // namespace
}  // namespace hymba
