// Parameters of a model: named tensors, how each is initialised, and whether weight decay applies to it.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "nn/device.h"

namespace hymba {

struct Parameter {
  std::string name;   // as in a checkpoint: "layers.0.mixer.in_proj.weight"
  at::Tensor value;   // fp32, on model_device(); on the meta device if the model is only inspected
  bool decay = true;  // AdamW weight decay: off for A_log, D, norms, biases, meta tokens
  bool product = false;  // only used through nn/linear.h, so that it may be stored in 16 bits
};

// Fills one parameter in place from the random stream of its own name: adding a parameter changes no other.
using Init = std::function<void(at::Tensor& value, Rng& rng)>;
Init init_normal(double std);
Init init_constant(double value);
Init init_uniform(double low, double high);

// Gives the tensor of a stored model's parameter: fp32, of exactly that shape; it may be a view of a mapped file.
using ParameterSource = std::function<at::Tensor(const std::string& name, const std::vector<std::int64_t>& shape)>;

class ParameterStore {
 public:
  // Every value comes from `source`: nothing is initialised and nothing is copied.
  explicit ParameterStore(ParameterSource source) : seed_(0), meta_(false), source_(std::move(source)) {}
  // With `meta`, tensors have shapes but no memory. With `pattern`, large ones repeat their first numbers: for measuring
  // speed, where making 300 million random numbers would take longer than the measurement.
  ParameterStore(std::uint64_t seed, bool meta, bool pattern = false) : seed_(seed), meta_(meta), pattern_(pattern) {}
  at::Tensor add(const std::string& name, const std::vector<std::int64_t>& shape, const Init& init, bool decay = true);
  // The matrix of a linear layer or a table of rows: all reads go through nn/linear.h.
  at::Tensor add_product(const std::string& name, const std::vector<std::int64_t>& shape, const Init& init);

  std::vector<Parameter>& all() { return parameters_; }
  const std::vector<Parameter>& all() const { return parameters_; }
  const Parameter* find(const std::string& name) const;
  std::int64_t count() const;  // elements of all parameters
  bool meta() const { return meta_; }
  at::Device device() const { return meta_ ? at::Device(at::kMeta) : device_; }

 private:
  std::uint64_t seed_;
  bool meta_, pattern_ = false;
  at::Device device_ = model_device();
  ParameterSource source_;
  std::vector<Parameter> parameters_;
};

}  // namespace hymba
