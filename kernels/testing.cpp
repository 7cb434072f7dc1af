#include "kernels/testing.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>

#include "base/error.h"
#include "base/files.h"
#include "base/shared_folder.h"
#include "kernels/cuda/plugin.h"
#include "kernels/isa.h"

namespace hymba::kernels::testing {

at::Device test_device() {
  static const at::Device device = [] {
    const char* name = std::getenv("HYMBA_TEST_DEVICE");
    if (name == nullptr || std::string(name) == "cpu") return at::Device(at::kCPU);
    require(std::string(name) == "cuda", "HYMBA_TEST_DEVICE={}: expected cpu or cuda", name);
    load_cuda();
    return at::Device(at::kCUDA, 0);
  }();
  return device;
}

at::Tensor random(Rng& rng, at::IntArrayRef sizes, double scale, double shift) {
  at::Tensor t = at::empty(sizes, at::kFloat);
  float* data = t.data_ptr<float>();
  for (std::int64_t i = 0; i < t.numel(); ++i) data[i] = static_cast<float>(scale * rng.normal() + shift);
  return t;
}

double relative_error(const at::Tensor& actual, const at::Tensor& expected) {
  if (expected.numel() == 0) return 0;
  const at::Tensor e = expected.detach().to(at::kCPU).to(at::kDouble), a = actual.detach().to(at::kCPU).to(at::kDouble);
  return (a - e).abs().max().item<double>() / std::max(1e-3, e.abs().max().item<double>());
}

void expect_close(const std::string& what, const at::Tensor& actual, const at::Tensor& expected, double tolerance,
                  double floor) {
  ASSERT_EQ(actual.defined(), expected.defined()) << what;
  if (!actual.defined()) return;
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  if (actual.numel() == 0) return;
  const at::Tensor e = expected.detach().to(at::kCPU).to(at::kDouble), a = actual.detach().to(at::kCPU).to(at::kDouble);
  ASSERT_TRUE(a.isfinite().all().item<bool>()) << what << " is not finite";
  const double error = (a - e).abs().max().item<double>(), size = e.abs().max().item<double>();
  EXPECT_LE(error, (tolerance > 0 ? tolerance : 1e-5) * std::max(floor, size)) << what << ", largest value " << size;
}

std::vector<at::Tensor> plain_path(const std::string& what,
                                   const std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>&)>& f,
                                   const std::vector<at::Tensor>& inputs, const std::vector<at::Tensor>& grad_outputs,
                                   const std::vector<at::Tensor>& expected, double tolerance, double floor) {
  const auto in = [&](at::ScalarType type) {
    std::vector<at::Tensor> x, upstream;
    for (const at::Tensor& t : inputs) {
      x.push_back(t.defined() ? t.detach().to(at::kCPU, type, false, true).requires_grad_() : at::Tensor());
    }
    for (const at::Tensor& t : grad_outputs) upstream.push_back(t.to(at::kCPU, type));
    std::vector<at::Tensor> out = f(x);
    const auto grads = gradients(out, x, upstream);
    out.insert(out.end(), grads.begin(), grads.end());
    return out;
  };
  const auto in_double = in(at::kDouble);
  EXPECT_EQ(in_double.size(), expected.size()) << what;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    expect_close(fmt::format("{} tensor {} defined twice", what, i), in_double[i], expected[i], tolerance, floor);
  }
  return in(at::kFloat);
}

void expect_close_as_plain(const std::string& what, const at::Tensor& actual, const at::Tensor& expected,
                           const at::Tensor& plain, double floor, double epsilon) {
  ASSERT_EQ(actual.defined(), expected.defined()) << what;
  ASSERT_EQ(plain.defined(), expected.defined()) << what;
  if (!actual.defined() || actual.numel() == 0 || !actual.is_cpu()) return;
  ASSERT_EQ(plain.sizes(), expected.sizes()) << what;
  const at::Tensor e = expected.detach().to(at::kDouble);
  const auto error = [&](const at::Tensor& t) { return (t.detach().to(at::kDouble) - e).abs().max().item<double>(); };
  const double size = std::max(floor, e.abs().max().item<double>());
  EXPECT_LE(error(actual), 2 * error(plain) + epsilon * size)
      << what << ", largest value " << size << ", plain " << error(plain);
}

void expect_equal(const std::string& what, const at::Tensor& a, const at::Tensor& b) {
  ASSERT_EQ(a.defined(), b.defined()) << what;
  if (a.defined()) {
    EXPECT_TRUE(a.to(at::kCPU).equal(b.to(at::kCPU))) << what;
  }
}

void expect_user_error(const std::function<void()>& f, const std::string& part, const std::string& other) {
  try {
    f();
    ADD_FAILURE() << "no error; expected one about " << other;
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find(other), std::string::npos) << error.what();
  }
}

void for_each_isa(const std::function<void()>& f) {
  if (!test_device().is_cpu()) return f();
  for (const std::string& level : present_isas()) {
    SCOPED_TRACE("HYMBA_ISA=" + level);
    force_isa(level);
    f();
  }
  force_isa("");
}

std::vector<at::Tensor> on_threads(int threads, const std::function<std::vector<at::Tensor>()>& f) {
  const int before = at::get_num_threads();
  at::set_num_threads(threads);
  std::vector<at::Tensor> out = f();
  at::set_num_threads(before);
  return out;
}

at::Tensor as_slice(const at::Tensor& t) {
  auto sizes = t.sizes().vec();
  sizes.back() += 7;
  const at::Tensor wide = at::full(sizes, std::numeric_limits<double>::quiet_NaN(), t.options());
  at::Tensor slice = wide.narrow(-1, 3, t.size(-1));
  slice.copy_(t);
  return slice;
}

NanMemory::NanMemory() { at::globalContext().setDeterministicAlgorithms(true, false); }
NanMemory::~NanMemory() { at::globalContext().setDeterministicAlgorithms(false, false); }

std::vector<at::Tensor> gradients(const std::vector<at::Tensor>& outputs, const std::vector<at::Tensor>& inputs,
                                  const std::vector<at::Tensor>& grad_outputs) {
  std::vector<at::Tensor> defined, all(inputs.size());
  for (const at::Tensor& t : inputs) {
    if (t.defined()) defined.push_back(t);
  }
  std::vector<at::Tensor> upstream;
  for (std::size_t i = 0; i < grad_outputs.size(); ++i) upstream.push_back(grad_outputs[i].to(outputs[i].device()));
  const auto found = torch::autograd::grad(outputs, defined, upstream);
  for (std::size_t i = 0, k = 0; i < inputs.size(); ++i) {
    if (inputs[i].defined()) all[i] = found[k++];
  }
  return all;
}

std::vector<at::Tensor> leaves(const std::vector<at::Tensor>& tensors, at::ScalarType type) {
  std::vector<at::Tensor> out;
  for (const at::Tensor& t : tensors) {
    const at::Device device = type == at::kDouble ? at::Device(at::kCPU) : test_device();
    out.push_back(t.defined() ? t.detach().to(device, type, false, true).requires_grad_() : at::Tensor());
  }
  return out;
}

void check_gradients(const std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>&)>& f,
                     const std::vector<at::Tensor>& inputs, std::uint64_t seed) {
  Rng rng(seed);
  auto x = leaves(inputs, at::kDouble);
  const auto outputs = f(x);
  std::vector<at::Tensor> weights;
  for (const at::Tensor& y : outputs) weights.push_back(random(rng, y.sizes()).to(at::kDouble));
  const auto grads = gradients(outputs, x, weights);
  const auto objective = [&](const std::vector<at::Tensor>& at) {
    double sum = 0;
    const auto y = f(at);
    for (std::size_t i = 0; i < y.size(); ++i) sum += (y[i].detach() * weights[i]).sum().item<double>();
    return sum;
  };
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!x[i].defined()) continue;
    const at::Tensor direction = random(rng, x[i].sizes()).to(at::kDouble);
    constexpr double kStep = 1e-5;
    auto up = x, down = x;
    up[i] = x[i].detach() + direction * kStep;
    down[i] = x[i].detach() - direction * kStep;
    const double expected = (objective(up) - objective(down)) / (2 * kStep);
    EXPECT_NEAR((grads[i] * direction).sum().item<double>(), expected, 1e-6 * std::max(1.0, std::abs(expected)))
        << "input " << i;
  }
}

at::Tensor GoldenCase::get(const std::string& name) const {
  const auto found = tensors.find(name);
  return found == tensors.end() ? at::Tensor() : found->second;
}

std::optional<std::vector<GoldenCase>> golden(const std::string& op) {
  const auto path = shared_folder(HYMBA_SOURCE_DIR) / "golden" / "ops" / (op + ".safetensors");
  auto json_path = path;
  json_path.replace_extension(".json");
  if (!std::filesystem::exists(path) || !std::filesystem::exists(json_path)) return std::nullopt;

  // safetensors: a 64-bit length, a JSON header with types, shapes and offsets, then the data.
  const std::string bytes = read_file(path);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  const auto header = nlohmann::json::parse(bytes.substr(8, length));
  const auto options = nlohmann::json::parse(read_file(json_path));
  std::vector<GoldenCase> cases;
  for (std::size_t i = 0; options.contains("case" + std::to_string(i)); ++i) {
    const std::string prefix = "case" + std::to_string(i) + ".";
    GoldenCase one;
    one.options = options["case" + std::to_string(i)];
    for (const auto& [name, entry] : header.items()) {
      if (name.rfind(prefix, 0) != 0) continue;
      require(entry["dtype"] == "F32", "{}: expected F32, found {}", name, entry["dtype"].dump());
      at::Tensor t = at::empty(entry["shape"].get<std::vector<std::int64_t>>(), at::kFloat);
      const auto offset = entry["data_offsets"][0].get<std::size_t>();
      require(8 + length + offset + t.nbytes() <= bytes.size(), "{}: the file ends early", name);
      std::memcpy(t.data_ptr(), bytes.data() + 8 + length + offset, t.nbytes());
      one.tensors[name.substr(prefix.size())] = t;
    }
    cases.push_back(std::move(one));
  }
  return cases;
}

void expect_golden(const std::string& what, const at::Tensor& actual, const at::Tensor& expected, bool gradient) {
  if (expected.defined()) expect_close(what, actual, expected, gradient ? 1e-3 : 1e-4, 1.0);
}

}  // namespace hymba::kernels::testing
