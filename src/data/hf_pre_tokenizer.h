// Pre-tokenizers of tokenizer.json: they cut normalised text into the words that merges stay inside of.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "data/hf_node.h"

namespace hymba::hf {

struct Piece {
  std::string text;
  bool at_start = false;  // stands at the very beginning of the text
};

// Replaces the pieces by finer ones; none is empty.
using PreTokenizer = std::function<void(std::vector<Piece>&)>;

PreTokenizer make_pre_tokenizer(const Node& node);

}  // namespace hymba::hf
