#include "kernels/bench.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <c10/core/GradMode.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <memory>

#include "base/rng.h"
#include "kernels/cuda/launches.h"
#include "kernels/held_memory.h"
#include "kernels/outputs.h"

namespace hymba::kernels::bench {

namespace {

at::Device chosen = at::kCPU;

}  // namespace

void set_device(const at::Device& device) { chosen = device; }
at::Device device() { return chosen; }
void synchronize() {
  if (!chosen.is_cpu()) device_launches()->synchronize();
}

at::Tensor empty(at::IntArrayRef sizes) { return at::empty(sizes, at::TensorOptions(at::kFloat).device(chosen)); }

at::Tensor random(at::IntArrayRef sizes, double scale, double shift) {
  static Rng rng(7, "bench");
  const at::Tensor t = at::empty(sizes, at::kFloat);
  float* data = t.data_ptr<float>();
  for (std::int64_t i = 0; i < t.numel(); ++i) data[i] = static_cast<float>(scale * rng.normal() + shift);
  return t.to(chosen);
}

Tensors leaves(const Tensors& tensors) {
  Tensors out;
  for (const at::Tensor& t : tensors) out.push_back(t.defined() ? t.detach().clone().requires_grad_() : t);
  return out;
}

Tensors to_double(const Tensors& tensors) {
  Tensors out;
  for (const at::Tensor& t : tensors) {
    const at::Tensor host = t.defined() ? t.detach().to(at::kCPU) : t;
    out.push_back(t.defined() && t.is_floating_point() ? host.to(at::kDouble) : host);
  }
  return out;
}

Tensors gradients(const Tensors& outputs, const Tensors& inputs, const Tensors& grad_outputs) {
  Tensors defined, all(inputs.size());
  for (const at::Tensor& t : inputs) {
    if (t.defined()) defined.push_back(t);
  }
  const auto found = torch::autograd::grad(outputs, defined, grad_outputs);
  for (std::size_t i = 0, k = 0; i < inputs.size(); ++i) {
    if (inputs[i].defined()) all[i] = found[k++];
  }
  return all;
}

double error_of(const Tensors& actual, const Tensors& expected) {
  double worst = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (!actual[i].defined() || actual[i].numel() == 0) continue;
    const at::Tensor a = actual[i].detach().to(at::kCPU).to(at::kDouble),
                     e = expected[i].detach().to(at::kCPU).to(at::kDouble);
    const double error = (a - e).abs().max().item<double>() / std::max(1e-3, e.abs().max().item<double>());
    if (!(error <= worst)) worst = error;  // NaN is the worst
  }
  return worst;
}

double bytes_of(const Tensors& tensors) {
  double bytes = 0;
  for (const at::Tensor& t : tensors) bytes += t.defined() ? static_cast<double>(t.nbytes()) : 0;
  return bytes;
}

double peak_bytes(const std::function<void()>& f) {
  const std::size_t kept = keep_freed_outputs(0);  // blocks kept from before would be held, but not be seen
  const auto memory = std::make_shared<HeldMemory>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, memory);
  f();
  keep_freed_outputs(kept);
  return static_cast<double>(memory->peak());
}

namespace {

// Outputs, then the gradients of the inputs for the given gradients of the outputs.
Tensors run_both(const Differentiable& d, const Tensors& inputs, const Tensors& up) {
  Tensors out = d.f(inputs);
  const Tensors grads = gradients(out, inputs, up);
  out.insert(out.end(), grads.begin(), grads.end());
  return out;
}

double check(const Differentiable& d, const Tensors& inputs, const Tensors& up, bool backward) {
  const auto slice = d.slice ? d.slice : [](const Tensors& t) { return t; };
  const auto out_slice = d.out_slice ? d.out_slice : [](const Tensors& t) { return t; };
  const Tensors cut = leaves(to_double(slice(inputs)));
  if (!backward) {
    const c10::AutoGradMode no_grad(false);
    return error_of(out_slice(d.f(inputs)), d.f(to_double(cut)));
  }
  const Tensors wide = leaves(inputs), grads = slice(gradients(d.f(wide), wide, up));
  const Tensors expected = gradients(d.f(cut), cut, to_double(out_slice(up)));
  double worst = 0;
  for (std::size_t i = 0; i < grads.size(); ++i) {
    const bool wanted = !d.slice || std::find(d.compared.begin(), d.compared.end(), i) != d.compared.end();
    if (wanted) worst = std::max(worst, error_of({grads[i]}, {expected[i]}));
  }
  return worst;
}

void add_row(const std::function<Differentiable()>& make, const std::string& op, const std::string& name, const Work& work, bool backward,
             std::vector<Row>* rows) {
  const auto prepare = [make, backward] {
    const auto d = std::make_shared<Differentiable>(make());
    const auto x = std::make_shared<Tensors>(backward ? leaves(d->inputs) : d->inputs);
    Tensors up;
    for (const at::Tensor& y : d->f(d->inputs)) up.push_back(random(y.sizes()));
    Run run;
    run.tolerance = d->tolerance;
    run.given = bytes_of(d->inputs) + (backward ? bytes_of(up) : 0);
    run.held = backward ? 2 * run.given : run.given + bytes_of(up);
    run.error = [=] { return check(*d, d->inputs, up, backward); };
    run.time = [=] {
      const c10::AutoGradMode grad(backward);
      backward ? run_both(*d, *x, up) : d->f(*x);
    };
    return run;
  };
  rows->push_back({op, name + (backward ? "/forward_backward" : "/forward"), work, prepare});
}

}  // namespace

void add(const std::function<Differentiable()>& make, const std::string& op, const std::string& name, Work forward,
         Work both, std::vector<Row>* rows) {
  add_row(make, op, name, forward, false, rows);
  add_row(make, op, name, both, true, rows);
}

void add_forward(const std::function<Differentiable()>& make, const std::string& op, const std::string& name, Work forward,
                 std::vector<Row>* rows) {
  add_row(make, op, name, forward, false, rows);
}

}  // namespace hymba::kernels::bench
