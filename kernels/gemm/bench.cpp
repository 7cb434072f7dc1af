#include <ATen/ops/linear.h>

#include "kernels/bench.h"
#include "kernels/gemm/cases.h"
#include "kernels/gemm/op.h"

namespace hymba::kernels::bench {
namespace {

// Ours, or the library's for comparison; the first rows and outputs are compared.
Differentiable linear_of(const gemm::Case& c, bool own) {
  Differentiable d;
  d.inputs = {random({c.rows, c.inputs}), random({c.outputs, c.inputs})};
  const std::int64_t rows = std::min<std::int64_t>(c.rows, 5);
  d.f = [own](const Tensors& x) {
    return Tensors{own || x[0].scalar_type() == at::kDouble ? kernels::linear(x[0], x[1]) : at::linear(x[0], x[1])};
  };
  d.slice = [=](const Tensors& x) { return Tensors{x[0].narrow(0, 0, rows), x[1]}; };
  d.out_slice = [=](const Tensors& y) { return Tensors{y[0].narrow(0, 0, rows)}; };
  d.compared = {0};
  return d;
}

}  // namespace

void linear_rows(bool smoke, std::vector<Row>* rows) {
  if (!device().is_cpu()) return;  // products on a GPU are the library's
  for (const auto& c : cases_of(smoke, gemm::test_cases(), gemm::bench_cases())) {
    const double n = static_cast<double>(c.rows), in = static_cast<double>(c.inputs), out = static_cast<double>(c.outputs);
    const double bytes = 4 * (n * (in + out) + in * out);
    for (const bool own : {true, false}) {
      add([=] { return linear_of(c, own); }, own ? "linear" : "linear_by_library", c.name(), {2 * n * in * out, bytes, 0},
          {6 * n * in * out, 3 * bytes, 0}, rows);
    }
  }
}

}  // namespace hymba::kernels::bench
