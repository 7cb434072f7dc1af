// Models for use without gradients: matrices keep the 16 bits that their file has, and one that is whole in the file stays
// in the file's map. A bf16 checkpoint then needs little more memory than its file, and starts as fast as it is read.
#pragma once

#include "exchange/open_model.h"

namespace hymba {

// As load_model(); arithmetic is float32 in both, so results differ by rounding order at most.
LoadedModel load_model_as_stored(const std::filesystem::path& path);

}  // namespace hymba
