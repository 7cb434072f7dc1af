// Causal attention with grouped queries, its own V dim, RoPE, sliding window with an always-visible meta prefix, and
// cross-layer KV sharing (Hymba, arXiv 2411.13676, sections 2.1-2.3). Rows of the projection: q [H*P] | k [K*P] |
// v [K*V]; a layer that uses another layer's K and V has the q rows alone. Query head h reads KV head h / (H/K).
#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/split_with_sizes.h>
#include <c10/core/GradMode.h>

#include <cmath>

#include "base/error.h"
#include "kernels/decode_attention/op.h"
#include "kernels/rms_norm/op.h"
#include "kernels/rope/op.h"
#include "kernels/window_attention/op.h"
#include "mixer/attention_plan.h"
#include "mixer/mixer.h"
#include "mixer/rope_options.h"
#include "nn/linear.h"

namespace hymba {
namespace {

constexpr double kNormEps = 1e-6;  // of q and k: always this value, whatever norm_eps is (Hymba's reference)

namespace po = boost::program_options;

class Attention : public Mixer {
 public:
  struct Config {
    std::int64_t heads = 0, kv_heads = 0, head_dim = 0, v_dim = 0;
    AttentionPlanOptions plan;
    RopeOptions rope;
    std::string qk_norm, bias;
    double in_scale = 1, key_scale = 1, out_scale = 1;

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
          "attention.qk_norm", po::value(&qk_norm)->default_value("none"),
          "RMS norm of q and k before RoPE: none, rms (one weight for all heads) or rms_per_head")(
          "attention.bias", po::value(&bias)->default_value("none"), "none, qkv, or all: also of the output projection")(
          "attention.in_scale", po::value(&in_scale)->default_value(1), "factor of the input")(
          "attention.key_scale", po::value(&key_scale)->default_value(1), "factor of the keys")(
          "attention.out_scale", po::value(&out_scale)->default_value(1), "factor of the output");
      rope.add_to(o);
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
    constexpr std::int64_t kMost = 1 << 16;  // products of two of them stay far below 64 bits
    require(k_dim_ > 0 && v_dim_ > 0 && heads_ <= kMost && k_dim_ <= kMost && v_dim_ <= kMost,
            "attention.heads = {}, attention.head_dim = {}, attention.v_dim = {}: expected positive numbers, at most {}", heads_, k_dim_, v_dim_, kMost);
    config_.rope.check(k_dim_);
    if (config_.rope.rope) inv_freq_ = config_.rope.frequencies(k_dim_, 0);
    require(config.bias == "none" || config.bias == "qkv" || config.bias == "all", "attention.bias = {}: expected none, qkv or all", config.bias);
    require(std::isfinite(config.key_scale), "attention.key_scale: expected a finite number");
    plan_ = plan_attention(config.plan, context.peers).at(layer_);
    share_ = config.plan.kv_share;
    add_norms(context);
  }

  std::int64_t in_rows() const override {
    return heads_ * k_dim_ + (makes_kv() ? kv_heads_ * (k_dim_ + v_dim_) : 0);
  }
  std::int64_t out_width() const override { return heads_ * v_dim_; }
  std::int64_t heads() const override { return heads_; }
  bool attends() const override { return true; }
  bool reads_in_parts(std::int64_t positions) const override { return !config_.rope.depends_on(positions); }
  bool in_bias() const override { return config_.bias != "none"; }
  bool out_bias() const override { return config_.bias == "all"; }
  double in_scale() const override { return config_.in_scale; }
  double out_scale() const override { return config_.out_scale; }

  at::Tensor forward(const at::Tensor& p_BLX, Pass& pass, MixerCache* mine) const override {
    const std::int64_t batch = p_BLX.size(0), length = p_BLX.size(1);
    const auto heads_of = [&](const at::Tensor& rows, std::int64_t heads, std::int64_t dim) {
      return rows.view({batch, length, heads, dim});
    };
    std::vector<at::Tensor> qkv = {p_BLX};
    if (makes_kv()) qkv = at::split_with_sizes(p_BLX, {heads_ * k_dim_, kv_heads_ * k_dim_, kv_heads_ * v_dim_}, 2);
    check_position(pass.position + length, mine != nullptr && pass.position > 0);
    const at::Tensor q_BLHP = position(heads_of(qkv[0], heads_, k_dim_), q_norm_, pass.position);
    if (makes_kv()) {
      at::Tensor k_BLKP = heads_of(qkv[1], kv_heads_, k_dim_);
      if (config_.key_scale != 1) k_BLKP = k_BLKP * config_.key_scale;
      k_BLKP = position(k_BLKP, k_norm_, pass.position);
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
    for (const auto& norm : {q_norm_, k_norm_}) cost.params += norm.defined() ? norm.numel() : 0;
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
    const StepFunction place_q = bind_position(p_BX.narrow(1, 0, heads_ * k_dim_), q_BHP, q_norm_, step);
    StepFunction append = [] {};
    if (makes_kv()) {
      KvCache* own = &*mine->kv;
      step.kv.at(static_cast<std::size_t>(layer_)) = own;
      const at::Tensor k_BKP = step.buffer("attention.k", kv_heads_ * k_dim_).view({batch, kv_heads_, k_dim_});
      const at::Tensor v_BKV = p_BX.narrow(1, (heads_ + kv_heads_) * k_dim_, kv_heads_ * v_dim_).view({batch, kv_heads_, v_dim_});
      const at::Tensor raw_BK = p_BX.narrow(1, heads_ * k_dim_, kv_heads_ * k_dim_);
      append = [scale = config_.key_scale, raw_BK, place_k = bind_position(raw_BK, k_BKP, k_norm_, step), own, k_BKP, v_BKV,
                lengths = step.device_lengths_B] {
        if (scale != 1) raw_BK.mul_(scale);
        place_k();
        own->append_step(k_BKP, v_BKV, lengths);
      };
    }
    const KvCache* source = step.kv.at(static_cast<std::size_t>(plan_.source));
    const kernels::DecodeAttentionOptions options{plan_.window, meta_tokens_, 0};
    return [place_q, append, q_BHP, o_BHV = y_BE.view({batch, heads_, v_dim_}), source, lengths = step.device_lengths_B, options] {
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

  void add_norms(const MixerContext& context) {
    const auto& kind = config_.qk_norm;
    require(kind == "none" || kind == "rms" || kind == "rms_per_head", "attention.qk_norm = {}: expected none, rms or rms_per_head", kind);
    if (kind == "none") return;
    const auto add = [&](const std::string& name, std::int64_t heads) {
      const std::vector<std::int64_t> shape = kind == "rms" ? std::vector<std::int64_t>{k_dim_} : std::vector<std::int64_t>{heads, k_dim_};
      return context.store->add(context.prefix + name, shape, init_constant(1), false);
    };
    q_norm_ = add("q_norm.weight", heads_);
    if (makes_kv()) k_norm_ = add("k_norm.weight", kv_heads_);
  }

  // dynamic_ntk turns all positions by other angles once the sequence is longer than its base's.
  void check_position(std::int64_t total, bool continues) const {
    require(!continues || !config_.rope.depends_on(total),
            "attention.rope_scaling = dynamic_ntk: {} positions change the angles of the keys that are in the cache already; keep the "
            "context within attention.rope_original = {}, or read the whole text in one pass", total, config_.rope.original);
  }

  // RMS norm over P, then RoPE. norm: undefined, [P], or [heads, P].
  at::Tensor position(const at::Tensor& x_BLHP, const at::Tensor& norm, std::int64_t first) const {
    at::Tensor x = x_BLHP;
    if (norm.defined() && norm.dim() == 1) x = kernels::rms_norm(x, norm, kNormEps);
    if (norm.defined() && norm.dim() == 2) x = kernels::rms_norm(x, at::ones({k_dim_}, x.options()), kNormEps) * norm;
    if (!config_.rope.rope) return x;
    const std::int64_t total = first + x.size(1);
    return kernels::rope(x, first, config_.rope.depends_on(total) ? config_.rope.frequencies(k_dim_, total) : inv_freq_);
  }

  // position() of one row of each sequence: from x [B, heads * P], strided, to out_BHP.
  StepFunction bind_position(const at::Tensor& x, const at::Tensor& out_BHP, const at::Tensor& norm, StepBatch& step) const {
    const std::int64_t heads = out_BHP.size(1);
    const at::Tensor heads_BHP = x.view({step.batch, heads, k_dim_});
    const at::Tensor normed = config_.rope.rope && norm.defined() ? step.buffer("attention.normed", heads * k_dim_).view_as(out_BHP) : out_BHP;
    const bool per_head = norm.defined() && norm.dim() == 2;
    const at::Tensor weight_P = per_head ? at::ones({k_dim_}, norm.detach().options()) : norm;
    const bool dense = norm.defined() && !x.is_cpu();  // on a GPU: one copy and one launch for all sequences
    std::vector<std::pair<at::Tensor, at::Tensor>> norms;  // of each sequence: heads are rows
    for (std::int64_t b = 0; norm.defined() && !dense && b < step.batch; ++b) norms.emplace_back(normed.select(0, b), heads_BHP.select(0, b));
    if (dense) norms.emplace_back(normed.view({-1, k_dim_}), normed.view({-1, k_dim_}));
    return [this, out_BHP, normed, heads_BHP, dense, from = norm.defined() ? normed : heads_BHP, norms, norm, per_head, weight_P,
            lengths = step.lengths_B, device_lengths = step.device_lengths_B, most = step.cache->capacity] {
      if (dense) normed.copy_(heads_BHP);
      for (const auto& [to, row] : norms) kernels::rms_norm_out(to, row, weight_P, kNormEps);
      if (per_head) normed.mul_(norm.detach());
      if (config_.rope.rope) {
        for (std::int64_t b = 0; b < lengths.size(0); ++b) check_position(lengths.const_data_ptr<std::int64_t>()[b], true);
        kernels::rope_step_out(out_BHP, from, device_lengths, inv_freq_, most);
      } else if (norms.empty()) {
        out_BHP.copy_(from);
      }
    };
  }

  at::Tensor attend(const at::Tensor& q_BLHP, const KvView& kv) const {
    kernels::WindowAttentionOptions options;
    options.bf16_products = Bf16Products::on() && q_BLHP.is_cpu() && !c10::GradMode::is_enabled();
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
  std::vector<double> inv_freq_;  // P/2
  AttentionLayer plan_;
  at::Tensor q_norm_, k_norm_;  // [P], or [heads, P]
};

const RegisterMixer<Attention> kRegistered("attention");

}  // namespace
}  // namespace hymba
