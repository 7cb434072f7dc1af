#include "eval/requests.h"

#include <algorithm>

#include "base/error.h"
#include "data/utf8.h"
#include "eval/shots.h"

namespace hymba::eval {

namespace {

// The id that stands for "no text before this".
std::int32_t prefix_id(const Tokenizer& tokenizer) {
  const std::int32_t id = tokenizer.bos() >= 0 ? tokenizer.bos() : tokenizer.eos();
  require(id >= 0, "tokenizer {}: expected a bos or eos id to start an empty context with, found neither",
          tokenizer.name());
  return id;
}

std::string place(const TaskDefinition& task, const Item& item) {
  return fmt::format("task {} item {}", task.name, item.id);
}

}  // namespace

std::vector<std::int32_t> encode_with_bos(const Tokenizer& tokenizer, std::string_view text) {
  return tokenizer.encode_with_special(text);
}

LoglikelihoodRequest encode_pair(const Tokenizer& tokenizer, const std::string& context,
                                 const std::string& continuation) {
  if (context.empty()) return {{prefix_id(tokenizer)}, tokenizer.encode(continuation)};
  const std::string_view kept = strip_right(context);
  const std::string moved = context.substr(kept.size()) + continuation;
  LoglikelihoodRequest request{encode_with_bos(tokenizer, kept), {}};
  // Tokens at the seam may differ from both parts'; as the harness, cut the whole by the length of the context's ids.
  const auto whole = encode_with_bos(tokenizer, std::string(kept) + moved);
  if (whole.size() > request.context.size()) {
    request.continuation.assign(whole.begin() + static_cast<std::ptrdiff_t>(request.context.size()), whole.end());
  }
  // White space alone leaves nothing to start from where the tokenizer has no bos.
  if (request.context.empty()) request.context = {prefix_id(tokenizer)};
  return request;
}

void truncate(LoglikelihoodRequest* request, std::int64_t max_length, const std::string& where) {
  const auto continuation = static_cast<std::int64_t>(request->continuation.size());
  require(continuation > 0, "{}: expected a continuation of at least one token, found none", where);
  require(continuation <= max_length, "{}: expected a continuation of at most max_length = {} tokens, found {}; raise "
          "the maximum length", where, max_length, continuation);
  const std::int64_t excess = static_cast<std::int64_t>(request->context.size()) + continuation - (max_length + 1);
  if (excess > 0) request->context.erase(request->context.begin(), request->context.begin() + excess);
}

std::vector<LoglikelihoodRequest> rolling_windows(const Tokenizer& tokenizer, const std::string& text,
                                                  std::int64_t max_length) {
  const auto ids = encode_with_bos(tokenizer, text);
  const auto n = static_cast<std::int64_t>(ids.size());
  std::vector<LoglikelihoodRequest> windows;
  for (std::int64_t begin = 0; begin < n; begin += max_length) {
    const std::int64_t end = std::min(begin + max_length, n);
    LoglikelihoodRequest window;
    if (begin == 0) {
      window.context = {prefix_id(tokenizer)};
    } else {
      // As much left context as makes max_length inputs: the last window overlaps the one before it.
      window.context.assign(ids.begin() + (end - max_length - 1), ids.begin() + begin);
    }
    window.continuation.assign(ids.begin() + begin, ids.begin() + end);
    windows.push_back(std::move(window));
  }
  return windows;
}

std::vector<std::string> contexts_with_shots(const TaskDefinition& task, const Item& item, Shots shots) {
  std::vector<std::string> contexts = item.contexts;
  if (contexts.empty()) contexts = {item.prompt};
  const std::string before = item.preamble + shots_text(task, shots);
  for (auto& context : contexts) context = before + context;
  return contexts;
}

const std::vector<std::string>& stops_of(const TaskDefinition& task, const Item& item) {
  return item.until.empty() ? task.until : item.until;
}

std::vector<LoglikelihoodRequest> loglikelihood_requests(const TaskDefinition& task, const Item& item,
                                                         const Tokenizer& tokenizer, std::int64_t max_length,
                                                         Shots shots) {
  require(max_length > 0, "task {}: expected a maximum length of at least 1, found {}", task.name, max_length);
  if (task.kind == TaskKind::kRolling) return rolling_windows(tokenizer, item.prompt, max_length);
  const auto contexts = contexts_with_shots(task, item, shots);
  std::vector<LoglikelihoodRequest> requests;
  if (task.kind == TaskKind::kLoglikelihood) {
    requests.push_back(encode_pair(tokenizer, contexts[0], task.delimiter + item.answer));
  } else if (task.kind == TaskKind::kPartial) {
    for (const auto& context : contexts) {
      requests.push_back(encode_pair(tokenizer, context, task.delimiter + item.choices[0]));
    }
  } else {
    for (const auto& choice : item.choices) {
      requests.push_back(encode_pair(tokenizer, contexts[0], task.delimiter + choice));
    }
  }
  for (auto& request : requests) truncate(&request, max_length, place(task, item));
  return requests;
}

GenerateRequest generate_request(const TaskDefinition& task, const Item& item, const Tokenizer& tokenizer,
                                 std::int64_t max_length) {
  GenerateRequest request;
  request.max_new_tokens = item.max_new_tokens > 0 ? item.max_new_tokens : task.max_new_tokens;
  require(max_length > request.max_new_tokens, "{}: expected a maximum length above its {} new tokens, found {}; raise "
          "the maximum length or lower 'max_new_tokens'", place(task, item), request.max_new_tokens, max_length);
  request.prompt = encode_with_bos(tokenizer, item.prompt);
  // The end of a long prompt is kept: the question stands there.
  const auto room = static_cast<std::size_t>(max_length - request.max_new_tokens);
  if (request.prompt.size() > room) request.prompt.erase(request.prompt.begin(), request.prompt.end() - room);
  if (request.prompt.empty()) request.prompt = {prefix_id(tokenizer)};
  request.eos = tokenizer.eos();
  if (const auto& stops = stops_of(task, item); !stops.empty()) {
    request.stop = [&tokenizer, stops](std::span<const std::int32_t> ids) {
      const std::string text = tokenizer.decode(ids);
      return std::any_of(stops.begin(), stops.end(), [&](const std::string& stop) { return text.find(stop) != std::string::npos; });
    };
  }
  return request;
}

}  // namespace hymba::eval
