// Mamba-2 (Dao and Gu, arXiv 2405.21060): state space duality with a scalar A a head, groups of B and C, and a gated
// norm. Rows of the projection: z [E] | x [E] | B [G*N] | C [G*N] | dt [H]. y = rms_norm(ssd(...) * silu(z)), by group.
#include <ATen/TensorOperators.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/split_with_sizes.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "kernels/causal_conv1d/op.h"
#include "kernels/rms_norm/op.h"
#include "kernels/ssd/op.h"
#include "mixer/mixer.h"
#include "mixer/ssm_init.h"

namespace hymba {
namespace {

namespace po = boost::program_options;

class Mamba2 : public Mixer {
 public:
  struct Config {
    std::int64_t expand = 0, inner = 0, state = 0, head_dim = 0, groups = 0, conv = 0, chunk = 0;
    bool gated_norm = true, norm_before_gate = false, conv_bias = true, in_bias = false, out_bias = false;
    double in_scale = 1, out_scale = 1, dt_floor = 0, dt_ceiling = 0;
    std::string scales;
    DtRange dt;

    po::options_description options() {
      po::options_description o;
      o.add_options()("mamba2.expand", po::value(&expand)->default_value(2), "inner width E = expand * hidden")(
          "mamba2.inner", po::value(&inner)->default_value(0), "inner width E; 0: expand * hidden")(
          "mamba2.state", po::value(&state)->default_value(128), "states N")(
          "mamba2.head_dim", po::value(&head_dim)->default_value(64), "channels P of a head")(
          "mamba2.groups", po::value(&groups)->default_value(1), "groups G of B and C")(
          "mamba2.conv", po::value(&conv)->default_value(4), "width of the causal convolution")(
          "mamba2.chunk", po::value(&chunk)->default_value(64), "tokens the scan handles at a time; changes no result")(
          "mamba2.gated_norm", po::value(&gated_norm)->default_value(true), "RMS norm of y * silu(z)")(
          "mamba2.norm_before_gate", po::value(&norm_before_gate)->default_value(false), "the norm is of y alone, silu(z) multiplies it")(
          "mamba2.conv_bias", po::value(&conv_bias)->default_value(true), "bias of the convolution")(
          "mamba2.in_bias", po::value(&in_bias)->default_value(false), "bias of the input projection")(
          "mamba2.out_bias", po::value(&out_bias)->default_value(false), "bias of the output projection")(
          "mamba2.in_scale", po::value(&in_scale)->default_value(1), "factor of the input")(
          "mamba2.scales", po::value(&scales)->default_value(""), "factors of z, x, B, C and dt: 1,1,1,1,1")(
          "mamba2.out_scale", po::value(&out_scale)->default_value(1), "factor of the output")(
          "mamba2.dt_floor", po::value(&dt_floor)->default_value(0), "dt is at least this")(
          "mamba2.dt_ceiling", po::value(&dt_ceiling)->default_value(0), "and at most this; 0: no limit")(
          "mamba2.dt_min", po::value(&dt.low)->default_value(0.001), "smallest dt at the start")(
          "mamba2.dt_max", po::value(&dt.high)->default_value(0.1), "largest dt at the start");
      return o;
    }
  };

  Mamba2(const Config& config, const MixerContext& c) : config_(config), layer_(c.layer), eps_(c.norm_eps) {
    check_size("mamba2.expand", config.expand);
    if (config.inner != 0) check_size("mamba2.inner", config.inner);
    check_size("mamba2.head_dim", config.head_dim);
    check_size("mamba2.groups", config.groups);
    check_size("mamba2.state", config.state);
    check_size("mamba2.conv", config.conv);
    check_size("mamba2.chunk", config.chunk);
    inner_ = config.inner != 0 ? config.inner : config.expand * c.hidden;
    require(inner_ % config.head_dim == 0,
            "mamba2.head_dim = {} does not divide the inner width {}", config.head_dim, inner_);
    heads_ = inner_ / config.head_dim;
    require(heads_ % config.groups == 0, "mamba2.groups = {} does not divide the {} heads",
            config.groups, heads_);
    conv_width_ = inner_ + 2 * config.groups * config.state;
    const auto add = [&](const std::string& name, const std::vector<std::int64_t>& shape, const Init& init, bool decay) {
      return c.store->add(c.prefix + name, shape, init, decay);
    };
    const double bound = 1 / std::sqrt(static_cast<double>(config.conv));
    conv_weight_ = add("conv.weight", {conv_width_, config.conv}, init_uniform(-bound, bound), true);
    if (config.conv_bias) conv_bias_ = add("conv.bias", {conv_width_}, init_uniform(-bound, bound), false);
    dt_bias_H_ = add("dt_bias", {heads_}, init_dt_bias(config.dt), false);
    A_log_H_ = add("A_log", {heads_}, init_A_log(), false);
    D_H_ = add("D", {heads_}, init_constant(1), false);
    read_scales(config, c.store->device());
    require(!config.norm_before_gate || config.gated_norm, "mamba2.norm_before_gate = true has no effect: mamba2.gated_norm is false");
    ssd_.chunk = config.chunk;
    ssd_.dt_min = config.dt_floor;
    if (config.dt_ceiling > 0) ssd_.dt_max = config.dt_ceiling;
    require(config.dt_floor >= 0 && config.dt_ceiling >= 0 && ssd_.dt_max >= ssd_.dt_min,
            "mamba2.dt_floor = {}, mamba2.dt_ceiling = {}: expected 0 <= floor <= ceiling", config.dt_floor, config.dt_ceiling);
    if (config.gated_norm) norm_E_ = add("norm.weight", {inner_}, init_constant(1), false);
  }

  std::int64_t in_rows() const override { return inner_ + conv_width_ + heads_; }
  std::int64_t out_width() const override { return inner_; }
  std::int64_t heads() const override { return heads_; }
  bool recurrent() const override { return true; }
  bool in_bias() const override { return config_.in_bias; }
  bool out_bias() const override { return config_.out_bias; }
  double in_scale() const override { return config_.in_scale; }
  double out_scale() const override { return config_.out_scale; }

  at::Tensor forward(const at::Tensor& p_BLX, Pass& pass, MixerCache* mine) const override {
    const std::int64_t batch = p_BLX.size(0), length = p_BLX.size(1), groups = config_.groups, state = config_.state;
    StateCache* cache = mine != nullptr ? &*mine->state : nullptr;
    const at::Tensor scaled_BLX = scale_X_.defined() ? p_BLX * scale_X_ : p_BLX;
    const auto z_xBC_dt = at::split_with_sizes(scaled_BLX, {inner_, conv_width_, heads_}, 2);
    auto [xBC, conv_state] = kernels::causal_conv1d(z_xBC_dt[1], conv_weight_, conv_bias_,
                                                    cache != nullptr ? cache->conv_BSE : at::Tensor(), true);
    const auto x_B_C = at::split_with_sizes(xBC, {inner_, groups * state, groups * state}, 2);
    const auto group = [&](const at::Tensor& rows) { return rows.view({batch, length, groups, state}); };
    if (pass.observer != nullptr) {
      pass.observe(layer_, "mamba2", "dt_BLH", at::softplus(z_xBC_dt[2] + dt_bias_H_));
      pass.observe(layer_, "mamba2", "A_H", A_log_H_.exp().neg());
      pass.observe(layer_, "mamba2", "B_BLGN", group(x_B_C[1]));
      pass.observe(layer_, "mamba2", "C_BLGN", group(x_B_C[2]));
    }
    auto [y_BLHP, h] = kernels::ssd(x_B_C[0].view({batch, length, heads_, config_.head_dim}),
                                    z_xBC_dt[2], A_log_H_.exp().neg(), group(x_B_C[1]),
                                    group(x_B_C[2]), D_H_, dt_bias_H_,
                                    cache != nullptr ? cache->ssm : at::Tensor(), ssd_);
    if (cache != nullptr) {
      cache->conv_BSE.copy_(conv_state);
      cache->ssm.copy_(h);
    }
    const at::Tensor y_BLE = y_BLHP.reshape({batch, length, inner_}), gate_BLE = at::silu(z_xBC_dt[0]);
    if (!norm_E_.defined()) return y_BLE * gate_BLE;
    return config_.norm_before_gate ? normed(y_BLE) * gate_BLE : normed(y_BLE * gate_BLE);
  }

  MixerCost cost() const override {
    MixerCost cost;
    cost.params = conv_width_ * (config_.conv + (conv_bias_.defined() ? 1 : 0)) + 3 * heads_ + (norm_E_.defined() ? inner_ : 0);
    const auto e = static_cast<double>(inner_), n = static_cast<double>(config_.state);
    cost.flops_per_token = 2 * static_cast<double>(conv_width_ * config_.conv) + e * (6 * n + 8);
    return cost;
  }

  CacheBytes cache_bytes(const CacheQuery& query) const override {
    CacheBytes bytes;
    const bool paper = query.accounting == Accounting::kPaper;
    const double size = paper ? query.bytes_kv : 4;
    bytes.ssm = size * static_cast<double>(inner_ * config_.state);
    if (!paper || query.only_mixer) bytes.conv = size * static_cast<double>(conv_width_ * (config_.conv - 1));
    return bytes;
  }

  MixerCache make_cache(const CacheShape& shape) const override {
    MixerCache cache;
    const auto options = at::TensorOptions(at::kFloat).device(shape.device);
    cache.state = StateCache{at::zeros({shape.batch, config_.conv - 1, conv_width_}, options),
                             at::zeros({shape.batch, heads_, config_.head_dim, config_.state}, options)};
    return cache;
  }

  StepFunction bind_step(const at::Tensor& p_BX, const at::Tensor& y_BE, StepBatch& step, MixerCache* mine) const override {
    const std::int64_t batch = step.batch, groups = config_.groups, state = config_.state, width = inner_ / groups;
    at::Tensor scaled = scale_X_.defined() ? step.buffer("mamba2.scaled", in_rows()) : at::Tensor();
    const auto z_xBC_dt = at::split_with_sizes(scaled.defined() ? scaled : p_BX, {inner_, conv_width_, heads_}, 1);
    const at::Tensor xBC = step.buffer("mamba2.xBC", conv_width_);
    at::Tensor gate = step.buffer("mamba2.gate", inner_);
    const auto x_B_C = at::split_with_sizes(xBC, {inner_, groups * state, groups * state}, 1);
    const auto group = [&](const at::Tensor& rows) { return rows.view({batch, groups, state}); };
    const at::Tensor y = norm_E_.defined() ? step.buffer("mamba2.y", inner_) : y_BE;
    std::vector<std::array<at::Tensor, 3>> norms;  // of each group: where to, where from, weight
    for (std::int64_t g = 0; norm_E_.defined() && g < groups; ++g) {
      norms.push_back({y_BE.narrow(1, g * width, width), y.narrow(1, g * width, width), norm_E_.detach().narrow(0, g * width, width)});
    }
    return [this, p_BX, scaled, z = z_xBC_dt[0], in = z_xBC_dt[1], dt = z_xBC_dt[2], x = x_B_C[0].view({batch, heads_, config_.head_dim}),
            B = group(x_B_C[1]), C = group(x_B_C[2]), y, y_BE, y_BHP = y.view({batch, heads_, config_.head_dim}), xBC, gate, norms,
            A_H = A_log_H_.detach().exp().neg(), cache = *mine->state]() mutable {
      if (scaled.defined()) at::mul_out(scaled, p_BX, scale_X_);
      kernels::conv_update_out(xBC, cache.conv_BSE, in, conv_weight_, conv_bias_, true);
      kernels::ssd_state_update_out(y_BHP, cache.ssm, x, dt, A_H, B, C, D_H_, dt_bias_H_, ssd_);
      at::silu_out(gate, z);
      if (!config_.norm_before_gate) y.mul_(gate);
      for (const auto& [to, from, weight] : norms) kernels::rms_norm_out(to, from, weight, eps_);
      if (config_.norm_before_gate) y_BE.mul_(gate);
    };
  }

  std::vector<std::pair<std::string, std::int64_t>> facts() const override {
    return {{"inner", inner_}, {"state", config_.state}, {"heads", heads_}, {"groups", config_.groups}};
  }

 private:
  // RMS norm within each group of channels.
  at::Tensor normed(const at::Tensor& y_BLE) const {
    if (config_.groups == 1) return kernels::rms_norm(y_BLE, norm_E_, eps_);
    const std::int64_t width = inner_ / config_.groups;
    const at::Tensor y = y_BLE.reshape({y_BLE.size(0), y_BLE.size(1), config_.groups, width});
    return kernels::rms_norm(y, at::ones({width}, y.options()), eps_).reshape(y_BLE.sizes()) * norm_E_;
  }

  // mamba2.scales as one factor for each row of the projection; none where all are 1.
  void read_scales(const Config& config, const at::Device& device) {
    if (config.scales.empty()) return;
    const auto words = split(config.scales, ',');
    require(words.size() == 5, "mamba2.scales = {}: expected five factors, of z, x, B, C and dt", config.scales);
    const std::int64_t state = config.groups * config.state, rows[] = {inner_, inner_, state, state, heads_};
    std::vector<double> scale;
    for (std::size_t i = 0; i < 5; ++i) {
      const double factor = parse_double(trim(words[i]), "mamba2.scales");
      require(std::isfinite(factor), "mamba2.scales = {}: expected finite numbers", config.scales);
      scale.insert(scale.end(), static_cast<std::size_t>(rows[i]), factor);
    }
    if (std::all_of(scale.begin(), scale.end(), [](double factor) { return factor == 1; })) return;
    scale_X_ = at::tensor(scale, at::kFloat).to(device);
  }

  // A uniform in [1, 16) a head (Mamba-2's released initialisation).
  static Init init_A_log() {
    return [](at::Tensor& value, Rng& rng) {
      float* data = value.data_ptr<float>();
      for (std::int64_t i = 0; i < value.numel(); ++i) data[i] = static_cast<float>(std::log(1 + 15 * rng.uniform()));
    };
  }

  Config config_;
  std::int64_t layer_;
  double eps_;
  std::int64_t inner_ = 0, heads_ = 0, conv_width_ = 0;
  at::Tensor conv_weight_, conv_bias_, dt_bias_H_, A_log_H_, D_H_, norm_E_;
  at::Tensor scale_X_;  // constant; undefined: all 1
  kernels::SsdOptions ssd_;
};

const RegisterMixer<Mamba2> kRegistered("mamba2");

}  // namespace
}  // namespace hymba
