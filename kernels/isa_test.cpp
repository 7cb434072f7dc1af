#include "kernels/isa.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "kernels/testing.h"

namespace hymba::kernels {
namespace {

TEST(Isa, ForcesEachLevelThatIsPresentAndNamesThemForAnother) {
  const auto present = present_isas();
  ASSERT_FALSE(present.empty());
  EXPECT_EQ(present.front(), "baseline");
  for (const auto& level : present) {
    force_isa(level);
    EXPECT_EQ(active_isa(), level);
  }
  testing::expect_user_error([] { force_isa("avx1024"); }, "HYMBA_ISA: expected one of baseline", "found 'avx1024'");
  testing::expect_user_error([] { force_isa("avx1024", "bench: --isa"); }, "bench: --isa: expected one of baseline", "found 'avx1024'");
  EXPECT_EQ(active_isa(), present.back());
  force_isa("");
  EXPECT_EQ(active_isa(), present.back());
}

}  // namespace
}  // namespace hymba::kernels
