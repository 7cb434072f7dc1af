// Greedy generation of ModelScorer: many short answers by padded passes, longer ones on the engine's caches.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/index_select.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/interrupt.h"
#include "engine/engine.h"
#include "eval/model_scorer.h"
#include "eval/rows.h"

namespace hymba::eval {
namespace {

constexpr std::int32_t kShortGeneration = 4;  // tokens; up to here repeating a padded pass is cheaper than caches
constexpr std::int64_t kMostSlots = 16;

using Answers = std::vector<std::vector<std::int32_t>>;

// Takes a new id; true where the answer goes on.
bool take(const GenerateRequest& request, std::int32_t id, std::vector<std::int32_t>* answer) {
  if (id == request.eos) return false;
  answer->push_back(id);
  return !(request.stop && request.stop(*answer)) && static_cast<std::int32_t>(answer->size()) < request.max_new_tokens;
}

std::int32_t best(const at::Tensor& logits_V) { return static_cast<std::int32_t>(at::argmax(logits_V).item<std::int64_t>()); }

}  // namespace

Answers ModelScorer::generate(std::span<const GenerateRequest> requests) {
  const at::NoGradGuard no_grad;
  Answers results(requests.size());
  std::int32_t longest = 0;
  for (const auto& request : requests) {
    require(!request.prompt.empty(), "[scorer] an empty prompt");
    longest = std::max(longest, request.max_new_tokens);
  }
  longest <= kShortGeneration ? generate_short(requests, results) : generate_long(requests, results);
  return results;
}

// A few tokens each: one padded pass a token.
void ModelScorer::generate_short(std::span<const GenerateRequest> requests, Answers& results) {
  std::vector<std::size_t> order(requests.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return requests[a].prompt.size() > requests[b].prompt.size(); });
  for (std::size_t first = 0; first < order.size();) {
    const auto length = static_cast<std::int64_t>(requests[order[first]].prompt.size()) + kShortGeneration;
    const std::size_t last = std::min(order.size(), first + static_cast<std::size_t>(rows_of_pass(length, length, false)));
    std::vector<std::size_t> active;
    for (std::size_t i = first; i < last; ++i) {
      if (requests[order[i]].max_new_tokens > 0) active.push_back(order[i]);
    }
    first = last;
    while (!active.empty()) {
      throw_if_interrupted();
      Answers rows;
      for (const auto i : active) {
        rows.push_back(requests[i].prompt);
        rows.back().insert(rows.back().end(), results[i].begin(), results[i].end());
      }
      const at::Tensor ids = padded_rows(rows, [](const auto& row) -> const auto& { return row; });
      std::vector<std::int64_t> ends;
      for (std::size_t r = 0; r < rows.size(); ++r)
        ends.push_back(static_cast<std::int64_t>(r) * ids.size(1) + static_cast<std::int64_t>(rows[r].size()) - 1);
      const at::Tensor hidden = model_.forward(ids).reshape({-1, model_.config().hidden});
      const at::Tensor next = at::argmax(model_.logits(at::index_select(hidden, 0, index_of(ends).to(hidden.device()))), 1).to(at::kCPU).contiguous();
      std::vector<std::size_t> still;
      for (std::size_t r = 0; r < active.size(); ++r) {
        const auto id = static_cast<std::int32_t>(next.const_data_ptr<std::int64_t>()[r]);
        if (take(requests[active[r]], id, &results[active[r]])) still.push_back(active[r]);
      }
      active = std::move(still);
    }
  }
}

// Slots take one token a step; one whose answer has ended takes the next prompt.
void ModelScorer::generate_long(std::span<const GenerateRequest> requests, Answers& results) {
  std::int64_t context = 0;
  for (const auto& request : requests)
    context = std::max(context, static_cast<std::int64_t>(request.prompt.size()) + request.max_new_tokens);
  const std::int64_t most = options_.batch_rows > 0 ? options_.batch_rows : kMostSlots;
  const std::int64_t slots = std::min({most, rows_of_pass(1, context, true), static_cast<std::int64_t>(requests.size())});
  const Engine engine(model_);
  const auto batch = engine.open(slots, context);
  std::size_t next = 0, done = 0;
  std::vector<std::int64_t> ids(static_cast<std::size_t>(slots), -1);
  std::vector<std::size_t> owner(ids.size());
  const auto fill = [&](std::size_t slot) {  // until an answer needs more than its first token
    for (ids[slot] = -1; ids[slot] < 0 && next < requests.size(); ++next) {
      throw_if_interrupted();
      const auto& request = requests[next];
      batch->restart(static_cast<std::int64_t>(slot));
      const std::vector<std::int64_t> prompt(request.prompt.begin(), request.prompt.end());
      const std::int32_t id = best(batch->prefill(static_cast<std::int64_t>(slot), prompt));
      owner[slot] = next;
      if (request.max_new_tokens > 0 && take(request, id, &results[next])) ids[slot] = id;
      else ++done;
    }
  };
  for (std::size_t slot = 0; slot < ids.size(); ++slot) fill(slot);
  while (std::any_of(ids.begin(), ids.end(), [](std::int64_t id) { return id >= 0; })) {
    throw_if_interrupted();
    const at::Tensor top_B = at::argmax(batch->step(ids), 1).to(at::kCPU).contiguous();
    for (std::size_t slot = 0; slot < ids.size(); ++slot) {
      if (ids[slot] < 0) continue;
      const std::size_t i = owner[slot];
      const auto id = static_cast<std::int32_t>(top_B.const_data_ptr<std::int64_t>()[slot]);
      ids[slot] = id;
      if (take(requests[i], id, &results[i])) continue;
      ++done;
      fill(slot);
    }
    if (options_.progress) options_.progress(static_cast<std::int64_t>(done), static_cast<std::int64_t>(requests.size()));
  }
}

}  // namespace hymba::eval
