#include "eval/receptive_field.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/rng.h"
#include "model/staged_forward.h"

namespace hymba::eval {
namespace {

// sum over probes r in {-1, 1}^D of |d (r . h_T) / d x_i|^2, an estimate of the squared Frobenius norm of d h_T / d x_i.
at::Tensor squared_gradients(const LanguageModel& model, const at::Tensor& ids, int probes, Rng& rng) {
  at::Tensor x_BLD;
  {
    const at::NoGradGuard no_grad;
    x_BLD = model.embed(ids).clone();
  }
  x_BLD.set_requires_grad(true);
  const at::AutoGradMode grad(true);
  const at::Tensor hidden = StagedForward(model, x_BLD, 0).finish();
  const at::Tensor last_BD = hidden.select(1, hidden.size(1) - 1);
  at::Tensor sum = at::zeros({x_BLD.size(0), x_BLD.size(1)}, x_BLD.detach().options());
  for (int p = 0; p < probes; ++p) {
    throw_if_interrupted();
    at::Tensor r = at::empty({last_BD.size(1)}, at::kFloat);
    for (std::int64_t d = 0; d < r.numel(); ++d) r.data_ptr<float>()[d] = rng.chance(0.5) ? 1.F : -1.F;
    x_BLD.mutable_grad() = at::Tensor();
    (last_BD * r.to(last_BD.device())).sum().backward({}, /*retain_graph=*/p + 1 < probes);
    sum += x_BLD.grad().square().sum(2);
  }
  return sum / probes;
}

}  // namespace

ReceptiveField receptive_field(const LanguageModel& model, const at::Tensor& ids_BT, int probes, std::uint64_t seed) {
  require(probes > 0, "--probes {}: expected a positive number", probes);
  const std::int64_t batch = ids_BT.size(0), length = ids_BT.size(1), meta = model.config().meta_tokens;
  require(batch > 0 && length > 1, "receptive field: expected prompts of two tokens at least");
  Rng rng(seed, "receptive_field");
  ReceptiveField field;
  field.by_distance.assign(static_cast<std::size_t>(length), 0);
  std::vector<double> means;
  for (std::int64_t b = 0; b < batch; ++b) {
    const at::Tensor norms = squared_gradients(model, ids_BT.narrow(0, b, 1), probes, rng).sqrt().to(at::kCPU).contiguous();
    const float* g = norms.data_ptr<float>();
    double all = 0, tokens = 0, distance = 0;
    for (std::int64_t i = 0; i < meta + length; ++i) all += g[i];
    require(all > 0 && std::isfinite(all), "receptive field: the gradient is {}", all);
    for (std::int64_t i = 0; i < meta; ++i) field.meta += g[i] / all / static_cast<double>(batch);
    for (std::int64_t t = 0; t < length; ++t) {
      const double mass = g[meta + t];
      field.by_distance[static_cast<std::size_t>(length - 1 - t)] += mass / all / static_cast<double>(batch);
      tokens += mass;
      distance += mass * static_cast<double>(length - 1 - t);
    }
    means.push_back(distance / tokens);
  }
  const auto n = static_cast<double>(means.size());
  double squares = 0;
  for (const double m : means) field.mean_distance += m / n;
  for (const double m : means) squares += std::pow(m - field.mean_distance, 2);
  field.error = n > 1 ? std::sqrt(squares / (n - 1) / n) : std::nan("");
  double sum = 0;
  while (sum < 0.9 * (1 - field.meta) && field.span90 < static_cast<double>(length)) sum += field.by_distance[static_cast<std::size_t>(field.span90++)];
  return field;
}

}  // namespace hymba::eval
