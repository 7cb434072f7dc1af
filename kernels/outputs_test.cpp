#include "kernels/outputs.h"

#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <vector>

#include "kernels/testing.h"

namespace hymba::kernels {
namespace {

std::uintptr_t address(const at::Tensor& t) { return reinterpret_cast<std::uintptr_t>(t.data_ptr()); }

TEST(Outputs, LargeOnesStartAtDifferentPlacesOfAPageOnACacheLine) {
  std::vector<at::Tensor> held;
  std::set<std::uintptr_t> places;
  for (int i = 0; i < 8; ++i) {
    held.push_back(empty_output({1024, 1024}, at::kFloat));
    places.insert(address(held.back()) % 4096 / 64);
    EXPECT_EQ(address(held.back()) % 64, 0u);
    held.back().fill_(i);
  }
  EXPECT_EQ(places.size(), held.size());
  for (int i = 0; i < 8; ++i) testing::expect_equal("block", held[i], at::full({1024, 1024}, i, at::kFloat));  // none overlap
}

TEST(Outputs, AreOrdinaryTensorsOfEverySize) {
  for (const auto type : {at::kFloat, at::kDouble, at::kBFloat16}) {
    for (const std::int64_t rows : {0, 1, 300, 20000}) {
      const at::Tensor t = empty_output({rows, 64}, at::TensorOptions(type));
      EXPECT_EQ(t.scalar_type(), type);
      EXPECT_EQ(t.sizes(), at::IntArrayRef({rows, 64}));
      EXPECT_TRUE(t.is_contiguous() && t.storage_offset() == 0);
      testing::expect_equal("written", t.zero_(), at::zeros({rows, 64}, type));
    }
  }
  const testing::NanMemory nan;
  EXPECT_TRUE(empty_output({20000, 64}, at::kFloat).isnan().all().item<bool>());
}

}  // namespace
}  // namespace hymba::kernels
