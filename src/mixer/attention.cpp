// Causal attention with grouped queries, its own V dim, RoPE, sliding window with an always-visible meta prefix, and
// cross-layer KV sharing (Hymba, arXiv 2411.13676, sections 2.1-2.3). Rows of the projection: q [H*P] | k [K*P] |
// v [K*V]; a layer that uses another layer's K and V has the q rows alone. Query head h reads KV head h / (H/K).
#include <ATen/ops/split_with_sizes.h>

#include <cmath>

#include "base/error.h"
#include "kernels/decode_attention/op.h"
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
    const KvView& kv = pass.kv.at(static_cast<std::size_t>(plan_.source));
    pass.observe(layer_, "attention", "q_BLHP", q_BLHP);
    pass.observe(layer_, "attention", "k_BSKP", kv.k_BSKP);
    return attend(q_BLHP, kv).reshape({batch, length, out_width()});
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

  MixerCache make_cache(const CacheShape& shape) const override {
    MixerCache cache;
    if (makes_kv()) cache.kv.emplace(shape, plan_.cache_window, meta_tokens_, kv_heads_, k_dim_, v_dim_);
    return cache;
  }

  StepFunction bind_step(const at::Tensor& p_BX, const at::Tensor& y_BE, StepBatch& step, MixerCache* mine) const override {
    const std::int64_t batch = step.batch;
    const at::Tensor q_BHP = step.buffer("attention.q", heads_ * k_dim_).view({batch, heads_, k_dim_});
    const StepFunction place_q = bind_position(p_BX.narrow(1, 0, heads_ * k_dim_), q_BHP, q_norm_P_, step);
    StepFunction append = [] {};
    if (makes_kv()) {
      KvCache* own = &*mine->kv;
      step.kv.at(static_cast<std::size_t>(layer_)) = own;
      const at::Tensor k_BKP = step.buffer("attention.k", kv_heads_ * k_dim_).view({batch, kv_heads_, k_dim_});
      const at::Tensor v_BKV = p_BX.narrow(1, (heads_ + kv_heads_) * k_dim_, kv_heads_ * v_dim_).view({batch, kv_heads_, v_dim_});
      append = [place_k = bind_position(p_BX.narrow(1, heads_ * k_dim_, kv_heads_ * k_dim_), k_BKP, k_norm_P_, step), own, k_BKP,
                v_BKV, lengths = step.lengths_B] {
        place_k();
        own->append_step(k_BKP, v_BKV, lengths);
      };
    }
    const KvCache* source = step.kv.at(static_cast<std::size_t>(plan_.source));
    const kernels::DecodeAttentionOptions options{plan_.window, meta_tokens_, 0};
    return [place_q, append, q_BHP, o_BHV = y_BE.view({batch, heads_, v_dim_}), source, lengths = step.lengths_B, options] {
      append();
      place_q();
      kernels::decode_attention_out(o_BHV, q_BHP, source->k(), source->v(), lengths, options);
    };
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

  // position() of one row of each sequence: from x [B, heads * P], strided, to out_BHP.
  StepFunction bind_position(const at::Tensor& x, const at::Tensor& out_BHP, const at::Tensor& norm_P, StepBatch& step) const {
    const std::int64_t heads = out_BHP.size(1);
    const at::Tensor heads_BHP = x.view({step.batch, heads, k_dim_});
    const at::Tensor normed = config_.rope && norm_P.defined() ? step.buffer("attention.normed", heads * k_dim_).view_as(out_BHP) : out_BHP;
    std::vector<std::pair<at::Tensor, at::Tensor>> norms;  // of each sequence: heads are rows
    for (std::int64_t b = 0; norm_P.defined() && b < step.batch; ++b) norms.emplace_back(normed.select(0, b), heads_BHP.select(0, b));
    return [this, out_BHP, from = norm_P.defined() ? normed : heads_BHP, norms, norm_P, lengths = step.lengths_B,
            frequencies = kernels::rope_frequencies(rope_base_, k_dim_)] {
      for (const auto& [to, row] : norms) kernels::rms_norm_out(to, row, norm_P, 1e-6);
      if (config_.rope) {
        kernels::rope_step_out(out_BHP, from, lengths, frequencies);
      } else if (norms.empty()) {
        out_BHP.copy_(from);
      }
    };
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
