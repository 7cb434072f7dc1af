#include "kernels/bench.h"

#include <ATen/TensorOperators.h>

#include "kernels/ssd/cases.h"
#include "kernels/ssd/op.h"

namespace hymba::kernels::bench {
namespace {

using ssd_detail::Case;

Differentiable ssd_of(const Case& c) {
  Differentiable d;
  d.inputs = {random({c.B, c.L, c.H, c.P}),
              random({c.B, c.L, c.H}, 1, -1),
              random({c.H}).exp().neg(),
              random({c.B, c.L, c.G, c.N}),
              random({c.B, c.L, c.G, c.N}),
              random({c.H}),
              random({c.H}),
              at::Tensor()};
  d.f = [](const Tensors& x) {
    const auto [y, h] = ssd(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]);
    return Tensors{y, h};
  };
  if (c.G == 1) {  // one head in the middle: heads meet in the gradients of B and C alone
    const std::int64_t h = c.H / 2;
    d.slice = [h](const Tensors& x) {
      return Tensors{x[0].narrow(2, h, 1),
                     x[1].narrow(2, h, 1),
                     x[2].narrow(0, h, 1),
                     x[3],
                     x[4],
                     x[5].narrow(0, h, 1),
                     x[6].narrow(0, h, 1),
                     x[7]};
    };
    d.out_slice = [h](const Tensors& y) { return Tensors{y[0].narrow(2, h, 1), y[1].narrow(1, h, 1)}; };
    d.compared = {0, 1, 2, 5, 6};
  }
  d.tolerance = 1e-4;
  return d;
}

}  // namespace

void ssd_rows(bool smoke, std::vector<Row>* rows) {
  for (const Case& c : cases_of(smoke, ssd_detail::test_cases(), ssd_detail::bench_cases())) {
    // The least known: the recurrence itself, h = a h + u B and y = h C, and three times that backward.
    const double heads = static_cast<double>(c.B * c.L * c.H), P = static_cast<double>(c.P);
    const double states = heads * P * static_cast<double>(c.N), groups = static_cast<double>(c.B * c.L * c.G * c.N);
    const Work forward{5 * states, 4 * (2 * heads * P + 2 * groups), 2 * heads};
    const Work both{17 * states, 4 * (6 * heads * P + 6 * groups), 4 * heads};
    add([c] { return ssd_of(c); }, "ssd", c.name(), forward, both, rows);
  }
}

}  // namespace hymba::kernels::bench
