#include "train/optimizer.h"

#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <ATen/core/grad_mode.h>

#include "base/error.h"

namespace hymba {

AdamW::AdamW(ParameterStore& store, const Recipe& recipe) : recipe_(recipe), groups_(2) {
  groups_[0].weight_decay = recipe.weight_decay;
  for (auto& parameter : store.all()) {
    Group& group = groups_[parameter.decay ? 0 : 1];
    group.params.push_back(parameter.value);
    group.names.push_back(parameter.name);
    group.exp_avg.push_back(at::zeros_like(parameter.value.detach()));
    group.exp_avg_sq.push_back(at::zeros_like(parameter.value.detach()));
    group.steps.push_back(at::zeros({}, parameter.value.detach().options()));
  }
}

double AdamW::clip() {
  std::vector<at::Tensor> grads;
  for (const auto& group : groups_) {
    for (const auto& p : group.params) {
      if (p.grad().defined()) grads.push_back(p.grad());
    }
  }
  const double norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(grads))).item<double>();
  if (recipe_.clip > 0 && norm > recipe_.clip) at::_foreach_mul_(grads, recipe_.clip / norm);
  return norm;
}

void AdamW::step(double lr) {
  const at::NoGradGuard no_grad;
  for (auto& group : groups_) {
    std::vector<at::Tensor> grads;
    for (const auto& p : group.params) grads.push_back(p.grad().defined() ? p.grad() : at::zeros_like(p));
    if (grads.empty()) continue;
    at::_foreach_add_(group.steps, 1);
    at::_fused_adamw_(group.params, grads, group.exp_avg, group.exp_avg_sq, /*max_exp_avg_sqs=*/{}, group.steps, lr, recipe_.beta1,
                      recipe_.beta2, group.weight_decay, recipe_.eps, /*amsgrad=*/false, /*maximize=*/false);
  }
}

void AdamW::zero_grad() {
  for (auto& group : groups_) {
    for (auto& p : group.params) p.mutable_grad().reset();
  }
}

std::map<std::string, at::Tensor> AdamW::state() const {
  std::map<std::string, at::Tensor> state;
  for (const auto& group : groups_) {
    for (std::size_t i = 0; i < group.names.size(); ++i) {
      state["exp_avg." + group.names[i]] = group.exp_avg[i];
      state["exp_avg_sq." + group.names[i]] = group.exp_avg_sq[i];
      state["step." + group.names[i]] = group.steps[i];
    }
  }
  return state;
}

void AdamW::set_state(const std::map<std::string, at::Tensor>& state) {
  const auto load = [&](const std::string& name, at::Tensor& target) {
    const auto found = state.find(name);
    require(found != state.end(), "optimizer state: '{}' is missing; the checkpoint is of another design", name);
    require(found->second.sizes() == target.sizes(), "optimizer state: '{}' has another shape; the checkpoint is of another design", name);
    target.copy_(found->second);
  };
  for (auto& group : groups_) {
    for (std::size_t i = 0; i < group.names.size(); ++i) {
      load("exp_avg." + group.names[i], group.exp_avg[i]);
      load("exp_avg_sq." + group.names[i], group.exp_avg_sq[i]);
      load("step." + group.names[i], group.steps[i]);
    }
  }
}

}  // namespace hymba
