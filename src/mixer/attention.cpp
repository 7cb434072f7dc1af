// Causal attention with grouped queries, its own V dim, RoPE, sliding window with an always-visible meta prefix, and
// cross-layer KV sharing (Hymba, arXiv 2411.13676, sections 2.1-2.3). Rows of the projection: q [H*P] | k [K*P] |
// v [K*V]; a layer that uses another layer's K and V has the q rows alone. Query head h reads KV head h / (H/K).
#include <ATen/ops/split_with_sizes.h>

#include <cmath>

#include "base/error.h"
#include "kernels/rms_norm/op.h"
#include "kernels/rope/op.h"
#include "kernels/window_attention/op.h"
#include "mixer/attention_plan.h"
#include "mixer/mixer.h"

namespace hymba {
namespace {

namespace po = boost::program_options;

class Attention : public Mixer {
 public:
  struct Config {
    std::int64_t heads = 0, kv_heads = 0, head_dim = 0, v_dim = 0;
    AttentionPlanOptions plan;
    bool rope = true;
    double rope_theta = 0;
    std::string rope_scaling, qk_norm;
    std::int64_t rope_max = 0, rope_original = 0;

    po::options_description options() {
      po::options_description o;
      o.add_options()("attention.heads", po::value(&heads)->default_value(8), "query heads H")(
          "attention.kv_heads", po::value(&kv_heads)->default_value(0), "KV heads K, a divisor of H; 0: H")(
          "attention.head_dim", po::value(&head_dim)->default_value(0), "dim P of a query and key head; 0: hidden / H")(
          "attention.v_dim", po::value(&v_dim)->default_value(0), "dim V of a value head; 0: P")(
          "attention.window", po::value(&plan.window)->default_value(0), "keys a query sees, itself included; 0: all")(
          "attention.full_layers", po::value(&plan.full_layers)->default_value("none"),
          "layers without the window: first,middle,last, numbers, none, all")(
          "attention.kv_share", po::value(&plan.kv_share)->default_value(1), "neighbouring window layers that share K and V")(
          "attention.kv_groups", po::value(&plan.kv_groups)->default_value(""), "explicit sharing: 1-2, 3-4-5")(
          "attention.rope", po::value(&rope)->default_value(true), "rotary positions")(
          "attention.rope_theta", po::value(&rope_theta)->default_value(10000), "base of the rotary angles")(
          "attention.rope_scaling", po::value(&rope_scaling)->default_value("none"), "none or ntk")(
          "attention.rope_max", po::value(&rope_max)->default_value(0), "ntk: positions to reach")(
          "attention.rope_original", po::value(&rope_original)->default_value(0), "ntk: positions of the base")(
          "attention.qk_norm", po::value(&qk_norm)->default_value("none"), "none or rms: RMS norm of q and k before RoPE");
      return o;
    }
  };

  Attention(const Config& config, const MixerContext& context)
      : config_(config), layer_(context.layer), meta_tokens_(context.meta_tokens) {
    heads_ = config.heads;
    kv_heads_ = config.kv_heads == 0 ? heads_ : config.kv_heads;
    require(heads_ > 0 && kv_heads_ > 0 && heads_ % kv_heads_ == 0,
            "attention.heads = {} is not a multiple of attention.kv_heads = {}", heads_, kv_heads_);
    require(config.head_dim != 0 || context.hidden % heads_ == 0,
            "hidden = {} is not a multiple of attention.heads = {}; set attention.head_dim", context.hidden, heads_);
    k_dim_ = config.head_dim == 0 ? context.hidden / heads_ : config.head_dim;
    v_dim_ = config.v_dim == 0 ? k_dim_ : config.v_dim;
    require(k_dim_ > 0 && v_dim_ > 0, "attention.head_dim = {}, attention.v_dim = {}: expected positive", k_dim_, v_dim_);
    require(!config.rope || k_dim_ % 2 == 0, "attention.head_dim = {}: RoPE needs an even number", k_dim_);
    plan_ = plan_attention(config.plan, context.peers).at(layer_);
    share_ = config.plan.kv_share;
    read_rope();
    require(config.qk_norm == "none" || config.qk_norm == "rms", "attention.qk_norm = {}: expected none or rms",
            config.qk_norm);
    if (config.qk_norm == "rms") {
      q_norm_P_ = context.store->add(context.prefix + "q_norm.weight", {k_dim_}, init_constant(1), false);
      if (makes_kv()) k_norm_P_ = context.store->add(context.prefix + "k_norm.weight", {k_dim_}, init_constant(1), false);
    }
  }

  std::int64_t in_rows() const override {
    return heads_ * k_dim_ + (makes_kv() ? kv_heads_ * (k_dim_ + v_dim_) : 0);
  }
  std::int64_t out_width() const override { return heads_ * v_dim_; }
  std::int64_t heads() const override { return heads_; }
  bool attends() const override { return true; }

  at::Tensor forward(const at::Tensor& p_BLX, Pass& pass, MixerCache* mine) const override {
    const std::int64_t batch = p_BLX.size(0), length = p_BLX.size(1);
    const auto heads_of = [&](const at::Tensor& rows, std::int64_t heads, std::int64_t dim) {
      return rows.view({batch, length, heads, dim});
    };
    std::vector<at::Tensor> qkv = {p_BLX};
    if (makes_kv()) qkv = at::split_with_sizes(p_BLX, {heads_ * k_dim_, kv_heads_ * k_dim_, kv_heads_ * v_dim_}, 2);
    const at::Tensor q_BLHP = position(heads_of(qkv[0], heads_, k_dim_), q_norm_P_, pass.position);
    if (makes_kv()) {
      const at::Tensor k_BLKP = position(heads_of(qkv[1], kv_heads_, k_dim_), k_norm_P_, pass.position);
      const at::Tensor v_BLKV = heads_of(qkv[2], kv_heads_, v_dim_);
      auto& view = pass.kv.at(static_cast<std::size_t>(layer_));
      view = mine != nullptr ? mine->kv->append(k_BLKP, v_BLKV, pass.position) : KvView{k_BLKP, v_BLKV, 0, 0, false};
    }
    return attend(q_BLHP, pass.kv.at(static_cast<std::size_t>(plan_.source))).reshape({batch, length, out_width()});
  }

  MixerCost cost() const override {
    MixerCost cost;
    if (q_norm_P_.defined()) cost.params += k_dim_ * (makes_kv() ? 2 : 1);
    cost.flops_per_visible_key = 2.0 * static_cast<double>(heads_ * (k_dim_ + v_dim_));
    cost.window = plan_.window;
    return cost;
  }

  CacheBytes cache_bytes(const CacheQuery& query) const override {
    CacheBytes bytes;
    const double per_token = query.bytes_kv * static_cast<double>(kv_heads_ * (k_dim_ + v_dim_));
    const auto context = static_cast<double>(query.context), meta = static_cast<double>(meta_tokens_);
    const auto rows = [&](std::int64_t window) {
      return window < 0 ? context : std::min(context, static_cast<double>(window));
    };
    if (query.accounting == Accounting::kPaper && config_.plan.kv_groups.empty()) {
      const bool full = plan_.window < 0;
      const double share = full ? 1 : 1 / static_cast<double>(share_);
      (full ? bytes.kv_full : bytes.kv_window) = rows(plan_.window) * per_token * share;
      bytes.kv_shared_saved = rows(plan_.window) * per_token * (1 - share);
      bytes.meta = full ? meta * per_token : 0;
    } else if (!makes_kv()) {
      bytes.kv_shared_saved = (rows(plan_.window) + meta) * per_token;
    } else {
      (plan_.cache_window < 0 ? bytes.kv_full : bytes.kv_window) = rows(plan_.cache_window) * per_token;
      bytes.meta = query.accounting == Accounting::kPaper && plan_.window >= 0 ? 0 : meta * per_token;
    }
    return bytes;
  }

  MixerCache make_cache(std::int64_t batch, std::int64_t capacity) const override {
    MixerCache cache;
    if (makes_kv()) cache.kv.emplace(batch, capacity, plan_.cache_window, meta_tokens_, kv_heads_, k_dim_, v_dim_);
    return cache;
  }

  std::vector<std::pair<std::string, std::int64_t>> facts() const override {
    return {{"window", plan_.window}, {"kv_source", plan_.source}, {"heads", heads_}, {"kv_heads", kv_heads_},
            {"head_dim", k_dim_}, {"v_dim", v_dim_}};
  }

 private:
  bool makes_kv() const { return plan_.source == layer_; }

  void read_rope() {
    const auto& scaling = config_.rope_scaling;
    require(scaling == "none" || scaling == "ntk", "attention.rope_scaling = {}: expected none or ntk", scaling);
    require(scaling == "none" || config_.rope, "attention.rope_scaling = {} has no effect: attention.rope is false", scaling);
    rope_base_ = config_.rope_theta;
    if (scaling == "ntk") {  // static NTK: base * (2 max / original - 1)^(P / (P - 2))
      require(config_.rope_max > 0 && config_.rope_original > 0,
              "attention.rope_scaling = ntk needs attention.rope_max and attention.rope_original");
      const double ratio = 2.0 * static_cast<double>(config_.rope_max) / static_cast<double>(config_.rope_original) - 1;
      const auto dim = static_cast<double>(k_dim_);
      rope_base_ *= std::pow(ratio, dim / (dim - 2));
    } else {
      require(config_.rope_max == 0 && config_.rope_original == 0,
              "attention.rope_max and attention.rope_original have no effect without attention.rope_scaling = ntk");
    }
  }

  at::Tensor position(const at::Tensor& x_BLHP, const at::Tensor& norm_P, std::int64_t first) const {
    const at::Tensor normed = norm_P.defined() ? kernels::rms_norm(x_BLHP, norm_P, 1e-6) : x_BLHP;
    return config_.rope ? kernels::rope(normed, first, rope_base_) : normed;
  }

  at::Tensor attend(const at::Tensor& q_BLHP, const KvView& kv) const {
    kernels::WindowAttentionOptions options;
    if (kv.unordered) {  // one step on a full ring: all that is in it is visible
      options.q_start = kv.k_BSKP.size(1) - 1;
    } else {
      options.window = plan_.window;
      options.prefix = meta_tokens_;
      options.key_gap = kv.key_gap;
      options.q_start = kv.q_start;
    }
    return kernels::window_attention(q_BLHP, kv.k_BSKP, kv.v_BSKV, options);
  }

  Config config_;
  std::int64_t layer_, meta_tokens_, heads_ = 0, kv_heads_ = 0, k_dim_ = 0, v_dim_ = 0, share_ = 1;
  double rope_base_ = 10000;
  AttentionLayer plan_;
  at::Tensor q_norm_P_, k_norm_P_;
};

const RegisterMixer<Attention> kRegistered("attention");

}  // namespace
}  // namespace hymba
