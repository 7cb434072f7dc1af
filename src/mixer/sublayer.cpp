#include "mixer/sublayer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/split_with_sizes.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "kernels/rms_norm/op.h"
#include "nn/linear.h"

namespace hymba {

std::vector<std::string> parse_mixer(const std::string& text) {
  constexpr std::string_view kParallel = "parallel(";
  if (!starts_with(text, kParallel)) {
    require(!text.empty() && text.find_first_of("(), ") == std::string::npos,
            "mixer '{}': expected a name or parallel(a,b)", text);
    return {text};
  }
  require(text.back() == ')', "mixer '{}': the closing ) is missing", text);
  std::vector<std::string> names;
  for (const auto& part : split(text.substr(kParallel.size(), text.size() - kParallel.size() - 1), ',')) {
    names.push_back(trim(part));
    require(!names.back().empty() && std::count(names.begin(), names.end(), names.back()) == 1,
            "mixer '{}': expected different names between the brackets", text);
  }
  require(names.size() >= 2, "mixer '{}': a parallel layer needs two mixers or more", text);
  return names;
}

Sublayer::Sublayer(const Options& options, const MixerContext& context,
                   const std::function<std::unique_ptr<Mixer>(const std::string&, const MixerContext&)>& make)
    : options_(options), layer_(context.layer), hidden_(context.hidden), eps_(context.norm_eps) {
  auto& store = *context.store;
  norm_D_ = store.add(options.name + ".norm.weight", {hidden_}, init_constant(1), false);
  for (const auto& name : options.mixers) {
    MixerContext inner = context;
    inner.prefix = options.name + "." + name + ".";
    mixers_.push_back(make(name, inner));
    in_rows_ += mixers_.back()->in_rows();
  }
  in_proj_XD_ = store.add_product(options.name + ".in_proj.weight", {in_rows_, hidden_}, init_normal(context.init_std));
  for (const auto& mixer : mixers_) width_ = std::max(width_, mixer->out_width());
  if (mixers_.size() > 1) {
    for (std::size_t i = 0; i < mixers_.size(); ++i) {
      // Mean fusion needs one width. A narrower branch (rows 2-4 of Table 1: 4, 8 attention heads beside 2048 channels)
      // is repeated: no parameters are added, as the paper's ratio column requires, and the learned scale and out_proj
      // still give every copy a weight of its own.
      const std::int64_t width = options.fusion == Fusion::kMean ? width_ : mixers_[i]->out_width();
      require(width % mixers_[i]->out_width() == 0,
              "{}: mean fusion repeats the {} channels of {} to {}, which is no multiple; change heads or v_dim, or use "
              "parallel.fusion = concat", options.name, mixers_[i]->out_width(), options.mixers[i], width);
      if (!options.branch_norms) continue;
      branch_norms_E_.push_back(store.add(fmt::format("{}.{}.branch_norm.weight", options.name, options.mixers[i]), {width},
                                          init_constant(1), false));
    }
    if (options.fusion == Fusion::kConcat) {
      width_ = 0;
      for (const auto& mixer : mixers_) width_ += mixer->out_width();
    }
  }
  out_proj_DE_ = store.add_product(options.name + ".out_proj.weight", {hidden_, width_}, init_normal(options.out_std));
  add_biases(context);
}

// Biases and constant factors of the projections, where the mixers want them.
void Sublayer::add_biases(const MixerContext& context) {
  std::int64_t in_rows = 0;
  std::vector<double> in_scale, out_scale;
  bool scaled = false;
  for (const auto& mixer : mixers_) {
    require(std::isfinite(mixer->in_scale()) && std::isfinite(mixer->out_scale()), "{}: its in_scale and out_scale must be finite",
            options_.name);
    if (mixer->in_bias()) in_rows += mixer->in_rows();
    if (mixer->out_bias()) out_scale.push_back(mixer->out_scale());
    scaled = scaled || mixer->in_scale() != 1;
    in_scale.insert(in_scale.end(), static_cast<std::size_t>(mixer->in_rows()), mixer->in_scale());
  }
  if (in_rows > 0) in_bias_ = context.store->add(options_.name + ".in_proj.bias", {in_rows}, init_constant(0), false);
  if (!out_scale.empty()) {
    // A shared projection (mean) has one bias; concatenated mixers have one each, as their projections would have alone.
    const bool each = options_.fusion == Fusion::kConcat && out_scale.size() > 1;
    const auto n = static_cast<std::int64_t>(out_scale.size());
    out_bias_ = context.store->add(options_.name + ".out_proj.bias", each ? std::vector<std::int64_t>{n, hidden_} : std::vector<std::int64_t>{hidden_},
                                   init_constant(0), false);
    const bool shared = options_.fusion == Fusion::kMean && mixers_.size() > 1;
    out_bias_scale_ = at::tensor(shared ? std::vector<double>{1} : out_scale, at::kFloat).view({-1, 1}).to(context.store->device());
  }
  if (scaled) in_scale_X_ = at::tensor(in_scale, at::kFloat).to(context.store->device());
}

std::string Sublayer::text() const {
  return mixers_.size() == 1 ? options_.mixers[0] : fmt::format("parallel({})", join(options_.mixers, ","));
}

at::Tensor Sublayer::forward(const at::Tensor& x_BLD, Pass& pass) const {
  const at::Tensor p_BLX = project_in(kernels::rms_norm(x_BLD, norm_D_, eps_));
  // One split, whose gradient is one concatenation: slices by narrow() would each fill and add a whole projection.
  std::vector<std::int64_t> rows;
  for (const auto& mixer : mixers_) rows.push_back(mixer->in_rows());
  const auto parts = rows.size() == 1 ? std::vector<at::Tensor>{p_BLX} : at::split_with_sizes(p_BLX, rows, 2);
  std::vector<at::Tensor> outputs;
  for (std::size_t i = 0; i < mixers_.size(); ++i) {
    MixerCache* mine = pass.cache != nullptr ? &pass.cache->sublayers[options_.index][i] : nullptr;
    outputs.push_back(mixers_[i]->forward(parts[i], pass, mine));
    pass.observe(layer_, options_.mixers[i], "output", outputs.back());
  }
  return combine(x_BLD, std::move(outputs), pass);
}

at::Tensor Sublayer::combine(const at::Tensor& x_BLD, std::vector<at::Tensor> outputs, const Pass& pass) const {
  const at::Tensor y_BLE = fuse(std::move(outputs), pass);
  return out_bias_.defined() ? x_BLD + project_out(y_BLE) : product(y_BLE, out_proj_DE_, x_BLD);
}

at::Tensor Sublayer::input_bias() const {
  at::Tensor bias_X = in_bias_;
  if (bias_X.defined() && bias_X.size(0) < in_rows_) {  // zeros for the mixers without a bias
    std::vector<at::Tensor> parts;
    std::int64_t row = 0;
    for (const auto& mixer : mixers_) {
      const std::int64_t rows = mixer->in_rows();
      parts.push_back(mixer->in_bias() ? in_bias_.narrow(0, row, rows) : at::zeros({rows}, in_bias_.options()));
      row += mixer->in_bias() ? rows : 0;
    }
    bias_X = at::cat(parts);
  }
  return bias_X;
}

at::Tensor Sublayer::output_bias() const { return (out_bias_.view({-1, hidden_}) * out_bias_scale_).sum(0); }

at::Tensor Sublayer::project_in(const at::Tensor& x_BLD) const {
  if (!in_bias_.defined() && !in_scale_X_.defined()) return product(x_BLD, in_proj_XD_);
  const at::Tensor bias_X = input_bias();
  if (!in_scale_X_.defined()) return product(x_BLD, in_proj_XD_) + bias_X;
  const at::Tensor p_BLX = product(x_BLD, in_proj_XD_) * in_scale_X_;
  return bias_X.defined() ? p_BLX + bias_X : p_BLX;
}

at::Tensor Sublayer::project_out(const at::Tensor& y_BLE) const {
  if (!out_bias_.defined()) return product(y_BLE, out_proj_DE_);
  return product(y_BLE, out_proj_DE_) + output_bias();
}

at::Tensor Sublayer::fuse(std::vector<at::Tensor> outputs, const Pass& pass) const {
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const bool mean = options_.fusion == Fusion::kMean && outputs.size() > 1;
    const std::int64_t copies = mean ? width_ / outputs[i].size(2) : 1;
    if (copies > 1) outputs[i] = outputs[i].repeat({1, 1, copies});
    at::Tensor branch = branch_norms_E_.empty() ? outputs[i] : kernels::rms_norm(outputs[i], branch_norms_E_[i], eps_);
    if (mixers_[i]->out_scale() != 1) branch = branch * mixers_[i]->out_scale();
    if (mixers_.size() > 1) pass.observe(layer_, options_.mixers[i], "branch", branch);
    outputs[i] = masked(branch, i, pass);
  }
  if (outputs.size() == 1) return outputs[0];
  if (options_.fusion == Fusion::kConcat) return at::cat(outputs, 2);
  at::Tensor sum = outputs[0];
  for (std::size_t i = 1; i < outputs.size(); ++i) sum = sum + outputs[i];
  return sum * (1.0 / static_cast<double>(outputs.size()));
}

// Scales heads after the branch norm, so that removing one takes away its contribution and leaves the others' as it was.
at::Tensor Sublayer::masked(const at::Tensor& y_BLE, std::size_t mixer, const Pass& pass) const {
  at::Tensor y = y_BLE;
  for (const auto& mask : pass.masks) {
    if (mask.layer != layer_ || mask.mixer != options_.mixers[mixer]) continue;
    const std::int64_t heads = mixers_[mixer]->heads(), width = mixers_[mixer]->out_width();
    require(mask.scale_H.dim() == 1 && mask.scale_H.size(0) == heads, "head mask of layer {}, {}: expected {} heads",
            layer_, mask.mixer, heads);
    const std::int64_t copies = y.size(2) / width;
    const at::Tensor scale = mask.scale_H.to(y.device()).view({1, 1, 1, heads, 1});
    y = (y.reshape({y.size(0), y.size(1), copies, heads, width / heads}) * scale).reshape(y.sizes());
    if (mask.shift_E.defined()) {
      require(mask.shift_E.dim() == 1 && mask.shift_E.size(0) == y.size(2), "head mask of layer {}, {}: expected a shift of {} channels",
              layer_, mask.mixer, y.size(2));
      y = y + mask.shift_E.to(y.device());
    }
  }
  return y;
}

std::vector<MixerCache> Sublayer::make_cache(const CacheShape& shape) const {
  std::vector<MixerCache> caches;
  for (const auto& mixer : mixers_) caches.push_back(mixer->make_cache(shape));
  return caches;
}

StepFunction Sublayer::bind_step(const at::Tensor& x_BD, StepBatch& step) const {
  const at::Tensor normed_BD = step.buffer("normed", hidden_), p_BX = step.buffer("projected", in_rows_);
  const at::Tensor fused_BE = step.buffer("fused", width_);
  std::vector<StepFunction> mixers;
  std::vector<at::Tensor> outputs;
  std::int64_t first = 0;
  for (std::size_t i = 0; i < mixers_.size(); ++i) {
    const auto& mixer = *mixers_[i];
    outputs.push_back(mixers_.size() == 1 ? fused_BE : step.buffer(fmt::format("branch {}", i), mixer.out_width()));
    MixerCache* mine = &step.cache->sublayers[options_.index][i];
    mixers.push_back(mixer.bind_step(p_BX.narrow(1, first, mixer.in_rows()), outputs.back(), step, mine));
    first += mixer.in_rows();
  }
  if (mixers_.size() > 1) {
    mixers.push_back(bind_fuse(outputs, fused_BE));
  } else if (mixers_[0]->out_scale() != 1) {
    mixers.push_back([fused_BE, scale = mixers_[0]->out_scale()] { fused_BE.mul_(scale); });
  }
  const at::Tensor in_bias = in_bias_.defined() ? input_bias().detach() : at::Tensor();
  const at::Tensor out_bias = out_bias_.defined() ? output_bias().detach() : at::Tensor();
  return [this, x_BD, normed_BD, p_BX, fused_BE, mixers, in_bias, out_bias] {
    kernels::rms_norm_out(normed_BD, x_BD, norm_D_, eps_);
    product_out(p_BX, normed_BD, in_proj_XD_);
    if (in_scale_X_.defined()) p_BX.mul_(in_scale_X_);
    if (in_bias.defined()) p_BX.add_(in_bias);
    for (const auto& run : mixers) run();
    product_out(x_BD, fused_BE, out_proj_DE_, /*add=*/true);
    if (out_bias.defined()) x_BD.add_(out_bias);
  };
}

// Norm, scale and mean of the branches in one pass over each; concatenation writes them side by side.
StepFunction Sublayer::bind_fuse(const std::vector<at::Tensor>& outputs, const at::Tensor& fused_BE) const {
  const bool concat = options_.fusion == Fusion::kConcat;
  std::vector<at::Tensor> places;
  std::vector<float> scales;
  std::int64_t first = 0;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const std::int64_t width = concat ? outputs[i].size(1) : width_;
    places.push_back(fused_BE.narrow(1, first, width));
    scales.push_back(static_cast<float>(mixers_[i]->out_scale() / (concat ? 1.0 : static_cast<double>(outputs.size()))));
    if (concat) first += width;
  }
  if (branch_norms_E_.empty()) return bind_plain_fuse(outputs, places, scales);
  return [this, outputs, places, scales, concat] {
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      kernels::rms_norm_out(places[i], outputs[i], branch_norms_E_[i], eps_, {scales[i], !concat && i > 0});
    }
  };
}

// The same without norms.
StepFunction Sublayer::bind_plain_fuse(const std::vector<at::Tensor>& outputs, std::vector<at::Tensor> places, std::vector<float> scales) const {
  const bool concat = options_.fusion == Fusion::kConcat;
  std::vector<at::Tensor> sources;  // narrower branches are repeated
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const std::int64_t copies = places[i].size(1) / outputs[i].size(1);
    places[i] = places[i].unflatten(1, {copies, outputs[i].size(1)});
    sources.push_back(outputs[i].unsqueeze(1));
  }
  return [sources, places, scales, concat] {
    for (std::size_t i = 0; i < sources.size(); ++i) {
      if (concat || i == 0) places[i].zero_();
      places[i].add_(sources[i], scales[i]);
    }
  };
}

Sublayer::Params Sublayer::params() const {
  Params params;
  bool recurrent = false, attends = false;
  for (const auto& mixer : mixers_) {
    recurrent = recurrent || mixer->recurrent();
    attends = attends || mixer->attends();
  }
  std::int64_t shared = hidden_ * width_;  // out_proj, then the branch norms
  for (const auto& norm : branch_norms_E_) shared += norm.size(0);
  if (out_bias_.defined()) shared += out_bias_.numel();
  for (const auto& mixer : mixers_) {
    const std::int64_t own = mixer->in_rows() * (hidden_ + (mixer->in_bias() ? 1 : 0)) + mixer->cost().params;
    (mixer->attends() ? params.attention : mixer->recurrent() ? params.mamba : params.other) += own;
  }
  (recurrent ? params.mamba : attends ? params.attention : params.other) += shared;
  params.other += hidden_;
  return params;
}

double Sublayer::flops_per_token(double context) const {
  double flops = 2.0 * static_cast<double>(hidden_ * (in_rows_ + width_));
  for (const auto& mixer : mixers_) {
    const auto cost = mixer->cost();
    const double keys = cost.window < 0 ? context : std::min(context, static_cast<double>(cost.window));
    flops += cost.flops_per_token + cost.flops_per_visible_key * keys;
  }
  return flops;
}

CacheBytes Sublayer::cache_bytes(CacheQuery query) const {
  query.only_mixer = mixers_.size() == 1;
  CacheBytes bytes;
  for (const auto& mixer : mixers_) bytes += mixer->cache_bytes(query);
  return bytes;
}

}  // namespace hymba
