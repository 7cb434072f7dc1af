// Norm, gate and rotation: one pass over memory each.
#include "kernels/bench.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernels/rms_norm/cases.h"
#include "kernels/rms_norm/op.h"
#include "kernels/rope/cases.h"
#include "kernels/rope/op.h"
#include "kernels/swiglu/cases.h"
#include "kernels/swiglu/op.h"

namespace hymba::kernels::bench {

void norm_rows(bool smoke, std::vector<Row>* rows) {
  const auto count = [](const std::vector<std::int64_t>& sizes) {
    double n = 1;
    for (const std::int64_t size : sizes) n *= static_cast<double>(size);
    return n;
  };
  for (const auto& c : cases_of(smoke, norm::test_cases(), norm::bench_cases())) {
    const double n = count(c.sizes);
    const auto make = [c] {
      Differentiable d;
      d.inputs = {random(c.sizes), random({c.sizes.back()})};
      d.f = [c](const Tensors& x) { return Tensors{rms_norm(x[0], x[1], c.eps)}; };
      return d;
    };
    add(make, "rms_norm", fmt::format("{}", fmt::join(c.sizes, "x")), {4 * n, 8 * n, 0}, {14 * n, 20 * n, 0}, rows);
  }
  for (const auto& sizes : cases_of(smoke, gate::test_cases(), gate::bench_cases())) {
    const double n = count(sizes) / 2;
    const auto make = [sizes] {
      Differentiable d;
      d.inputs = {random(sizes)};
      d.f = [](const Tensors& x) { return Tensors{swiglu(x[0])}; };
      return d;
    };
    add(make, "swiglu", fmt::format("{}", fmt::join(sizes, "x")), {4 * n, 12 * n, n}, {14 * n, 32 * n, 2 * n}, rows);
  }
  for (const auto& c : cases_of(smoke, rope_detail::test_cases(), rope_detail::bench_cases())) {
    const double n = count({c.B, c.L, c.H, c.P});
    const auto make = [c] {
      Differentiable d;
      d.inputs = {random({c.B, c.L, c.H, c.P})};
      d.f = [c](const Tensors& x) { return Tensors{rope(x[0], c.pos0, 10000.0)}; };
      return d;
    };
    add(make, "rope", c.name(), {3 * n, 8 * n, 0}, {6 * n, 16 * n, 0}, rows);
  }
}

}  // namespace hymba::kernels::bench
