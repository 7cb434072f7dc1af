// Continuations of prompts: all of a list, a batch at a time; a sequence that ends makes room for the next prompt.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/sampler.h"

namespace hymba {

struct Prompt {
  std::vector<std::int64_t> ids;
  std::int64_t max_new_tokens = 0;
};

struct GenerateOptions {
  std::int64_t batch = 8;  // sequences at a time
  std::int64_t eos = -1;   // ends a sequence; not part of it; -1: none
  SamplingOptions sampling;
  // Called for every new token; false ends the sequence behind it. May be empty.
  std::function<bool(std::size_t prompt, std::int64_t id)> on_token;
};

struct GenerateResult {
  std::vector<std::vector<std::int64_t>> ids;  // of each prompt: the new ones only
  std::int64_t prompt_tokens = 0, new_tokens = 0;
  double prefill_seconds = 0, decode_seconds = 0;
  std::int64_t decode_steps = 0, decoded = 0;  // tokens that came from steps: all but each sequence's first
  std::int64_t cache_bytes = 0;
};

// UserError for an empty prompt and ids outside the vocabulary, Error where the caches do not fit into memory: all of
// it before anything is computed.
GenerateResult generate(const Engine& engine, const std::vector<Prompt>& prompts, const GenerateOptions& options);

}  // namespace hymba
