// What `generate` and `chat` share: a loaded model with its engine, and text that is shown as it comes.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cli/context.h"
#include "engine/engine.h"
#include "engine/sampler.h"

namespace hymba::cli {

// A MODEL argument ready to generate: weights and caches in the asked types.
struct Generator {
  LoadedModel loaded;
  std::unique_ptr<Tokenizer> tokenizer;  // null where the model has none: ids in, ids out
  std::unique_ptr<Engine> engine;
};
Generator open_generator(const Invocation& invocation);
void add_generation_options(boost::program_options::options_description& o);
SamplingOptions sampling_of(const Invocation& invocation);

// "1,2,3". UserError, naming the option, for an empty list and for what is no number.
std::vector<std::int64_t> ids_of_option(const std::string& text, const std::string& option);
// Prompt text as ids, with bos in front where the vocabulary has one. UserError for an empty text.
std::vector<std::int64_t> prompt_ids(const Tokenizer& tokenizer, const std::string& text, bool bos);
std::string text_of(const Tokenizer& tokenizer, const std::vector<std::int64_t>& ids);

// Text of a growing list of ids, given out in whole characters: a token may end inside one.
class TextStream {
 public:
  explicit TextStream(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  std::string push(std::int64_t id);  // what is new and whole
  std::string rest();                 // what was held back

 private:
  const Tokenizer& tokenizer_;
  std::vector<std::int64_t> ids_;
  std::size_t shown_ = 0;  // bytes
};

}  // namespace hymba::cli
