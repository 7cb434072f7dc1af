#include "kernels/bench.h"


#include <memory>

#include "kernels/gemv/cases.h"
#include "kernels/gemv/op.h"

namespace hymba::kernels::bench {

void gemv_rows(bool smoke, std::vector<Row>* rows) {
  for (const auto& c : cases_of(smoke, gemv_detail::test_cases(), gemv_detail::bench_cases())) {
    for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
      const double weights = static_cast<double>(c.O * c.I), size = type == at::kFloat ? 4 : 2;
      const Work work{2 * weights * static_cast<double>(c.B),
                      size * weights + 4 * static_cast<double>(c.B * (c.I + c.O)), 0};
      rows->push_back({"gemv", c.name() + "_" + c10::toString(type), work, [c, type] {
                         const auto x = std::make_shared<Tensors>(Tensors{
                             random({c.B, c.I}), random({c.O, c.I}).to(type), empty({c.B, c.O})});
                         Run run;
                         if (!device().is_cpu() && type != at::kFloat) run.tolerance = 1e-2;  // x is rounded there
                         run.time = [x] { gemv_out((*x)[2], (*x)[0], (*x)[1]); };
                         run.error = [x, run] {
                           run.time();
                           const Tensors d = to_double(*x);
                           return error_of({(*x)[2]}, {gemv(d[0], d[1])});
                         };
                         return run;
                       }});
    }
  }
}

}  // namespace hymba::kernels::bench
