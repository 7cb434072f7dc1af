#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/rope/cases.h"
#include "kernels/rope/op.h"
#include "kernels/testing.h"

namespace hymba::kernels {
namespace {

using rope_detail::Case;
using testing::expect_close;
using testing::expect_equal;
using testing::random;

constexpr double kBase = 10000;

at::Tensor make_input(const Case& c, std::uint64_t seed = 3) {
  Rng rng(seed, c.name());
  return random(rng, {c.B, c.L, c.H, c.P});
}

// Angles in double, their sines and cosines rounded to the type of x.
at::Tensor plain(const at::Tensor& x, std::int64_t pos0) {
  const std::int64_t L = x.size(1), half = x.size(3) / 2;
  const at::Tensor positions = at::arange(pos0, pos0 + L).to(at::kDouble);
  const at::Tensor angle =
      (positions.unsqueeze(1) * at::tensor(rope_frequencies(kBase, x.size(3)), at::kDouble)).unsqueeze(1);
  const at::Tensor cos = angle.cos().to(x.scalar_type()), sin = angle.sin().to(x.scalar_type());
  const at::Tensor a = x.narrow(3, 0, half), b = x.narrow(3, half, half);
  return at::cat({a * cos - b * sin, b * cos + a * sin}, 3);
}

TEST(Rope, MatchesReferenceWithItsGradient) {
  for (const Case& c : rope_detail::test_cases()) {
    const at::Tensor grad = make_input(c, 4);
    const auto all = [&](at::ScalarType type) {
      const auto x = testing::leaves({make_input(c)}, type);
      const at::Tensor y = rope(x[0], c.pos0, kBase);
      return std::vector{y, testing::gradients({y}, x, {grad.to(type)})[0]};
    };
    const auto expected = all(at::kDouble);
    const auto in_float = testing::plain_path(
        c.name(), [&](const std::vector<at::Tensor>& t) { return std::vector{plain(t[0], c.pos0)}; }, {make_input(c)},
        {grad}, expected, 1e-10);
    testing::for_each_isa([&] {
      const testing::NanMemory nan;
      const auto actual = all(at::kFloat);
      for (std::size_t i = 0; i < actual.size(); ++i) {
        testing::expect_close_as_plain(fmt::format("{} tensor {}", c.name(), i), actual[i], expected[i], in_float[i]);
      }
      expect_close(c.name() + " y", actual[0], expected[0], 1e-6);
      expect_close(c.name() + " gradient", actual[1], expected[1], 1e-6);
      const at::Tensor x = testing::leaves({make_input(c)}, at::kFloat)[0].detach();
      expect_equal(c.name() + " inference", rope(x, c.pos0, kBase), actual[0].detach());
    });
  }
}

TEST(Rope, ReferenceGradientMatchesFiniteDifferences) {
  const Case c{1, 4, 2, 6, 7};
  testing::check_gradients([&](const std::vector<at::Tensor>& x) { return std::vector{rope(x[0], 7, kBase)}; },
                           {make_input(c)});
}

TEST(Rope, SlicesGiveTheSame) {
  const Case c{2, 9, 3, 8, 2};
  const at::Tensor x = make_input(c), expected = rope(x, 2, kBase);
  expect_equal("slice", rope(testing::as_slice(x), 2, kBase), expected);
  expect_equal("no unit stride", rope(x.transpose(1, 3).contiguous().transpose(1, 3), 2, kBase), expected);
}

TEST(Rope, TwoCallsEqualOne) {
  const Case c{2, 300, 2, 8};
  const at::Tensor x = make_input(c);
  const at::Tensor cut = at::cat({rope(x.narrow(1, 0, 7), 0, kBase), rope(x.narrow(1, 7, 293), 7, kBase)}, 1);
  expect_equal("two calls", cut, rope(x, 0, kBase));
}

TEST(Rope, ExplicitFrequencies) {
  const Case c{1, 12, 2, 8, 30};
  const at::Tensor x = make_input(c);
  std::vector<double> inv_freq;
  for (int j = 0; j < 4; ++j) inv_freq.push_back(std::pow(kBase, -2.0 * j / 8));
  expect_equal("the base's own", rope(x, 30, inv_freq), rope(x, 30, kBase));
  inv_freq.assign(4, 0.0);
  expect_equal("no rotation", rope(x, 30, inv_freq), x);
}

TEST(Rope, AStepOfManySequencesIsEachOnesOwnPosition) {
  const at::Tensor x = make_input({3, 1, 2, 6});
  const std::vector<double> inv_freq = rope_frequencies(kBase, 6);
  const at::Tensor lengths = at::zeros({3}, at::kLong), out = at::zeros({3, 2, 6});
  const std::int64_t positions[] = {1, 900, 17};
  std::copy(positions, positions + 3, lengths.data_ptr<std::int64_t>());
  rope_step_out(out, x.select(1, 0), lengths, inv_freq, 900);
  for (int b = 0; b < 3; ++b) {
    expect_equal("sequence", out.select(0, b), rope(x.narrow(0, b, 1), positions[b] - 1, kBase).view({2, 6}));
  }
}

TEST(Rope, NamesTheBadArgument) {
  Rng rng(1);
  const at::Tensor x = random(rng, {1, 3, 2, 8});
  const auto bad = [](const std::function<void()>& f, const char* argument) {
    testing::expect_user_error(f, "[rope]", argument);
  };
  bad([&] { rope(x.narrow(3, 0, 7), 0, kBase); }, "x_BLHP");
  bad([&] { rope(x.select(0, 0), 0, kBase); }, "x_BLHP");
  bad([&] { rope(x, -1, kBase); }, "pos0");
  bad([&] { rope(x, 0, 0.0); }, "base");
  bad([&] { rope(x, 0, std::vector<double>{1, 2}); }, "inv_freq");
}

TEST(Rope, MatchesGolden) {
  const auto cases = testing::golden("rope");
  if (!cases) GTEST_SKIP() << "no golden files: set HYMBA_SHARED to the folder that holds golden/ops";
  ASSERT_FALSE(cases->empty());
  for (const auto& golden : *cases) {
    const auto turned = [&](const char* name) { return golden.get(name).transpose(1, 2); };  // golden is [B,H,T,d]
    const auto x = testing::leaves({turned("x")}, at::kFloat);
    testing::for_each_isa([&] {
      const at::Tensor y =
          rope(x[0], golden.options.at("pos0").get<std::int64_t>(), golden.options.at("base").get<double>());
      testing::expect_golden("out", y, turned("out"), false);
      testing::expect_golden("d_x", testing::gradients({y}, x, {turned("grad_out")})[0], turned("d_x"), true);
    });
  }
}

}  // namespace
}  // namespace hymba::kernels
