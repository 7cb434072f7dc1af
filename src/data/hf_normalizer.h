// Normalizers of tokenizer.json: text -> text, before anything is cut.
#pragma once

#include <functional>
#include <string>

#include "data/hf_node.h"

namespace hymba::hf {

// Takes and gives valid UTF-8.
using Normalizer = std::function<std::string(std::string)>;

Normalizer make_normalizer(const Node& node);

}  // namespace hymba::hf
