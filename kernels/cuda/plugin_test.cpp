// What a machine without GPU can tell of the plug-in: that its absence is said plainly, and that it loads and registers
// its ops where it was built.
#include "kernels/cuda/plugin.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <gtest/gtest.h>

namespace hymba::kernels {
namespace {

TEST(CudaPlugin, SaysWhatIsThereOrMissing) {
  const CudaStatus& status = cuda_status();
  EXPECT_FALSE(status.text.empty());
  EXPECT_TRUE(status.built || !status.usable);
  EXPECT_NE(status.text.find("CUDA"), std::string::npos) << status.text;
}

TEST(CudaPlugin, RegistersEveryOpForCudaTensors) {
  if (!cuda_status().built) GTEST_SKIP() << cuda_status().text;
  for (const char* name : {"selective_scan_forward", "selective_scan_backward", "causal_conv1d_forward",
                           "causal_conv1d_backward", "ssd_forward", "ssd_backward", "window_attention_forward",
                           "window_attention_backward", "decode_attention", "conv_update", "selective_state_update",
                           "rope", "rms_norm_forward", "rms_norm_backward", "swiglu_forward", "swiglu_backward"}) {
    const auto op = c10::Dispatcher::singleton().findSchema({std::string("hymba_cuda::") + name, ""});
    ASSERT_TRUE(op.has_value()) << name;
    EXPECT_TRUE(op->hasKernelForDispatchKey(c10::DispatchKey::CUDA)) << name;
  }
}

}  // namespace
}  // namespace hymba::kernels
