// Requests: items as token ids, by the rules of lm-evaluation-harness 0.4 (its HFLM model class).
//   bos       every text is encoded with the tokenizer's bos in front, where it has one
//   a pair    white space at the end of the context moves to the continuation; the continuation's ids are what
//             encode(context + continuation) has beyond the length of encode(context), not its ids alone
//   no context  the context is bos (eos where there is no bos) and the continuation is encoded alone
//   too long  the last max_length + 1 ids are kept, bos is cut like the rest
//   rolling   windows of max_length predictions with as much left context as fits; the first starts from bos
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "data/tokenizer.h"
#include "eval/task.h"

namespace hymba::eval {

// Scores `continuation` after `context`. The model reads both without the last id; context is never empty.
struct LoglikelihoodRequest {
  std::vector<std::int32_t> context, continuation;
};

struct LoglikelihoodResult {
  double logprob = 0;   // sum over the continuation, natural logarithm
  bool greedy = false;  // every id of the continuation was the most likely one
};

struct GenerateRequest {
  std::vector<std::int32_t> prompt;
  std::int32_t max_new_tokens = 0;
  std::int32_t eos = -1;  // generation ends before this id; -1: never
  // Asked after each new id with all new ids so far; true ends the generation. May be empty.
  std::function<bool(std::span<const std::int32_t>)> stop;
};

// A model as the tasks see it. Results come in the order of the requests; batching and sorting are its own business.
class Scorer {
 public:
  virtual ~Scorer() = default;
  virtual std::vector<LoglikelihoodResult> loglikelihood(std::span<const LoglikelihoodRequest> requests) = 0;
  // Greedy. The new ids only, without eos.
  virtual std::vector<std::vector<std::int32_t>> generate(std::span<const GenerateRequest> requests) = 0;
};

// The ids with what the tokenizer puts around every text (bos in front, mostly).
std::vector<std::int32_t> encode_with_bos(const Tokenizer& tokenizer, std::string_view text);

// The pair before truncation.
LoglikelihoodRequest encode_pair(const Tokenizer& tokenizer, const std::string& context, const std::string& continuation);

// Keeps the last max_length + 1 ids. UserError naming `where` for a continuation that does not fit.
void truncate(LoglikelihoodRequest* request, std::int64_t max_length, const std::string& where);

// The windows of a whole text; their log-probabilities add up.
std::vector<LoglikelihoodRequest> rolling_windows(const Tokenizer& tokenizer, const std::string& text,
                                                  std::int64_t max_length);

using Shots = std::span<const Item* const>;  // worked examples, see eval/shots.h

// Contexts of an item with the preamble and worked examples in front.
std::vector<std::string> contexts_with_shots(const TaskDefinition& task, const Item& item, Shots shots);

// What an item asks of the model, log-likelihood kinds: one request a choice (or context, or window).
std::vector<LoglikelihoodRequest> loglikelihood_requests(const TaskDefinition& task, const Item& item,
                                                         const Tokenizer& tokenizer, std::int64_t max_length,
                                                         Shots shots = {});

// Where the item's answer ends.
const std::vector<std::string>& stops_of(const TaskDefinition& task, const Item& item);

// Completion: the prompt's last max_length - max_new_tokens ids.
GenerateRequest generate_request(const TaskDefinition& task, const Item& item, const Tokenizer& tokenizer,
                                 std::int64_t max_length);

}  // namespace hymba::eval
