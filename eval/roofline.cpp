// The equations. A step of B sequences with a context of T tokens takes
//     t = t_linear + t_attention + t_state + t_activations + t_launch                                  (1)
// since the parts run one after the other; each part is bound by memory or by arithmetic:
//     t_linear      = max( w W / bw,  2 B W / gemm )                W elements of weights of w bytes      (2)
//     t_attention   = sum over shapes of max( B S K (P + V) s / bw,  2 B S H (P + V) / attention )        (3)
//                     S visible keys of one sequence over its layers: min(T, window) + meta; s bytes an element.
//                     A layer that shares another's K and V reads them again.
//     t_state       = sum over shapes of max( 2 * 4 B E N / bw,  B E N / states )   read and written      (4)
//     t_activations = B a / bw, where B a exceeds the caches (else nothing)                                (5)
//     t_launch      = launches * launch_seconds                                    zero on this CPU       (6)
// A core does not move data and compute at the full rate of both at once, as (2) to (4) have it for a GPU: on this CPU each of
// the three is the time that the kernel takes for the shape on as many bytes.
// Tokens a second are B / t.
#include "eval/roofline.h"

#include <algorithm>
#include <map>

namespace hymba::eval {
namespace {

constexpr double kCacheBytes = 1e6;  // activations below this stay in a second-level cache

std::map<std::string, std::int64_t> facts_of(const Mixer& mixer) {
  const auto facts = mixer.facts();
  return {facts.begin(), facts.end()};
}

// One more layer of a shape, as `same` tells.
template <class Shape, class Same>
void add_layer(std::vector<Shape>& shapes, const Shape& shape, const Same& same) {
  const auto known = std::find_if(shapes.begin(), shapes.end(), [&](const Shape& other) { return same(other, shape); });
  if (known == shapes.end()) {
    shapes.push_back(shape);
  } else {
    known->layers += 1;
  }
}

void add_linear(const at::Tensor& weight, StepWork* work) {
  work->weight_elements += static_cast<double>(weight.numel());
  add_layer(work->linear, LinearWork{weight.size(1), weight.size(0), 1},
            [](const LinearWork& a, const LinearWork& b) { return a.outputs == b.outputs && a.inputs == b.inputs; });
}

void add_attention(const Mixer& mixer, double context, double meta, StepWork* work) {
  auto f = facts_of(mixer);
  const double keys = meta + (f["window"] < 0 ? context : std::min(context, static_cast<double>(f["window"])));
  add_layer(work->attention, AttentionWork{f["heads"], f["kv_heads"], f["head_dim"], f["v_dim"], keys, 1},
            [](const AttentionWork& a, const AttentionWork& b) {
              return a.heads == b.heads && a.kv_heads == b.kv_heads && a.k_dim == b.k_dim && a.v_dim == b.v_dim && a.keys == b.keys;
            });
}

void add_state(const Mixer& mixer, StepWork* work) {
  auto f = facts_of(mixer);
  const StateWork shape{f.count("groups") != 0, f["inner"], f["state"], std::max<std::int64_t>(f["heads"], 1), 1};
  add_layer(work->states, shape, [](const StateWork& a, const StateWork& b) {
    return a.ssd == b.ssd && a.channels == b.channels && a.states == b.states;
  });
}

}  // namespace

StepWork step_work(const LanguageModel& model, std::int64_t context, double weight_element_bytes) {
  StepWork work;
  for (const auto& p : model.parameters().all()) {
    const bool table = p.name == "embedding.weight" && !model.config().tied;  // one row a token
    if (p.product && !table) add_linear(p.value, &work);
  }
  work.weight_bytes = work.weight_elements * weight_element_bytes;
  for (const auto& sublayer : model.sublayers()) {
    work.launches += 3;  // norm, two products
    for (const auto& mixer : sublayer->mixers()) {
      work.activation_bytes += 3 * 4 * static_cast<double>(mixer->in_rows() + mixer->out_width());
      work.launches += mixer->recurrent() ? 8 : mixer->attends() ? 4 : 1;
      if (mixer->attends())
        add_attention(*mixer, static_cast<double>(context), static_cast<double>(model.config().meta_tokens), &work);
      if (mixer->recurrent()) add_state(*mixer, &work);
    }
    if (sublayer->mixers().size() > 1) work.launches += 3;
  }
  work.activation_bytes += 2 * 4 * static_cast<double>(model.config().vocab);
  return work;
}

StepTime step_time(const StepWork& work, const Device& device, double batch, double kv_bytes) {
  StepTime t;
  if (device.gemm_flops > 0) {  // (2)
    t.linear = std::max(work.weight_bytes / device.bandwidth, 2 * batch * work.weight_elements / device.gemm_flops);
  } else {
    const at::ScalarType type = work.weight_bytes < 4 * work.weight_elements ? at::kBFloat16 : at::kFloat;
    for (const auto& shape : work.linear) t.linear += measured_linear_seconds(shape, static_cast<std::int64_t>(batch), type);
  }
  const at::ScalarType kv_type = kv_bytes == 4 ? at::kFloat : at::kBFloat16;
  for (const auto& a : work.attention) {  // (3)
    const double rows = batch * a.layers * a.keys, row = static_cast<double>(a.k_dim + a.v_dim);
    t.attention += device.attention_flops > 0
                       ? std::max(rows * static_cast<double>(a.kv_heads) * row * kv_bytes / device.bandwidth,
                                  2 * rows * static_cast<double>(a.heads) * row / device.attention_flops)
                       : measured_attention_seconds(a, static_cast<std::int64_t>(batch), kv_type);
  }
  for (const auto& s : work.states) {  // (4)
    const double elements = batch * s.layers * static_cast<double>(s.channels * s.states);
    t.state += device.state_rate > 0 ? std::max(2 * 4 * elements / device.bandwidth, elements / device.state_rate)
                                     : measured_state_seconds(s, static_cast<std::int64_t>(batch));
  }
  const double activations = batch * work.activation_bytes;  // (5)
  t.activations = activations > kCacheBytes ? activations / device.bandwidth : 0;
  t.launches = work.launches * device.launch_seconds;  // (6)
  return t;
}

// Data sheets: NVIDIA A100 SXM 80 GB (2.04 TB/s, 312 TFLOP/s bf16 dense), H100 SXM (3.35 TB/s, 989 TFLOP/s). A state
// costs one exponential: 16 a clock and multiprocessor. No launch cost: the bound of a fused, graph-captured step.
Device a100() { return {"A100", 2.04e12, 312e12, 312e12, 108 * 16 * 1.41e9, 0}; }
Device h100() { return {"H100", 3.35e12, 989e12, 989e12, 132 * 16 * 1.98e9, 0}; }

}  // namespace hymba::eval
