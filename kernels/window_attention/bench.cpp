#include "kernels/bench.h"

#include "kernels/isa.h"
#include "kernels/window_attention/cases.h"
#include "kernels/window_attention/op.h"

namespace hymba::kernels::bench {
namespace {

using window_attention_detail::Case;

Differentiable attention_of(const Case& c, bool bf16_products) {
  Differentiable d;
  d.inputs = {random({c.B, c.L, c.H, c.P}), random({c.B, c.L, c.K, c.P}), random({c.B, c.L, c.K, c.V})};
  // The reference does a few queries only; they stay at their positions, and give the gradient of q alone.
  const std::int64_t count = std::min<std::int64_t>(c.L, 3), first = c.L - count;
  d.f = [=](const Tensors& x) {
    WindowAttentionOptions options;
    options.window = c.window, options.prefix = c.prefix;
    options.bf16_products = bf16_products && x[0].scalar_type() == at::kFloat;  // not the reference
    return Tensors{window_attention(x[0], x[1], x[2], options)};
  };
  d.slice = [=](const Tensors& x) { return Tensors{x[0].narrow(1, first, count), x[1], x[2]}; };
  d.out_slice = [=](const Tensors& y) { return Tensors{y[0].narrow(1, first, count)}; };
  d.compared = {0};
  d.tolerance = bf16_products ? 2e-2 : 1e-4;
  return d;
}

double visible_pairs(const Case& c) {
  double pairs = 0;
  for (std::int64_t i = 0; i < c.L; ++i) {
    const std::int64_t window = c.window < 0 ? i + 1 : std::min(c.window, i + 1);
    pairs += static_cast<double>(window + std::min(c.prefix, i + 1 - window));
  }
  return pairs * static_cast<double>(c.B * c.H);
}

}  // namespace

void window_attention_rows(bool smoke, std::vector<Row>* rows) {
  for (const Case& c : cases_of(smoke, window_attention_detail::test_cases(), window_attention_detail::bench_cases())) {
    const double pairs = visible_pairs(c), P = static_cast<double>(c.P), V = static_cast<double>(c.V);
    const double tokens = static_cast<double>(c.B * c.L), H = static_cast<double>(c.H), K = static_cast<double>(c.K);
    const double bytes = 4 * tokens * (H + K) * (P + V);
    const Work forward{2 * pairs * (P + V), bytes, pairs};
    const Work both{2 * pairs * (4 * P + 3 * V), 3 * bytes, 2 * pairs};
    add([c] { return attention_of(c, false); }, "window_attention", c.name(), forward, both, rows);
    if (c.B > 1 || !device().is_cpu() || !multiplies_bf16()) continue;  // prompts, where attention is what takes the time
    add_forward([c] { return attention_of(c, true); }, "window_attention", c.name() + "/bf16_products",
                {forward.flops, forward.bytes, forward.exps, forward.flops}, rows);
  }
}

}  // namespace hymba::kernels::bench
