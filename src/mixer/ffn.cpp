// Feed-forward network as a mixer of channels: SwiGLU (Shazeer, arXiv 2002.05202), rows gate [I] | up [I], or squared
// ReLU (So et al., arXiv 2109.08668), rows up [I]. The layer's output projection is its down projection.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/split_with_sizes.h>
#include <ATen/ops/square.h>

#include <cmath>

#include "base/error.h"
#include "kernels/swiglu/op.h"
#include "mixer/mixer.h"

namespace hymba {
namespace {

namespace po = boost::program_options;

template <bool kGated>
class Ffn : public Mixer {
 public:
  struct Config {
    std::int64_t hidden = 0;
    bool bias = false;
    double gate_scale = 1, out_scale = 1;

    po::options_description options() {
      po::options_description o;
      o.add_options()("ffn.hidden", po::value(&hidden)->default_value(0),
                      "width I; 0: 8/3 of hidden, rounded up to a multiple of 32")(
          "ffn.bias", po::value(&bias)->default_value(false), "biases of its projections")(
          "ffn.out_scale", po::value(&out_scale)->default_value(1), "factor of the output");
      if constexpr (kGated) o.add_options()("ffn.gate_scale", po::value(&gate_scale)->default_value(1), "swiglu: factor of the gate");
      return o;
    }
  };

  Ffn(const Config& config, const MixerContext& context) : config_(config) {
    require(std::isfinite(config.gate_scale), "ffn.gate_scale: expected a finite number");
    width_ = config.hidden != 0 ? config.hidden : (context.hidden * 8 / 3 + 31) / 32 * 32;
    check_size("ffn.hidden", width_);
  }

  std::int64_t in_rows() const override { return kGated ? 2 * width_ : width_; }
  std::int64_t out_width() const override { return width_; }
  bool in_bias() const override { return config_.bias; }
  bool out_bias() const override { return config_.bias; }
  double out_scale() const override { return config_.out_scale; }
  at::Tensor forward(const at::Tensor& p_BLX, Pass&, MixerCache*) const override {
    if constexpr (kGated) {
      if (config_.gate_scale == 1) return kernels::swiglu(p_BLX);
      const auto gate_up = at::split_with_sizes(p_BLX, {width_, width_}, 2);
      return kernels::swiglu(at::cat({gate_up[0] * config_.gate_scale, gate_up[1]}, 2));
    }
    return p_BLX.relu().square();
  }
  StepFunction bind_step(const at::Tensor& p_BX, const at::Tensor& y_BE, StepBatch&, MixerCache*) const override {
    if constexpr (kGated) {
      return [p_BX, y_BE, gate = p_BX.narrow(1, 0, width_), scale = config_.gate_scale]() mutable {
        if (scale != 1) gate.mul_(scale);  // p_BX is scratch of this step
        kernels::swiglu_out(y_BE, p_BX);
      };
    }
    return [p_BX, y = y_BE]() mutable { at::square_out(y, at::relu_out(y, p_BX)); };
  }

  MixerCost cost() const override {
    MixerCost cost;
    cost.flops_per_token = (kGated ? 5.0 : 2.0) * static_cast<double>(width_);
    return cost;
  }
  std::vector<std::pair<std::string, std::int64_t>> facts() const override { return {{"width", width_}}; }

 private:
  Config config_;
  std::int64_t width_ = 0;
};

const RegisterMixer<Ffn<true>> kSwiglu("swiglu", /*channels=*/true);
const RegisterMixer<Ffn<false>> kRelu2("relu2", /*channels=*/true);

}  // namespace
}  // namespace hymba
