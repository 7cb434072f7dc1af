#include "train/optimizer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace hymba {
namespace {

// Embeddings and the head are tables of rows, not maps between spaces: AdamW has them, as the authors of Muon advise.
bool takes_muon(const Parameter& parameter) {
  return parameter.product && parameter.value.dim() == 2 && parameter.name.starts_with("layers.");
}

// Steps as large as AdamW's (root mean square 0.2), so that both share a learning rate: Liu et al., arXiv 2502.16982, 2.2.
double muon_scale(const at::Tensor& p) { return 0.2 * std::sqrt(static_cast<double>(std::max(p.size(0), p.size(1)))); }

}  // namespace

at::Tensor orthogonal_part(const at::Tensor& g_MN) {
  constexpr double a = 3.4445, b = -4.7750, c = 2.0315;  // Jordan et al.: steepest at 0, not exact at 1
  const bool tall = g_MN.size(0) > g_MN.size(1);
  at::Tensor x = tall ? g_MN.t() : g_MN;
  x = x.div(at::linalg_vector_norm(x).clamp_min(1e-7));
  for (int step = 0; step < 5; ++step) {
    const at::Tensor square = x.mm(x.t());
    x = at::addmm(x, at::addmm(square, square, square, b, c), x, a, 1);
  }
  return tall ? x.t() : x;
}

Optimizer::Optimizer(ParameterStore& store, const Recipe& recipe) : recipe_(recipe), groups_(2) {
  groups_[0].weight_decay = recipe.weight_decay;
  for (auto& parameter : store.all()) {
    if (recipe.optimizer == "muon" && takes_muon(parameter)) {
      muon_.params.push_back(parameter.value);
      muon_.names.push_back(parameter.name);
      muon_.momentum.push_back(at::zeros_like(parameter.value.detach()));
      continue;
    }
    AdamGroup& group = groups_[parameter.decay ? 0 : 1];
    group.params.push_back(parameter.value);
    group.names.push_back(parameter.name);
    group.exp_avg.push_back(at::zeros_like(parameter.value.detach()));
    group.exp_avg_sq.push_back(at::zeros_like(parameter.value.detach()));
    group.steps.push_back(at::zeros({}, parameter.value.detach().options()));
  }
}

template <class Visit>
void Optimizer::each_parameter(const Visit& visit) {
  for (auto& group : groups_) {
    for (auto& p : group.params) visit(p);
  }
  for (auto& p : muon_.params) visit(p);
}

double Optimizer::clip() {
  std::vector<at::Tensor> grads;
  each_parameter([&](at::Tensor& p) {
    if (p.grad().defined()) grads.push_back(p.grad());
  });
  const double norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(grads))).item<double>();
  if (recipe_.clip > 0 && norm > recipe_.clip) at::_foreach_mul_(grads, recipe_.clip / norm);
  return norm;
}

void Optimizer::step(double lr) {
  const at::NoGradGuard no_grad;
  for (auto& group : groups_) {
    std::vector<at::Tensor> grads;
    for (const auto& p : group.params) grads.push_back(p.grad().defined() ? p.grad() : at::zeros_like(p));
    if (grads.empty()) continue;
    at::_foreach_add_(group.steps, 1);
    at::_fused_adamw_(group.params, grads, group.exp_avg, group.exp_avg_sq, /*max_exp_avg_sqs=*/{}, group.steps, lr, recipe_.beta1,
                      recipe_.beta2, group.weight_decay, recipe_.eps, /*amsgrad=*/false, /*maximize=*/false);
  }
  muon_step(lr);
}

void Optimizer::muon_step(double lr) {
  for (std::size_t i = 0; i < muon_.params.size(); ++i) {
    at::Tensor& p = muon_.params[i];
    if (!p.grad().defined()) continue;
    muon_.momentum[i].mul_(recipe_.momentum).add_(p.grad());
    const at::Tensor ahead = p.grad().add(muon_.momentum[i], recipe_.momentum);  // Nesterov's
    p.mul_(1 - lr * recipe_.weight_decay).sub_(orthogonal_part(ahead), lr * muon_scale(p));
  }
}

void Optimizer::zero_grad() {
  each_parameter([](at::Tensor& p) { p.mutable_grad().reset(); });
}

std::map<std::string, at::Tensor> Optimizer::state() const {
  std::map<std::string, at::Tensor> state;
  for (const auto& group : groups_) {
    for (std::size_t i = 0; i < group.names.size(); ++i) {
      state["exp_avg." + group.names[i]] = group.exp_avg[i];
      state["exp_avg_sq." + group.names[i]] = group.exp_avg_sq[i];
      state["step." + group.names[i]] = group.steps[i];
    }
  }
  for (std::size_t i = 0; i < muon_.names.size(); ++i) state["momentum." + muon_.names[i]] = muon_.momentum[i];
  return state;
}

void Optimizer::set_state(const std::map<std::string, at::Tensor>& state) {
  for (auto& [name, target] : this->state()) {
    const auto found = state.find(name);
    require(found != state.end(), "optimizer state: '{}' is missing; the checkpoint is of another design", name);
    require(found->second.sizes() == target.sizes(), "optimizer state: '{}' has another shape; the checkpoint is of another design", name);
    target.copy_(found->second);
  }
}

}  // namespace hymba
