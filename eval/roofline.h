// A roofline model of one decoding step: what a design must move and compute for a batch, and how long a device with
// given limits takes for it. All equations are in roofline.cpp; limits of this machine are measured (measured_device).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/language_model.h"

namespace hymba::eval {

// Products with the weights of one shape, [outputs, inputs].
struct LinearWork {
  std::int64_t inputs = 0, outputs = 0;
  double layers = 0;
};

// Attention of the layers with one shape, one step: B queries of H heads on K KV heads.
struct AttentionWork {
  std::int64_t heads = 0, kv_heads = 0, k_dim = 0, v_dim = 0;
  double keys = 0;  // visible to one sequence in one layer
  double layers = 0;
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
  std::vector<LinearWork> linear;
  std::vector<AttentionWork> attention;
  std::vector<StateWork> states;
  double activation_bytes = 0;  // of one token: projections and branch outputs, written once and read twice
  double launches = 0;          // kernels of a step, for devices where starting one costs
};
StepWork step_work(const LanguageModel& model, std::int64_t context, double weight_element_bytes);

// What a device can do. On a CPU the rates of products, attention and state updates depend on the shape and on where the data
// lie: there they are measured with the same kernels on as many bytes as a step reads.
struct Device {
  std::string name;
  double bandwidth = 0;        // bytes/s of memory
  double gemm_flops = 0;       // flop/s of products at the batch in question; 0: measured by shape
  double attention_flops = 0;  // flop/s of decode attention; 0: measured by shape
  double state_rate = 0;       // state elements/s; 0: measured by shape
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
// This machine, measured now: its bandwidth, and of a GPU all other limits, with products of `batch` rows and weights of `type`.
Device measured_device(std::int64_t batch, at::ScalarType type);
// Seconds of one step's products, decode attention and state updates for one shape on this CPU, all layers: the kernels'
// rate on as many bytes as the step reads (256 MB at most), measured now.
double measured_linear_seconds(const LinearWork& shape, std::int64_t batch, at::ScalarType type);
double measured_attention_seconds(const AttentionWork& shape, std::int64_t batch, at::ScalarType kv_type);
double measured_state_seconds(const StateWork& shape, std::int64_t batch);

}  // namespace hymba::eval
