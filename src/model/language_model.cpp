#include "model/language_model.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>

#include <cmath>
#include <limits>
#include <map>

#include "base/error.h"
#include "kernels/rms_norm/op.h"
#include "nn/linear.h"

namespace hymba {
namespace {

// For every mixer type the blocks that have one.
std::map<std::string, std::vector<std::int64_t>> peers_of(const Design& design) {
  std::map<std::string, std::vector<std::int64_t>> peers;
  for (const auto& sublayer : design.sublayers()) {
    for (const auto& mixer : sublayer.mixers) peers[mixer].push_back(sublayer.layer);
  }
  return peers;
}

void check_ids(const at::Tensor& ids, std::int64_t vocab) {
  require(ids.dim() == 2 && ids.scalar_type() == at::kLong, "[model] ids: expected int64 (B, T), got {} dims", ids.dim());
  const at::Tensor flat = ids.to(at::kCPU).contiguous();
  const std::int64_t* data = flat.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < flat.numel(); ++i) {
    require(data[i] >= 0 && data[i] < vocab, "token id {} is outside the vocabulary of {}; is this the model's tokenizer?",
            data[i], vocab);
  }
}

}  // namespace

double ParamCounts::ratio() const {
  if (attention == 0) return std::numeric_limits<double>::infinity();
  return static_cast<double>(mamba) / static_cast<double>(attention);
}

std::string ParamCounts::ratio_text() const {
  if (attention == 0) return mamba == 0 ? "0:0" : "0:1";
  return mamba == 0 ? "1:0" : fmt::format("1:{:.2f}", ratio());
}

LanguageModel::LanguageModel(const Design& design, std::uint64_t seed, bool meta, bool pattern)
    : LanguageModel(design, ParameterStore(seed, meta, pattern)) {}

LanguageModel::LanguageModel(const Design& design, ParameterSource source)
    : LanguageModel(design, ParameterStore(std::move(source))) {}

LanguageModel::LanguageModel(const Design& design, ParameterStore store)
    : config_(design.config()), store_(std::move(store)) {
  const auto& c = config_;
  const double embedding_std = c.embedding_std > 0 ? c.embedding_std : c.init_std;
  embedding_VD_ = store_.add_product("embedding.weight", {c.vocab, c.hidden}, init_normal(embedding_std));
  if (c.meta_tokens > 0) meta_MD_ = store_.add("meta_tokens", {c.meta_tokens, c.hidden}, init_normal(embedding_std), false);
  const auto peers = peers_of(design);
  const double out_std = c.init_std * c.residual_scale / std::sqrt(static_cast<double>(design.sublayers().size()));
  for (const auto& plan : design.sublayers()) {
    Sublayer::Options options;
    options.index = sublayers_.size();
    options.name = fmt::format("layers.{}.{}", plan.layer, plan.ffn ? "ffn" : "mixer");
    options.mixers = plan.mixers;
    options.fusion = design.fusion();
    options.branch_norms = c.branch_norms;
    options.out_std = out_std;
    MixerContext context;
    context.layer = plan.layer;
    context.hidden = c.hidden;
    context.meta_tokens = c.meta_tokens;
    context.init_std = c.init_std;
    context.norm_eps = c.norm_eps;
    context.store = &store_;
    sublayers_.push_back(std::make_unique<Sublayer>(options, context, [&](const std::string& name, MixerContext inner) {
      inner.peers = peers.at(name);
      return design.mixer_type(name).make(inner);
    }));
  }
  norm_D_ = store_.add("norm.weight", {c.hidden}, init_constant(1), false);
  head_VD_ = c.tied ? embedding_VD_ : store_.add_product("head.weight", {c.vocab, c.hidden}, init_normal(c.init_std));
}

at::Tensor LanguageModel::embedding_rows(const at::Tensor& ids_BT) const {
  const at::Tensor x_BTD = table_rows(embedding_VD_, ids_BT.to(device()), config_.padding_id);
  return config_.embedding_scale == 1 ? x_BTD : x_BTD * config_.embedding_scale;
}

at::Tensor LanguageModel::forward(const at::Tensor& ids_BT, ModelCache* cache, const std::vector<HeadMask>& masks) const {
  check_ids(ids_BT, config_.vocab);
  require(cache == nullptr || cache->batch == ids_BT.size(0), "[model] ids: expected the cache's batch {}, got {}",
          cache != nullptr ? cache->batch : 0, ids_BT.size(0));
  at::Tensor x_BLD = embedding_rows(ids_BT);
  const bool meta = config_.meta_tokens > 0 && (cache == nullptr || cache->position == 0);
  if (meta) x_BLD = at::cat({meta_MD_.unsqueeze(0).expand({x_BLD.size(0), -1, -1}), x_BLD}, 1);
  x_BLD = run_layers(x_BLD, cache, masks);
  if (meta) x_BLD = x_BLD.narrow(1, config_.meta_tokens, ids_BT.size(1));
  return kernels::rms_norm(x_BLD, norm_D_, config_.norm_eps);
}

at::Tensor LanguageModel::run_layers(at::Tensor x_BLD, ModelCache* cache, const std::vector<HeadMask>& masks) const {
  Pass pass;
  pass.meta_tokens = config_.meta_tokens;
  pass.cache = cache;
  pass.kv.resize(static_cast<std::size_t>(config_.layers));
  pass.masks = masks;
  pass.position = cache != nullptr ? cache->position : 0;
  for (const auto& sublayer : sublayers_) x_BLD = sublayer->forward(x_BLD, pass);
  if (cache != nullptr) cache->position += x_BLD.size(1);
  return x_BLD;
}

void LanguageModel::prefill_meta(ModelCache* cache) const {
  if (cache->position > 0) fail("meta tokens belong in front: the cache holds {} positions", cache->position);
  if (config_.meta_tokens > 0) run_layers(meta_MD_.unsqueeze(0).expand({cache->batch, -1, -1}), cache, {});
}

std::vector<StepFunction> LanguageModel::bind_step(StepBatch& step, const at::Tensor& ids_B, const at::Tensor& logits_BV) const {
  step.kv.assign(static_cast<std::size_t>(config_.layers), nullptr);
  const at::Tensor x_BD = step.buffer("residual", config_.hidden), normed_BD = step.buffer("normed", config_.hidden);
  std::vector<StepFunction> functions = {[this, x_BD, ids_B] {
    table_rows_out(x_BD, embedding_VD_, ids_B);
    if (config_.embedding_scale != 1) x_BD.mul_(config_.embedding_scale);
  }};
  for (const auto& sublayer : sublayers_) functions.push_back(sublayer->bind_step(x_BD, step));
  functions.emplace_back([this, x_BD, normed_BD, logits_BV] {
    kernels::rms_norm_out(normed_BD, x_BD, norm_D_, config_.norm_eps);
    product_out(logits_BV, normed_BD, head_VD_);
    if (config_.logit_scale != 1) logits_BV.mul_(config_.logit_scale);
  });
  return functions;
}

void LanguageModel::set_weight_type(at::ScalarType type) {
  require(type == at::kFloat || type == at::kBFloat16 || type == at::kHalf, "weights: expected float32, bfloat16 or float16");
  for (auto& parameter : store_.all()) {
    if (parameter.value.scalar_type() == type || !parameter.product) continue;
    parameter.value.set_requires_grad(false);
    parameter.value.set_data(parameter.value.detach().to(type));
  }
}

std::int64_t LanguageModel::weight_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& p : store_.all()) bytes += p.value.numel() * p.value.element_size();
  return bytes;
}

std::int64_t LanguageModel::weight_bytes_per_step() const {
  return weight_bytes() - (config_.tied ? 0 : embedding_VD_.numel() * embedding_VD_.element_size()) -
         (meta_MD_.defined() ? meta_MD_.numel() * meta_MD_.element_size() : 0);
}

at::Tensor LanguageModel::embed(const at::Tensor& ids_BT) const {
  check_ids(ids_BT, config_.vocab);
  const at::Tensor x_BLD = embedding_rows(ids_BT);
  return meta_MD_.defined() ? at::cat({meta_MD_.unsqueeze(0).expand({x_BLD.size(0), -1, -1}), x_BLD}, 1) : x_BLD;
}

at::Tensor LanguageModel::finish(const at::Tensor& x_BLD) const {
  const std::int64_t meta = config_.meta_tokens;
  return kernels::rms_norm(x_BLD.narrow(1, meta, x_BLD.size(1) - meta), norm_D_, config_.norm_eps);
}

std::vector<at::Tensor> LanguageModel::hidden_states(const at::Tensor& ids_BT) const {
  at::Tensor x_BLD = embed(ids_BT);
  Pass pass;
  pass.meta_tokens = config_.meta_tokens;
  pass.kv.resize(static_cast<std::size_t>(config_.layers));
  std::vector<at::Tensor> states = {x_BLD};
  for (std::size_t i = 0; i < sublayers_.size(); ++i) {
    x_BLD = sublayers_[i]->forward(x_BLD, pass);
    if (i + 1 == sublayers_.size() || sublayers_[i + 1]->layer() != sublayers_[i]->layer()) states.push_back(x_BLD);
  }
  return states;
}

at::Tensor LanguageModel::logits(const at::Tensor& hidden) const {
  const at::Tensor logits = product(hidden, head_VD_);
  return config_.logit_scale == 1 ? logits : logits * config_.logit_scale;
}

at::Tensor LanguageModel::loss(const at::Tensor& ids_BT, const at::Tensor& targets_BT) const {
  const at::Tensor flat = logits(forward(ids_BT)).view({-1, config_.vocab});
  return at::cross_entropy_loss(flat, targets_BT.reshape({-1}).to(device()), {}, /*reduction=mean*/ 1, /*ignore_index=*/-1);
}

ModelCache LanguageModel::make_cache(std::int64_t batch, std::int64_t context, at::ScalarType kv_type) const {
  require(batch > 0 && context > 0, "cache: expected a positive batch and context, got {} and {}", batch, context);
  ModelCache cache;
  cache.batch = batch;
  cache.capacity = context + config_.meta_tokens;
  for (const auto& sublayer : sublayers_) cache.sublayers.push_back(sublayer->make_cache({batch, cache.capacity, kv_type, device()}));
  return cache;
}

bool LanguageModel::reads_in_parts(std::int64_t tokens) const {
  for (const auto& sublayer : sublayers_) {
    for (const auto& mixer : sublayer->mixers()) {
      if (!mixer->reads_in_parts(tokens + config_.meta_tokens)) return false;
    }
  }
  return true;
}

ParamCounts LanguageModel::param_counts() const {
  ParamCounts counts;
  counts.total = store_.count();
  counts.embedding = config_.vocab * config_.hidden * (config_.tied ? 1 : 2);
  counts.meta = config_.meta_tokens * config_.hidden;
  for (const auto& sublayer : sublayers_) {
    const auto params = sublayer->params();
    counts.attention += params.attention;
    counts.mamba += params.mamba;
    counts.other += params.other;
  }
  counts.other += config_.hidden;
  return counts;
}

double LanguageModel::flops_per_token(double context) const {
  double flops = 2.0 * static_cast<double>(config_.vocab * config_.hidden);
  for (const auto& sublayer : sublayers_) flops += sublayer->flops_per_token(context + static_cast<double>(config_.meta_tokens));
  return flops;
}

CacheBytes LanguageModel::cache_bytes(const CacheQuery& query) const {
  CacheBytes bytes;
  for (const auto& sublayer : sublayers_) bytes += sublayer->cache_bytes(query);
  return bytes;
}

}  // namespace hymba
