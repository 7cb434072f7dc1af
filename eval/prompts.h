// Texts that studies read: prompts by domain, all of one length.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/tokenizer.h"
#include "data/world.h"

namespace hymba::eval {

struct PromptSet {
  std::string domain;  // "article", "math", "code"; for the synthetic world its kinds of documents
  std::vector<std::vector<std::int32_t>> rows;
};

// `count` prompts of `length` ids of every kind of document, from documents no training run reads.
std::vector<PromptSet> world_prompts(const data::World& world, std::int64_t count, std::int64_t length);

// The same from a text file, or from JSON lines (the fields text, content, context, question, answer, prompt and
// canonical_solution that are there, in this order). UserError for a file that is too short or has none of them.
PromptSet file_prompts(const std::string& domain, const std::filesystem::path& file, const Tokenizer& tokenizer, std::int64_t count, std::int64_t length);

// Where shared data folders keep articles, mathematics and code, as far as they are below `folder`: {domain, file}.
std::vector<std::pair<std::string, std::filesystem::path>> find_domains(const std::filesystem::path& folder);

}  // namespace hymba::eval
