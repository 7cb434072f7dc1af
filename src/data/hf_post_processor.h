// Post-processors of tokenizer.json, for single texts: the special ids in front and behind.
#pragma once

#include <cstdint>
#include <vector>

#include "data/hf_node.h"

namespace hymba::hf {

struct SpecialFrame {
  std::vector<std::int32_t> before, after;
};

SpecialFrame make_special_frame(const Node& node);

}  // namespace hymba::hf
