// Memory for what the ops return.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>

namespace hymba::kernels {

// at::empty(sizes, options), but on the CPU a tensor of 512 KiB or more
// - starts elsewhere in a page than the one before it: large blocks of memory all start with a page, and with rows of a few KiB the same
//   rows of all of an op's tensors then fall into the same few sets of the caches and throw each other out;
// - takes the block of a freed one of as many bytes, where there is one: with the C library's defaults the system would clear pages for
//   every call, which takes as long as a scan.
at::Tensor empty_output(at::IntArrayRef sizes, const at::TensorOptions& options);

// Freed blocks are kept up to `bytes` together, the oldest leave first. 0: none, those that are kept are given back now (measurements of
// memory). Returns the bound before; it is kKeptOutputs at start.
constexpr std::size_t kKeptOutputs = 256 << 20;
std::size_t keep_freed_outputs(std::size_t bytes);

}  // namespace hymba::kernels
