// Memory for what the ops return.
#pragma once

#include <ATen/core/Tensor.h>

namespace hymba::kernels {

// at::empty(sizes, options), but on the CPU a tensor of 4 MiB or more starts elsewhere in a page than the one before it. Large blocks of
// memory all start with a page; with rows of a few KiB the same rows of all of an op's tensors then fall into the same few sets of the
// caches, and throw each other out.
at::Tensor empty_output(at::IntArrayRef sizes, const at::TensorOptions& options);

}  // namespace hymba::kernels
