// A GPU that is not one, to test the device side of the program where there is no GPU: tensors of a backend of their own
// (PrivateUse1), whose memory the host may not touch. The ops' launches run the real .cu kernels on the block emulator;
// everything else LibTorch computes on copies. Code that reads or writes such a tensor's memory on the CPU, or mixes its
// tensors with those of the CPU, fails here as it would on a GPU.
#pragma once

#include <c10/core/Device.h>

namespace hymba::testing {

// Makes the device usable and gives its kernels to the ops. Once a process.
c10::Device fake_gpu();

}  // namespace hymba::testing
