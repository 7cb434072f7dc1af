#include "eval/attention_map.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tril.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/error.h"
#include "model/staged_forward.h"

namespace hymba::eval {
namespace {

constexpr std::int64_t kElements = 1 << 23;  // of the largest temporary tensor

// What the mixers of one layer showed in a pass, and how large both branches were as they went into the fusion.
struct Seen {
  std::map<std::string, at::Tensor> tensors;
  std::map<std::string, double> magnitude;  // by mixer: mean over positions of the L2 norm
};

std::map<std::int64_t, Seen> look(const LanguageModel& model, const at::Tensor& ids) {
  require(ids.dim() == 2 && ids.size(0) == 1, "attention maps: expected one row of ids");
  const at::NoGradGuard no_grad;
  std::map<std::int64_t, Seen> seen;
  const Observer observer = [&](std::int64_t layer, const std::string& mixer, const std::string& what, const at::Tensor& x) {
    if (what == "branch" || what == "output") {
      seen[layer].magnitude[mixer] = x.norm(2, at::IntArrayRef{2}).mean().item<double>();
    } else {
      seen[layer].tensors[mixer + "." + what] = (x.dim() > 2 ? x[0] : x).to(at::kCPU);
    }
  };
  StagedForward(model, ids).run_to(model.sublayers().size(), {}, &observer);
  return seen;
}

std::int64_t window_of(const Mixer& mixer) {
  for (const auto& [key, value] : mixer.facts()) {
    if (key == "window") return value;
  }
  return -1;
}

at::Tensor ssm_map(const Seen& seen, const std::string& mixer) {
  const auto& t = seen.tensors;
  const auto get = [&](const std::string& what) { return t.at(mixer + "." + what); };
  if (t.count(mixer + ".dt_BLE") != 0) return implicit_attention(get("dt_BLE"), get("A_EN"), get("B_BLN"), get("C_BLN"));
  if (t.count(mixer + ".dt_BLH") != 0) return implicit_attention2(get("dt_BLH"), get("A_H"), get("B_BLGN"), get("C_BLGN"));
  return {};  // a recurrent mixer that does not show its insides
}

at::Tensor rows_to_one(const at::Tensor& map_LL) { return map_LL / map_LL.sum(1, true).clamp_min(1e-30); }

// p_TS: rows of text positions, which sum to one.
AttentionMass masses(const at::Tensor& p_TS, std::int64_t meta, bool has_bos) {
  AttentionMass mass;
  const at::Tensor p = p_TS.to(at::kDouble).contiguous();
  const std::int64_t length = p.size(0), width = p.size(1);
  const double* data = p.data_ptr<double>();
  mass.by_meta.assign(static_cast<std::size_t>(meta), 0);
  for (std::int64_t t = has_bos ? 1 : 0; t < length; ++t) {
    const double* row = data + t * width;
    for (std::int64_t m = 0; m < meta; ++m) {
      mass.meta += row[m];
      mass.by_meta[static_cast<std::size_t>(m)] += row[m];
    }
    if (has_bos) mass.bos += row[meta];
    mass.self += row[meta + t];
    for (std::int64_t s = has_bos ? 1 : 0; s < t; ++s) mass.cross += row[meta + s];
    for (std::int64_t s = 0; s < width; ++s) mass.entropy -= row[s] > 0 ? row[s] * std::log(row[s]) : 0;
    ++mass.queries;
  }
  const auto n = static_cast<double>(std::max<std::int64_t>(1, mass.queries));
  for (double* value : {&mass.meta, &mass.bos, &mass.self, &mass.cross, &mass.entropy}) *value /= n;
  for (double& value : mass.by_meta) value /= n;
  return mass;
}

}  // namespace

at::Tensor attention_weights(const at::Tensor& q_LHP, const at::Tensor& k_SKP, std::int64_t window, std::int64_t prefix) {
  const std::int64_t length = q_LHP.size(0), heads = q_LHP.size(1), keys = k_SKP.size(0);
  const at::Tensor q_HLP = q_LHP.transpose(0, 1), k_HSP = k_SKP.repeat_interleave(heads / k_SKP.size(1), 1).transpose(0, 1);
  const at::Tensor scores = at::matmul(q_HLP, k_HSP.transpose(1, 2)) / std::sqrt(static_cast<double>(q_LHP.size(2)));
  const at::Tensor a_L1 = at::arange(length).unsqueeze(1), b_1S = at::arange(keys).unsqueeze(0);
  at::Tensor hidden = b_1S > a_L1;
  if (window >= 0) hidden = hidden.logical_or((a_L1 - b_1S >= window).logical_and(b_1S >= prefix));
  return at::softmax(scores.masked_fill(hidden, -std::numeric_limits<float>::infinity()), -1);
}

at::Tensor implicit_attention(const at::Tensor& dt_LE, const at::Tensor& A_EN, const at::Tensor& B_LN, const at::Tensor& C_LN, std::int64_t signed_channel) {
  const std::int64_t length = dt_LE.size(0), inner = dt_LE.size(1), states = A_EN.size(1);
  const at::Tensor sum_LE = dt_LE.cumsum(0);
  const at::Tensor causal_LL1 = at::tril(at::zeros({length, length}) + 1).unsqueeze(2);
  const std::int64_t first = std::max<std::int64_t>(0, signed_channel), last = signed_channel < 0 ? inner : signed_channel + 1;
  const std::int64_t step = std::max<std::int64_t>(1, kElements / (length * length));
  at::Tensor map = at::zeros({length, length});
  for (std::int64_t e = first; e < last; e += step) {
    const std::int64_t n = std::min(step, last - e);
    const at::Tensor s = sum_LE.narrow(1, e, n);
    // Above the diagonal the difference is negative and exp would overflow: it is cut to zero there.
    const at::Tensor passed_LLe = (s.unsqueeze(1) - s.unsqueeze(0)) * causal_LL1;
    at::Tensor alpha = at::zeros({length, length, n});
    for (std::int64_t k = 0; k < states; ++k) {
      const at::Tensor CB_LL = C_LN.select(1, k).unsqueeze(1) * B_LN.select(1, k).unsqueeze(0);
      alpha += (passed_LLe * A_EN.narrow(0, e, n).select(1, k)).exp() * CB_LL.unsqueeze(2);
    }
    alpha = alpha * dt_LE.narrow(1, e, n).unsqueeze(0) * causal_LL1;
    if (signed_channel >= 0) return alpha.squeeze(2);
    map += alpha.abs().sum(2);
  }
  return map / static_cast<double>(inner);
}

at::Tensor implicit_attention2(const at::Tensor& dt_LH, const at::Tensor& A_H, const at::Tensor& B_LGN, const at::Tensor& C_LGN) {
  const std::int64_t length = dt_LH.size(0), heads = dt_LH.size(1), groups = B_LGN.size(1);
  const at::Tensor causal = at::tril(at::zeros({length, length}) + 1), sum_LH = dt_LH.cumsum(0);
  at::Tensor map = at::zeros({length, length});
  for (std::int64_t h = 0; h < heads; ++h) {
    const std::int64_t g = h / (heads / groups);
    const at::Tensor CB = at::matmul(C_LGN.select(1, g), B_LGN.select(1, g).t()), s = sum_LH.select(1, h);
    const at::Tensor decay = ((s.unsqueeze(1) - s.unsqueeze(0)) * causal * A_H[h]).exp();
    map += (CB * decay * dt_LH.select(1, h).unsqueeze(0) * causal).abs();
  }
  return map / static_cast<double>(heads);
}

std::vector<AttentionMass> attention_masses(const LanguageModel& model, const at::Tensor& ids_1T, bool has_bos) {
  const at::NoGradGuard no_grad;
  const auto seen = look(model, ids_1T);
  const std::int64_t meta = model.config().meta_tokens, length = ids_1T.size(1);
  std::vector<AttentionMass> result;
  const auto add = [&](std::int64_t layer, std::int64_t head, const std::string& branch, const at::Tensor& p_LS) {
    auto mass = masses(p_LS.narrow(0, meta, length), meta, has_bos);
    mass.layer = layer;
    mass.head = head;
    mass.branch = branch;
    result.push_back(std::move(mass));
  };
  for (const auto& sublayer : model.sublayers()) {
    for (std::size_t m = 0; m < sublayer->mixers().size(); ++m) {
      const auto& mixer = *sublayer->mixers()[m];
      const auto& name = sublayer->mixer_names()[m];
      const auto found = seen.find(sublayer->layer());
      if (found == seen.end()) continue;
      const auto& t = found->second.tensors;
      if (mixer.attends() && t.count(name + ".q_BLHP") != 0) {
        const at::Tensor p_HLS = attention_weights(t.at(name + ".q_BLHP"), t.at(name + ".k_BSKP"), window_of(mixer), meta);
        for (std::int64_t h = 0; h < p_HLS.size(0); ++h) add(sublayer->layer(), h, "attention", p_HLS[h]);
      } else if (mixer.recurrent()) {
        if (const at::Tensor map = ssm_map(found->second, name); map.defined()) add(sublayer->layer(), -1, "ssm", rows_to_one(map));
      }
    }
  }
  require(!result.empty(), "no layer of the model shows attention or a state space");
  return result;
}

std::vector<ComposedMap> composed_maps(const LanguageModel& model, const at::Tensor& ids_1T) {
  const at::NoGradGuard no_grad;
  const auto seen = look(model, ids_1T);
  const std::int64_t meta = model.config().meta_tokens, length = ids_1T.size(1);
  std::vector<ComposedMap> maps;
  for (const auto& sublayer : model.sublayers()) {
    const auto found = seen.find(sublayer->layer());
    if (found == seen.end()) continue;
    ComposedMap composed;
    composed.layer = sublayer->layer();
    double size_attention = 0, size_ssm = 0;
    for (std::size_t m = 0; m < sublayer->mixers().size(); ++m) {
      const auto& name = sublayer->mixer_names()[m];
      const auto& t = found->second.tensors;
      const auto size = found->second.magnitude.count(name) != 0 ? found->second.magnitude.at(name) : 0;
      if (sublayer->mixers()[m]->attends() && t.count(name + ".q_BLHP") != 0) {
        composed.attention_TS = attention_weights(t.at(name + ".q_BLHP"), t.at(name + ".k_BSKP"), window_of(*sublayer->mixers()[m]), meta).mean(0).narrow(0, meta, length);
        size_attention = size;
      } else if (sublayer->mixers()[m]->recurrent()) {
        if (const at::Tensor map = ssm_map(found->second, name); map.defined()) {
          composed.ssm_TS = rows_to_one(map).narrow(0, meta, length);
          size_ssm = size;
        }
      }
    }
    if (!composed.attention_TS.defined() && !composed.ssm_TS.defined()) continue;
    composed.attention_share = size_attention / std::max(1e-30, size_attention + size_ssm);
    composed.map_TS = !composed.ssm_TS.defined()       ? composed.attention_TS
                      : !composed.attention_TS.defined() ? composed.ssm_TS
                                                         : composed.attention_TS * composed.attention_share + composed.ssm_TS * (1 - composed.attention_share);
    maps.push_back(std::move(composed));
  }
  return maps;
}

}  // namespace hymba::eval
