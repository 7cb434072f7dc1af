// Where models live: the CPU, or a GPU whose kernels are loaded (kernels/cuda/plugin.h).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace hymba {

// The device of every model that is made from here on; the CPU unless set. What belongs to a model (caches, optimizer
// state, scratch) follows its parameters, and ids and masks are copied to where they are needed.
void set_model_device(const at::Device& device);
at::Device model_device();

// Bytes that a new allocation there may take; of a GPU, with what its allocator keeps given back.
std::int64_t free_memory(const at::Device& device);
// The most that this process has had there (the CPU: resident) since its start or the last reset.
std::int64_t peak_memory(const at::Device& device);
void reset_peak_memory(const at::Device& device);

// Waits until a GPU has finished what it was given: before and after anything that is timed.
void synchronize(const at::Device& device);

}  // namespace hymba
