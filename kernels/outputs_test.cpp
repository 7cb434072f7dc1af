#include "kernels/outputs.h"

#include <ATen/Functions.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "kernels/held_memory.h"
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

TEST(Outputs, FreedBlocksAreUsedAgainUpToTheBoundAndGivenBackBeyondIt) {
  constexpr std::int64_t kRow = 1 << 20, kPage = 4096;
  const auto make = [](std::int64_t mebibytes) { return empty_output({mebibytes, kRow}, at::kByte); };
  const std::size_t bound = keep_freed_outputs(0);
  const auto held = std::make_shared<HeldMemory>();  // blocks that are kept count, those given back do not
  {
    const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, held);
    make(2);
    EXPECT_EQ(held->bytes(), 0) << "bound 0 keeps nothing";
    keep_freed_outputs(7 << 20);
    { const at::Tensor two = make(2), three = make(3); }
    EXPECT_EQ(held->bytes(), 5 * kRow + 2 * kPage);
    make(4);
    EXPECT_EQ(held->bytes(), 6 * kRow + 2 * kPage) << "the block of 3, freed first, leaves";
    make(4);
    EXPECT_EQ(held->bytes(), 6 * kRow + 2 * kPage) << "a block of as many bytes is there";
    {
      const at::Tensor one = make(1);
      EXPECT_EQ(held->bytes(), 7 * kRow + 3 * kPage) << "of another number there is none";
    }
    make(8);
    EXPECT_EQ(held->bytes(), 7 * kRow + 3 * kPage) << "a block above the bound is not kept and drives none out";
    const at::Tensor two = make(2);
    EXPECT_EQ(held->bytes(), 7 * kRow + 3 * kPage) << "that of 2 was still there";
    keep_freed_outputs(0);
    EXPECT_EQ(held->bytes(), 2 * kRow + kPage) << "one in use stays";
  }
  EXPECT_EQ(keep_freed_outputs(bound), 0u);
}

TEST(Outputs, ThreadsShareTheFreedBlocks) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([i] {
      for (int round = 0; round < 50; ++round) {
        const at::Tensor a = empty_output({1 + round % 3, 1 << 19}, at::kByte), b = empty_output({1, 1 << 19}, at::kByte);
        a.fill_(2 * i), b.fill_(2 * i + 1);
        EXPECT_TRUE(a.eq(2 * i).all().item<bool>() && b.eq(2 * i + 1).all().item<bool>());
      }
    });
  }
  for (std::thread& t : threads) t.join();
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
