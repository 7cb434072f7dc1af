#include "kernels/bench.h"


#include <memory>

#include "kernels/causal_conv1d/cases.h"
#include "kernels/causal_conv1d/op.h"

namespace hymba::kernels::bench {
namespace {

using conv::Case;

Differentiable conv_of(const Case& c) {
  Differentiable d;
  d.inputs = {random({c.B, c.L, c.E}), random({c.E, c.W}), c.bias ? random({c.E}) : at::Tensor(),
              c.state ? random({c.B, c.W - 1, c.E}) : at::Tensor()};
  d.f = [c](const Tensors& x) {
    const auto [y, state] = causal_conv1d(x[0], x[1], x[2], x[3], c.silu);
    return Tensors{y, state};
  };
  return d;
}

void add_step(std::int64_t B, std::int64_t E, std::int64_t W, std::vector<Row>* rows) {
  const double elements = static_cast<double>(B * E), taps = static_cast<double>(W);
  const Work work{2 * taps * elements, 4 * (2 * taps * elements + static_cast<double>(E * W)), elements};
  rows->push_back({"conv_update", fmt::format("B{}_E{}_W{}", B, E, W), work, [=] {
                     const auto x =
                         std::make_shared<Tensors>(Tensors{random({B, W - 1, E}), random({B, E}), random({E, W}),
                                                           random({E}), empty({B, E})});
                     Run run;
                     run.time = [x] { conv_update_out((*x)[4], (*x)[0], (*x)[1], (*x)[2], (*x)[3], true); };
                     run.error = [x, run] {
                       const Tensors d = to_double(*x);
                       const at::Tensor y = conv_update(d[0], d[1], d[2], d[3], true);
                       run.time();
                       return error_of({(*x)[4], (*x)[0]}, {y, d[0]});
                     };
                     return run;
                   }});
}

}  // namespace

void conv_rows(bool smoke, std::vector<Row>* rows) {
  for (const Case& c : cases_of(smoke, conv::test_cases(), conv::bench_cases())) {
    const double elements = static_cast<double>(c.B * c.L * c.E), taps = static_cast<double>(c.W);
    const Work forward{2 * taps * elements, 8 * elements, c.silu ? elements : 0};
    const Work both{8 * taps * elements, 20 * elements, c.silu ? 2 * elements : 0};
    add([c] { return conv_of(c); }, "causal_conv1d", c.name(), forward, both, rows);
  }
  if (smoke) return add_step(2, 20, 4, rows);
  add_step(1, 3200, 4, rows);
  add_step(8, 3200, 4, rows);
}

}  // namespace hymba::kernels::bench
