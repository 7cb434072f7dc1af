// The CUDA kernels live in a plug-in library, so that a machine without a GPU needs none of it: libhymba_cuda.so,
// built where nvcc is (target hymba_cuda) and loaded here at run time.
#pragma once

#include <string>

namespace hymba::kernels {

struct CudaStatus {
  bool built = false;   // the library is there and loads
  bool usable = false;  // and a GPU, too
  std::string devices;  // their names, "NVIDIA H100 (sm_90, 79 GiB)"
  std::string text;     // in words: the devices, or what is missing and how to get it
};

// Looks once: HYMBA_CUDA_PLUGIN (a path), else where the build puts the library.
const CudaStatus& cuda_status();

// Makes CUDA tensors and the ops on them usable in this process: loads LibTorch's CUDA half (HYMBA_LIBTORCH_CUDA, else
// beside libtorch_cpu.so, else by LD_LIBRARY_PATH) and the plug-in's launches. Call it before anything else asks
// LibTorch for CUDA. UserError in one line that says what is missing, and how to get it.
void load_cuda();

}  // namespace hymba::kernels
