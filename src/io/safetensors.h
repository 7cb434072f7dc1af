// safetensors files: 8 bytes header length, JSON header, tensor bytes. Read by memory map with every size checked first.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"

namespace hymba {

struct TensorFile {
  std::map<std::string, at::Tensor> tensors;  // in the file's type
  std::map<std::string, std::string> metadata;
  std::shared_ptr<const MappedFile> map;  // where tensors lie in one
};

// UserError naming file and tensor for a truncated file, a header that is no JSON, an unknown type, offsets that leave
// the file, overlap, leave bytes that belong to no tensor or do not fit the shape, and names given twice. F32 F64 F16 BF16 I64 I32 I16 I8 U8 BOOL.
// Tensors are copies in memory.
TensorFile read_safetensors(const std::filesystem::path& path);

// The same without copying: tensors lie in a private map of the file, which lives as long as one of them. Writing to them
// changes the process's own pages, never the file. One that is not aligned for its type is copied.
TensorFile map_safetensors(const std::filesystem::path& path);

// Checks a file's bytes, as the two functions above do, and copies its tensors; `name` is for messages.
TensorFile parse_safetensors(std::string_view bytes, const std::string& name);

// Atomic (see write_file_atomic). Tensors are made contiguous; names in order.
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace hymba
