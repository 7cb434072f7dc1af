#include "nn/parameters.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "base/error.h"

namespace hymba {
namespace {

constexpr std::int64_t kPattern = 1 << 16;  // a multiple of all usual row lengths of A_log

template <class F>
Init fill_each(F f) {
  return [f](at::Tensor& value, Rng& rng) {
    float* data = value.data_ptr<float>();
    for (std::int64_t i = 0; i < value.numel(); ++i) data[i] = static_cast<float>(f(rng));
  };
}

at::Tensor from_source(const ParameterSource& source, const std::string& name, const std::vector<std::int64_t>& shape) {
  const at::Tensor value = source(name, shape);
  const auto type = value.scalar_type();
  const bool known = type == at::kFloat || type == at::kBFloat16 || type == at::kHalf;
  if (!value.sizes().equals(shape) || !known) fail("parameter {}: its source gave another shape or type", name);
  return value;
}

// Sizes that a slip of the finger or an overflow made: named here, before memory is asked for.
void check_shape(const std::string& name, const std::vector<std::int64_t>& shape) {
  constexpr double kMost = 1e13;  // numbers; the largest tensors there are have less than 1e11
  double count = 1;
  bool positive = true;
  for (const auto n : shape) {
    count *= static_cast<double>(n);
    positive = positive && n > 0;
  }
  require(positive && count <= kMost, "parameter {} of shape [{}]: expected at least 1 and at most {:g} numbers; check the design's sizes", name,
          fmt::join(shape, ", "), kMost);
}

}  // namespace

Init init_normal(double std) {
  return fill_each([std](Rng& rng) { return std * rng.normal(); });
}
Init init_constant(double constant) {
  return fill_each([constant](Rng&) { return constant; });
}
Init init_uniform(double low, double high) {
  return fill_each([low, high](Rng& rng) { return low + (high - low) * rng.uniform(); });
}

at::Tensor ParameterStore::add(const std::string& name, const std::vector<std::int64_t>& shape, const Init& init,
                               bool decay) {
  if (find(name) != nullptr) fail("parameter {} is added twice", name);
  check_shape(name, shape);
  at::Tensor value;
  if (source_) {
    value = from_source(source_, name, shape).to(at::kFloat);
  } else {
    value = at::empty(shape, at::TensorOptions().dtype(at::kFloat).device(meta_ ? at::kMeta : at::kCPU));
  }
  if (!source_ && !meta_) {
    Rng rng(seed_, name);
    if (pattern_ && value.numel() > kPattern) {
      at::Tensor flat = value.view({-1}), first = flat.narrow(0, 0, kPattern);
      init(first, rng);
      for (std::int64_t at = kPattern; at < flat.numel(); at += kPattern) {
        const std::int64_t count = std::min(kPattern, flat.numel() - at);
        flat.narrow(0, at, count).copy_(first.narrow(0, 0, count));
      }
    } else {
      init(value, rng);
    }
  }
  if (!meta_) {
    if (value.device() != device_) value = value.to(device_);
    value.set_requires_grad(true);
  }
  parameters_.push_back({name, value, decay});
  return value;
}

at::Tensor ParameterStore::add_product(const std::string& name, const std::vector<std::int64_t>& shape, const Init& init) {
  if (source_) {  // in 16 bits where the source says so: products widen them
    if (find(name) != nullptr) fail("parameter {} is added twice", name);
    at::Tensor value = from_source(source_, name, shape);
    value.set_requires_grad(value.scalar_type() == at::kFloat);
    parameters_.push_back({name, value, true});
  } else {
    add(name, shape, init);
  }
  parameters_.back().product = true;
  return parameters_.back().value;
}

const Parameter* ParameterStore::find(const std::string& name) const {
  for (const auto& parameter : parameters_) {
    if (parameter.name == name) return &parameter;
  }
  return nullptr;
}

std::int64_t ParameterStore::count() const {
  std::int64_t n = 0;
  for (const auto& parameter : parameters_) n += parameter.value.numel();
  return n;
}

}  // namespace hymba
