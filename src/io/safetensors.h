// safetensors files: 8 bytes header length, JSON header, tensor bytes. Read by memory map with every size checked first.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace hymba {

struct TensorFile {
  std::map<std::string, at::Tensor> tensors;  // CPU copies, in the file's type
  std::map<std::string, std::string> metadata;
};

// UserError naming file and tensor for a truncated file, a header that is no JSON, an unknown type, offsets that leave
// the file, overlap or do not fit the shape, and names given twice. F32 F64 F16 BF16 I64 I32 I16 I8 U8 BOOL.
TensorFile read_safetensors(const std::filesystem::path& path);

// Atomic (see write_file_atomic). Tensors are made contiguous; names in order.
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace hymba
