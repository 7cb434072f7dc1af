#include "kernels/bench.h"

#include <ATen/ops/tensor.h>

#include <memory>

#include "kernels/decode_attention/cases.h"
#include "kernels/decode_attention/kernel.h"
#include "kernels/decode_attention/op.h"

namespace hymba::kernels::bench {

void decode_rows(bool smoke, std::vector<Row>* rows) {
  for (const auto& c : cases_of(smoke, decode_detail::test_cases(), decode_detail::bench_cases())) {
    double keys = 0;
    for (const std::int64_t length : c.lengths) {
      keys += static_cast<double>(decode_detail::visible_slots(c.S, c.window, c.prefix, length).total());
    }
    for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
      const double dims = static_cast<double>(c.P + c.V), size = type == at::kFloat ? 4 : 2;
      const double heads = static_cast<double>(c.H), kv_heads = static_cast<double>(c.K);
      const Work work{2 * keys * heads * dims, size * keys * kv_heads * dims, keys * heads};
      rows->push_back({"decode_attention", c.name() + "_" + c10::toString(type), work, [c, type] {
                         const auto x = std::make_shared<Tensors>(
                             Tensors{random({c.batch(), c.H, c.P}), random({c.batch(), c.S, c.K, c.P}).to(type),
                                     random({c.batch(), c.S, c.K, c.V}).to(type), at::tensor(c.lengths, at::kLong).to(device()),
                                     empty({c.batch(), c.H, c.V})});
                         const DecodeAttentionOptions options{c.window, c.prefix};
                         Run run;
                         run.time = [=] { decode_attention_out((*x)[4], (*x)[0], (*x)[1], (*x)[2], (*x)[3], options); };
                         run.error = [=] {
                           run.time();
                           const Tensors d = to_double(*x);
                           return error_of({(*x)[4]}, {decode_attention(d[0], d[1], d[2], d[3], options)});
                         };
                         return run;
                       }});
    }
  }
}

}  // namespace hymba::kernels::bench
