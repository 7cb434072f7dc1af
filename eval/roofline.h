// A roofline model of one decoding step: what a design must move and compute for a batch, and how long a device with
// given limits takes for it. All equations are in roofline.cpp; limits of this machine are measured (measured_device).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/language_model.h"

namespace hymba::eval {

// Attention of the layers with one shape, one step: B queries of H heads on K KV heads.
struct AttentionWork {
  std::int64_t heads = 0, kv_heads = 0, k_dim = 0, v_dim = 0;
  double keys = 0;  // visible to one sequence, summed over the layers
};

// State updates of the layers with one shape. `ssd`: Mamba-2, one decay a head instead of one a state.
struct StateWork {
  bool ssd = false;
  std::int64_t channels = 0, states = 0, heads = 0;
  double layers = 0;
};

// What one token of one sequence costs, and what a step reads once for all sequences.
struct StepWork {
  double weight_bytes = 0, weight_elements = 0;  // of all linear layers, once a step
  std::vector<AttentionWork> attention;
  std::vector<StateWork> states;
  double activation_bytes = 0;  // of one token: projections and branch outputs, written once and read twice
  double launches = 0;          // kernels of a step, for devices where starting one costs
};
StepWork step_work(const LanguageModel& model, std::int64_t context, double weight_element_bytes);

// What a device can do. Rates may depend on the shape: on a CPU they are measured with the same kernels in its caches.
struct Device {
  std::string name;
  double bandwidth = 0;        // bytes/s of memory
  double gemm_flops = 0;       // flop/s of products at the batch in question
  double attention_flops = 0;  // flop/s of decode attention with K and V in cache; 0: measured by shape
  double state_rate = 0;       // state elements/s in cache; 0: measured by shape
  double launch_seconds = 0;
};

struct StepTime {
  double linear = 0, attention = 0, state = 0, activations = 0, launches = 0;
  double total() const { return linear + attention + state + activations + launches; }
};
// kv_bytes: of one element of K and V.
StepTime step_time(const StepWork& work, const Device& device, double batch, double kv_bytes);

Device a100();
Device h100();
// This machine: bandwidth and products of `batch` rows with weights of `type`, measured now (about a second).
Device measured_device(std::int64_t batch, at::ScalarType type);
// Flop/s of decode attention and state elements/s, on data that stays in the caches, for one shape; measured once each.
double measured_attention_flops(const AttentionWork& shape, at::ScalarType kv_type);
double measured_state_rate(const StateWork& shape);

}  // namespace hymba::eval
