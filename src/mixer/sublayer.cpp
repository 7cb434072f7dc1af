#include "mixer/sublayer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/split_with_sizes.h>

#include <algorithm>
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
      branch_norms_E_.push_back(store.add(fmt::format("{}.{}.branch_norm.weight", options.name, options.mixers[i]), {width},
                                          init_constant(1), false));
    }
    if (options.fusion == Fusion::kConcat) {
      width_ = 0;
      for (const auto& mixer : mixers_) width_ += mixer->out_width();
    }
  }
  out_proj_DE_ = store.add_product(options.name + ".out_proj.weight", {hidden_, width_}, init_normal(options.out_std));
}

std::string Sublayer::text() const {
  return mixers_.size() == 1 ? options_.mixers[0] : fmt::format("parallel({})", join(options_.mixers, ","));
}

at::Tensor Sublayer::forward(const at::Tensor& x_BLD, Pass& pass) const {
  const at::Tensor p_BLX = product(kernels::rms_norm(x_BLD, norm_D_, eps_), in_proj_XD_);
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
  return x_BLD + product(fuse(std::move(outputs), pass), out_proj_DE_);
}

at::Tensor Sublayer::fuse(std::vector<at::Tensor> outputs, const Pass& pass) const {
  if (outputs.size() == 1) return masked(outputs[0], 0, pass);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const std::int64_t copies = branch_norms_E_[i].size(0) / outputs[i].size(2);
    if (copies > 1) outputs[i] = outputs[i].repeat({1, 1, copies});
    const at::Tensor branch = kernels::rms_norm(outputs[i], branch_norms_E_[i], eps_);
    pass.observe(layer_, options_.mixers[i], "branch", branch);
    outputs[i] = masked(branch, i, pass);
  }
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
    const at::Tensor scale = mask.scale_H.view({1, 1, 1, heads, 1});
    y = (y.reshape({y.size(0), y.size(1), copies, heads, width / heads}) * scale).reshape(y.sizes());
    if (mask.shift_E.defined()) {
      require(mask.shift_E.dim() == 1 && mask.shift_E.size(0) == y.size(2), "head mask of layer {}, {}: expected a shift of {} channels",
              layer_, mask.mixer, y.size(2));
      y = y + mask.shift_E;
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
  if (mixers_.size() > 1) mixers.push_back(bind_fuse(outputs, fused_BE));
  return [this, x_BD, normed_BD, p_BX, fused_BE, mixers] {
    kernels::rms_norm_out(normed_BD, x_BD, norm_D_, eps_);
    product_out(p_BX, normed_BD, in_proj_XD_);
    for (const auto& run : mixers) run();
    product_out(x_BD, fused_BE, out_proj_DE_, /*add=*/true);
  };
}

// Norm, scale and mean of the branches in one pass over each; concatenation writes them side by side.
StepFunction Sublayer::bind_fuse(const std::vector<at::Tensor>& outputs, const at::Tensor& fused_BE) const {
  const bool concat = options_.fusion == Fusion::kConcat;
  std::vector<at::Tensor> places;
  std::int64_t first = 0;
  for (const auto& norm : branch_norms_E_) {
    places.push_back(concat ? fused_BE.narrow(1, first, norm.size(0)) : fused_BE);
    first += norm.size(0);
  }
  const float scale = concat ? 1.0f : 1.0f / static_cast<float>(outputs.size());
  return [this, outputs, places, scale, concat] {
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      kernels::rms_norm_out(places[i], outputs[i], branch_norms_E_[i], eps_, {scale, !concat && i > 0});
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
  for (const auto& mixer : mixers_) {
    const std::int64_t own = mixer->in_rows() * hidden_ + mixer->cost().params;
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
