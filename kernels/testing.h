// What the ops' tests share: random tensors, comparison with the double reference, instruction sets, golden files.
#pragma once

#include <ATen/core/Tensor.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/rng.h"

namespace hymba::kernels::testing {

// HYMBA_TEST_DEVICE=cuda: leaves() in float32 are on the GPU, so that the tests of the cases lists compare its kernels
// with the double reference on the CPU. Loads the kernels; one clear line where there is none.
at::Device test_device();

// Normal numbers times `scale` plus `shift`, float32, the same on every machine.
at::Tensor random(Rng& rng, at::IntArrayRef sizes, double scale = 1, double shift = 0);

// |actual - expected| <= tolerance * max(floor, max |expected|) everywhere, and `actual` is finite. Both undefined is
// fine; `expected` is usually double. Zero stands for the tolerance of floats summed in another order: 1e-5.
void expect_close(const std::string& what, const at::Tensor& actual, const at::Tensor& expected, double tolerance = 0,
                  double floor = 1e-3);

// The same functions by ATen's own operations, one after the other, on the CPU in float32: what a model without our
// kernels would run. `f` maps inputs to outputs; returns those and the gradients of the inputs. In double the same is a
// second definition: it must equal `expected`, the reference's outputs and gradients, to `tolerance`.
std::vector<at::Tensor> plain_path(const std::string& what,
                                   const std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>&)>& f,
                                   const std::vector<at::Tensor>& inputs, const std::vector<at::Tensor>& grad_outputs,
                                   const std::vector<at::Tensor>& expected, double tolerance, double floor = 1e-3);

// On the CPU: max |actual - expected| <= 2 max |plain - expected| + epsilon max(floor, max |expected|), with `plain`
// the plain path in float32. No kernel may lose more than twice what summing in another order loses, and 32 units in
// the last place.
void expect_close_as_plain(const std::string& what, const at::Tensor& actual, const at::Tensor& expected,
                           const at::Tensor& plain, double floor = 1e-3, double epsilon = 4e-6);

// max |actual - expected| / max(1e-3, max |expected|).
double relative_error(const at::Tensor& actual, const at::Tensor& expected);

void expect_equal(const std::string& what, const at::Tensor& a, const at::Tensor& b);  // bit for bit

// Expects a UserError whose text holds both parts.
void expect_user_error(const std::function<void()>& f, const std::string& part, const std::string& other);

// Runs f once an instruction set that is present, lowest first, and goes back to the best one.
void for_each_isa(const std::function<void()>& f);

// f() with torch's threads set to `threads`.
std::vector<at::Tensor> on_threads(int threads, const std::function<std::vector<at::Tensor>()>& f);

// A tensor with the same numbers whose rows lie in a wider tensor full of NaN, as a slice of a projection does.
at::Tensor as_slice(const at::Tensor& t);

// While it lives, at::empty() gives NaN: an output that is not written whole shows.
class NanMemory {
 public:
  NanMemory();
  ~NanMemory();
};

// Gradients of `inputs` (undefined ones stay undefined) for the outputs' given gradients.
std::vector<at::Tensor> gradients(const std::vector<at::Tensor>& outputs, const std::vector<at::Tensor>& inputs,
                                  const std::vector<at::Tensor>& grad_outputs);

// Leaves that require a gradient, in `type`.
std::vector<at::Tensor> leaves(const std::vector<at::Tensor>& tensors, at::ScalarType type);

// Compares the gradient of sum(outputs * weights) with central differences, in double, for every defined input: each
// along one random direction. `f` maps the inputs to its outputs.
void check_gradients(const std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>&)>& f,
                     const std::vector<at::Tensor>& inputs, std::uint64_t seed = 1);

struct GoldenCase {
  nlohmann::json options;
  std::map<std::string, at::Tensor> tensors;
  at::Tensor get(const std::string& name) const;  // undefined if absent
};

// The cases of $HYMBA_SHARED/golden/ops/OP.safetensors (default: shared/ beside the project); nullopt if absent.
std::optional<std::vector<GoldenCase>> golden(const std::string& op);

// The golden README's tolerances: 1e-4 for outputs, 1e-3 for gradients, times max(1, max |golden|).
void expect_golden(const std::string& what, const at::Tensor& actual, const at::Tensor& expected, bool gradient);

}  // namespace hymba::kernels::testing
