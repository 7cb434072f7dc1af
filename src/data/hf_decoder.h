// Decoders of tokenizer.json: tokens -> tokens; what comes out is joined.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "data/hf_node.h"

namespace hymba::hf {

using Decoder = std::function<std::vector<std::string>(std::vector<std::string>)>;

Decoder make_decoder(const Node& node);

}  // namespace hymba::hf
