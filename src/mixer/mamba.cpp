// Mamba-1 (Gu and Dao, arXiv 2312.00752, algorithm 2), with Hymba's optional norms of dt, B and C. Rows of the
// projection: u [E] | gate [E]. u = silu(conv(u)); dt, B, C = x_proj(u); h = exp(dt A) h + dt u B; y = (h.C + D u) silu(gate).
#include <ATen/TensorOperators.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/split_with_sizes.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "base/error.h"
#include "kernels/causal_conv1d/op.h"
#include "kernels/rms_norm/op.h"
#include "kernels/selective_scan/op.h"
#include "mixer/mixer.h"
#include "mixer/ssm_init.h"
#include "nn/linear.h"

namespace hymba {
namespace {

namespace po = boost::program_options;

class Mamba : public Mixer {
 public:
  struct Config {
    std::int64_t expand = 0, state = 0, conv = 0, dt_rank = 0;
    bool inner_norms = true, conv_bias = true, proj_bias = false;
    DtRange dt;

    po::options_description options() {
      po::options_description o;
      o.add_options()("mamba.expand", po::value(&expand)->default_value(2), "inner width E = expand * hidden")(
          "mamba.state", po::value(&state)->default_value(16), "states N of a channel")(
          "mamba.conv", po::value(&conv)->default_value(4), "width of the causal convolution")(
          "mamba.dt_rank", po::value(&dt_rank)->default_value(0), "rank R of dt; 0: ceil(hidden / 16)")(
          "mamba.inner_norms", po::value(&inner_norms)->default_value(true), "RMS norms of dt, B and C (Hymba, Jamba)")(
          "mamba.conv_bias", po::value(&conv_bias)->default_value(true), "bias of the convolution")(
          "mamba.proj_bias", po::value(&proj_bias)->default_value(false), "biases of the layer's projections")(
          "mamba.dt_min", po::value(&dt.low)->default_value(0.001), "smallest dt at the start")(
          "mamba.dt_max", po::value(&dt.high)->default_value(0.1), "largest dt at the start");
      return o;
    }
  };

  Mamba(const Config& config, const MixerContext& c) : layer_(c.layer), eps_(c.norm_eps), proj_bias_(config.proj_bias) {
    check_size("mamba.expand", config.expand);
    check_size("mamba.state", config.state);
    check_size("mamba.conv", config.conv);
    if (config.dt_rank != 0) check_size("mamba.dt_rank", config.dt_rank);
    inner_ = config.expand * c.hidden;
    state_ = config.state;
    conv_ = config.conv;
    rank_ = config.dt_rank == 0 ? (c.hidden + 15) / 16 : config.dt_rank;
    const auto add = [&](const std::string& name, const std::vector<std::int64_t>& shape, const Init& init, bool decay) {
      return c.store->add(c.prefix + name, shape, init, decay);
    };
    const double conv_bound = 1 / std::sqrt(static_cast<double>(conv_));
    conv_weight_EW_ = add("conv.weight", {inner_, conv_}, init_uniform(-conv_bound, conv_bound), true);
    if (config.conv_bias) conv_bias_E_ = add("conv.bias", {inner_}, init_uniform(-conv_bound, conv_bound), false);
    x_proj_ = c.store->add_product(c.prefix + "x_proj.weight", {rank_ + 2 * state_, inner_}, init_normal(c.init_std));
    const double dt_bound = 1 / std::sqrt(static_cast<double>(rank_));
    dt_proj_ER_ = c.store->add_product(c.prefix + "dt_proj.weight", {inner_, rank_}, init_uniform(-dt_bound, dt_bound));
    dt_bias_E_ = add("dt_proj.bias", {inner_}, init_dt_bias(config.dt), false);
    A_log_EN_ = add("A_log", {inner_, state_}, init_s4d_real(state_), false);
    D_E_ = add("D", {inner_}, init_constant(1), false);
    if (config.inner_norms) {
      dt_norm_R_ = add("dt_norm.weight", {rank_}, init_constant(1), false);
      B_norm_N_ = add("B_norm.weight", {state_}, init_constant(1), false);
      C_norm_N_ = add("C_norm.weight", {state_}, init_constant(1), false);
    }
  }

  std::int64_t in_rows() const override { return 2 * inner_; }
  std::int64_t out_width() const override { return inner_; }
  bool recurrent() const override { return true; }
  bool in_bias() const override { return proj_bias_; }
  bool out_bias() const override { return proj_bias_; }

  at::Tensor forward(const at::Tensor& p_BLX, Pass& pass, MixerCache* mine) const override {
    const auto u_gate = at::split_with_sizes(p_BLX, {inner_, inner_}, 2);
    StateCache* cache = mine != nullptr ? &*mine->state : nullptr;
    auto [u_BLE, conv_state] = kernels::causal_conv1d(u_gate[0], conv_weight_EW_, conv_bias_E_,
                                                      cache != nullptr ? cache->conv_BSE : at::Tensor(), true);
    const auto dt_B_C = at::split_with_sizes(product(u_BLE, x_proj_), {rank_, state_, state_}, 2);
    const auto normed = [&](const at::Tensor& part, const at::Tensor& weight) {
      return weight.defined() ? kernels::rms_norm(part, weight, eps_) : part;
    };
    const at::Tensor dt_BLE = product(normed(dt_B_C[0], dt_norm_R_), dt_proj_ER_);
    const at::Tensor A_EN = A_log_EN_.exp().neg();
    const at::Tensor B_BLN = normed(dt_B_C[1], B_norm_N_), C_BLN = normed(dt_B_C[2], C_norm_N_);
    if (pass.observer != nullptr) {
      pass.observe(layer_, "mamba", "u_BLE", u_BLE);
      pass.observe(layer_, "mamba", "dt_BLE", at::softplus(dt_BLE + dt_bias_E_));
      pass.observe(layer_, "mamba", "A_EN", A_EN);
      pass.observe(layer_, "mamba", "B_BLN", B_BLN);
      pass.observe(layer_, "mamba", "C_BLN", C_BLN);
    }
    auto [y_BLE, state] = kernels::selective_scan(u_BLE, dt_BLE, A_EN, B_BLN, C_BLN, D_E_, u_gate[1], dt_bias_E_,
                                                  cache != nullptr ? cache->ssm : at::Tensor());
    if (cache != nullptr) {
      cache->conv_BSE.copy_(conv_state);
      cache->ssm.copy_(state);
    }
    return y_BLE;
  }

  MixerCost cost() const override {
    MixerCost cost;
    cost.params = inner_ * (conv_ + (conv_bias_E_.defined() ? 1 : 0) + rank_ + 2 * state_ + rank_ + 1 + state_ + 1) +
                  (dt_norm_R_.defined() ? rank_ + 2 * state_ : 0);
    const auto e = static_cast<double>(inner_), n = static_cast<double>(state_), r = static_cast<double>(rank_);
    // conv, x_proj, dt_proj, and the scan: exp counted as 1, two multiply-adds and two products a state.
    cost.flops_per_token = e * (2 * static_cast<double>(conv_) + 2 * (r + 2 * n) + 2 * r + 7 * n + 6);
    return cost;
  }

  CacheBytes cache_bytes(const CacheQuery& query) const override {
    CacheBytes bytes;
    const bool paper = query.accounting == Accounting::kPaper;
    const double size = paper ? query.bytes_kv : 4;
    bytes.ssm = size * static_cast<double>(inner_ * state_);
    if (!paper || query.only_mixer) bytes.conv = size * static_cast<double>(inner_ * (conv_ - 1));
    return bytes;
  }

  MixerCache make_cache(const CacheShape& shape) const override {
    MixerCache cache;
    const auto options = at::TensorOptions(at::kFloat).device(shape.device);
    cache.state = StateCache{at::zeros({shape.batch, conv_ - 1, inner_}, options),
                             at::zeros({shape.batch, inner_, state_}, options)};
    return cache;
  }

  StepFunction bind_step(const at::Tensor& p_BX, const at::Tensor& y_BE, StepBatch& step, MixerCache* mine) const override {
    const at::Tensor u_BE = step.buffer("mamba.u", inner_), dt_BE = step.buffer("mamba.dt", inner_);
    const at::Tensor raw = step.buffer("mamba.dt_B_C", rank_ + 2 * state_);
    const at::Tensor normed = dt_norm_R_.defined() ? step.buffer("mamba.dt_B_C normed", rank_ + 2 * state_) : raw;
    const auto slices = [&](const at::Tensor& t) { return at::split_with_sizes(t, {rank_, state_, state_}, 1); };
    return [this, in = at::split_with_sizes(p_BX, {inner_, inner_}, 1), raw, from = slices(raw), dt_B_C = slices(normed), u_BE,
            dt_BE, y_BE, A_EN = A_log_EN_.detach().exp().neg(), cache = *mine->state] {
      kernels::conv_update_out(u_BE, cache.conv_BSE, in[0], conv_weight_EW_, conv_bias_E_, true);
      product_out(raw, u_BE, x_proj_);
      if (dt_norm_R_.defined()) {
        kernels::rms_norm_out(dt_B_C[0], from[0], dt_norm_R_, eps_);
        kernels::rms_norm_out(dt_B_C[1], from[1], B_norm_N_, eps_);
        kernels::rms_norm_out(dt_B_C[2], from[2], C_norm_N_, eps_);
      }
      product_out(dt_BE, dt_B_C[0], dt_proj_ER_);
      kernels::selective_state_update_out(y_BE, cache.ssm, u_BE, dt_BE, A_EN, dt_B_C[1], dt_B_C[2], D_E_, in[1], dt_bias_E_);
    };
  }

  std::vector<std::pair<std::string, std::int64_t>> facts() const override {
    return {{"inner", inner_}, {"state", state_}, {"dt_rank", rank_}};
  }

 private:
  std::int64_t layer_, inner_, state_, conv_, rank_;
  double eps_;
  bool proj_bias_;
  at::Tensor conv_weight_EW_, conv_bias_E_, x_proj_, dt_proj_ER_, dt_bias_E_, A_log_EN_, D_E_, dt_norm_R_, B_norm_N_, C_norm_N_;
};

const RegisterMixer<Mamba> kRegistered("mamba");

}  // namespace
}  // namespace hymba
