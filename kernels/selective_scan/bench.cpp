#include "kernels/bench.h"

#include <ATen/TensorOperators.h>

#include <memory>

#include "kernels/selective_scan/cases.h"
#include "kernels/selective_scan/op.h"

namespace hymba::kernels::bench {
namespace {

using scan::Case;

Tensors make_inputs(const Case& c) {
  const auto rows = c.G == 1 ? std::vector{c.B, c.L, c.N} : std::vector{c.B, c.L, c.G, c.N};
  return {random({c.B, c.L, c.E}),
          random({c.B, c.L, c.E}, 1, -1),
          random({c.E, c.N}).exp().neg(),
          random(rows),
          random(rows),
          c.D ? random({c.E}) : at::Tensor(),
          c.z ? random({c.B, c.L, c.E}) : at::Tensor(),
          c.bias ? random({c.E}) : at::Tensor(),
          c.h0 ? random({c.B, c.E, c.N}) : at::Tensor()};
}

Differentiable scan_of(const Case& c) {
  Differentiable d;
  d.inputs = make_inputs(c);
  d.f = [c](const Tensors& x) {
    const auto [y, h] = selective_scan(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7], x[8], {c.softplus});
    return Tensors{y, h};
  };
  if (c.G == 1) {  // channels are independent of each other, but for the gradients of B and C
    const std::int64_t count = std::min<std::int64_t>(3, c.E), first = (c.E - count) / 2;
    const auto cut = [=](const at::Tensor& t, int axis) { return t.defined() ? t.narrow(axis, first, count) : t; };
    d.slice = [=](const Tensors& x) {
      return Tensors{cut(x[0], 2), cut(x[1], 2), cut(x[2], 0), x[3],        x[4],
                     cut(x[5], 0), cut(x[6], 2), cut(x[7], 0), cut(x[8], 1)};
    };
    d.out_slice = [=](const Tensors& y) { return Tensors{cut(y[0], 2), cut(y[1], 1)}; };
    d.compared = {0, 1, 2, 5, 6, 7, 8};
  }
  d.tolerance = 1e-4;  // sums over 2048 steps
  return d;
}

void add_step(std::int64_t B, std::int64_t E, std::int64_t N, std::vector<Row>* rows) {
  const double elements = static_cast<double>(B * E), states = elements * static_cast<double>(N);
  const Work work{6 * states, 4 * (2 * states + static_cast<double>(E * N) + 4 * elements), states + 2 * elements};
  rows->push_back(
      {"selective_state_update", fmt::format("B{}_E{}_N{}", B, E, N), work, [=] {
         const auto x = std::make_shared<Tensors>(Tensors{
             random({B, E, N}), random({B, E}), random({B, E}, 1, -1), random({E, N}).exp().neg(), random({B, N}),
             random({B, N}), random({E}), random({B, E}), random({E}), empty({B, E})});
         Run run;
         run.time = [x] {
           const Tensors& t = *x;
           selective_state_update_out(t[9], t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8]);
         };
         run.error = [x, run] {
           const Tensors d = to_double(*x);
           const at::Tensor y = selective_state_update(d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7], d[8]);
           run.time();
           return error_of({(*x)[9], (*x)[0]}, {y, d[0]});
         };
         return run;
       }});
}

}  // namespace

void scan_rows(bool smoke, std::vector<Row>* rows) {
  for (const Case& c : cases_of(smoke, scan::test_cases(), scan::bench_cases())) {
    const double elements = static_cast<double>(c.B * c.L * c.E), states = elements * static_cast<double>(c.N);
    const double rows_of_states = static_cast<double>(c.B * c.L * c.G * c.N);
    // Per state: dt A and u B, two multiply-adds; per element: bias, softplus, D, gate. Backward: each state again, and
    // nine products and sums to walk it back.
    const Work forward{6 * states + 8 * elements, 4 * (4 * elements + 2 * rows_of_states), states + 2 * elements};
    const Work both{21 * states + 30 * elements, 4 * (12 * elements + 6 * rows_of_states), 2 * states + 4 * elements};
    add([c] { return scan_of(c); }, "selective_scan", c.name(), forward, both, rows);
  }
  if (smoke) return add_step(2, 24, 4, rows);
  add_step(1, 3200, 16, rows);
  add_step(8, 3200, 16, rows);
}

}  // namespace hymba::kernels::bench
