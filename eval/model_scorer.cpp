#include "eval/model_scorer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/interrupt.h"

namespace hymba::eval {
namespace {

// Longer generations run on caches, in groups of equal prompt length; shorter ones repeat a padded batch.
constexpr std::int32_t kShortGeneration = 4;

std::vector<std::size_t> by_length(std::size_t n, const std::function<std::int64_t(std::size_t)>& length) {
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return length(a) > length(b); });
  return order;
}

// Splits an order from long to short into batches whose padded size stays within the budget.
std::vector<std::vector<std::size_t>> batches(const std::vector<std::size_t>& order, std::int64_t budget,
                                              const std::function<std::int64_t(std::size_t)>& length) {
  std::vector<std::vector<std::size_t>> result;
  std::size_t i = 0;
  while (i < order.size()) {
    const std::int64_t longest = std::max<std::int64_t>(1, length(order[i]));
    const auto rows = static_cast<std::size_t>(std::max<std::int64_t>(1, budget / longest));
    const std::size_t end = std::min(order.size(), i + rows);
    result.emplace_back(order.begin() + static_cast<std::ptrdiff_t>(i), order.begin() + static_cast<std::ptrdiff_t>(end));
    i = end;
  }
  return result;
}

// Rows of ids, padded on the right with id 0.
at::Tensor padded(const std::vector<std::vector<std::int32_t>>& rows) {
  std::size_t longest = 1;
  for (const auto& row : rows) longest = std::max(longest, row.size());
  const at::Tensor ids = at::zeros({static_cast<std::int64_t>(rows.size()), static_cast<std::int64_t>(longest)}, at::kLong);
  auto* data = ids.data_ptr<std::int64_t>();
  for (std::size_t i = 0; i < rows.size(); ++i) std::copy(rows[i].begin(), rows[i].end(), data + i * longest);
  return ids;
}

at::Tensor index_tensor(const std::vector<std::int64_t>& values) {
  const at::Tensor index = at::zeros({static_cast<std::int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), index.data_ptr<std::int64_t>());
  return index;
}

}  // namespace

std::vector<LoglikelihoodResult> ModelScorer::loglikelihood(std::span<const LoglikelihoodRequest> requests) {
  const at::NoGradGuard no_grad;
  std::vector<LoglikelihoodResult> results(requests.size());
  const auto length = [&](std::size_t i) {
    return static_cast<std::int64_t>(requests[i].context.size() + requests[i].continuation.size()) - 1;
  };
  std::int64_t done = 0;
  for (const auto& batch : batches(by_length(requests.size(), length), options_.batch_tokens, length)) {
    throw_if_interrupted();
    std::vector<std::vector<std::int32_t>> rows;
    std::vector<std::int64_t> wanted;  // flat positions of the continuations' predictions
    std::vector<std::int64_t> targets;
    const std::int64_t vocab = model_.config().vocab;
    for (const auto i : batch) {
      std::vector<std::int32_t> row(requests[i].context);
      row.insert(row.end(), requests[i].continuation.begin(), requests[i].continuation.end());
      require(!requests[i].context.empty(), "[scorer] a request without context");
      row.pop_back();
      rows.push_back(std::move(row));
    }
    const at::Tensor ids = padded(rows);
    const std::int64_t width = ids.size(1);
    for (std::size_t r = 0; r < batch.size(); ++r) {
      const auto& request = requests[batch[r]];
      for (std::size_t k = 0; k < request.continuation.size(); ++k) {
        wanted.push_back(static_cast<std::int64_t>(r) * width + static_cast<std::int64_t>(request.context.size() + k) - 1);
        targets.push_back(request.continuation[k]);
        require(targets.back() >= 0 && targets.back() < vocab, "token id {} is outside the vocabulary of {}; is this the model's tokenizer?",
                targets.back(), vocab);
      }
    }
    const at::Tensor hidden = model_.forward(ids).reshape({-1, model_.config().hidden});
    const at::Tensor log_probs = at::log_softmax(model_.logits(at::index_select(hidden, 0, index_tensor(wanted).to(hidden.device()))), -1);
    const at::Tensor best = at::argmax(log_probs, 1).to(at::kCPU).contiguous();
    const at::Tensor own = log_probs.gather(1, index_tensor(targets).unsqueeze(1).to(hidden.device())).to(at::kCPU).contiguous();
    const float* probs = own.data_ptr<float>();
    const auto* top = best.data_ptr<std::int64_t>();
    std::size_t at = 0;
    for (const auto i : batch) {
      LoglikelihoodResult& result = results[i];
      result.greedy = true;
      for (std::size_t k = 0; k < requests[i].continuation.size(); ++k, ++at) {
        result.logprob += probs[at];
        result.greedy = result.greedy && top[at] == targets[at];
      }
    }
    done += static_cast<std::int64_t>(batch.size());
    if (options_.progress) options_.progress(done, static_cast<std::int64_t>(requests.size()));
  }
  return results;
}

std::vector<std::vector<std::int32_t>> ModelScorer::generate(std::span<const GenerateRequest> requests) {
  const at::NoGradGuard no_grad;
  std::vector<std::vector<std::int32_t>> results(requests.size());
  std::int32_t longest = 0;
  for (const auto& request : requests) {
    require(!request.prompt.empty(), "[scorer] an empty prompt");
    longest = std::max(longest, request.max_new_tokens);
  }
  if (longest <= kShortGeneration) {
    generate_short(requests, results);
    return results;
  }
  std::map<std::size_t, std::vector<std::size_t>> groups;
  for (std::size_t i = 0; i < requests.size(); ++i) groups[requests[i].prompt.size()].push_back(i);
  std::int64_t done = 0;
  for (const auto& [length, group] : groups) {
    const std::size_t rows = std::max<std::size_t>(1, static_cast<std::size_t>(options_.batch_tokens) / (length + static_cast<std::size_t>(longest)));
    for (std::size_t first = 0; first < group.size(); first += rows) {
      const std::size_t last = std::min(group.size(), first + rows);
      generate_group(requests, {group.begin() + static_cast<std::ptrdiff_t>(first), group.begin() + static_cast<std::ptrdiff_t>(last)}, results);
      done += static_cast<std::int64_t>(last - first);
      if (options_.progress) options_.progress(done, static_cast<std::int64_t>(requests.size()));
    }
  }
  return results;
}

// A few tokens each: one padded pass a token.
void ModelScorer::generate_short(std::span<const GenerateRequest> requests, std::vector<std::vector<std::int32_t>>& results) {
  const auto length = [&](std::size_t i) { return static_cast<std::int64_t>(requests[i].prompt.size()); };
  for (const auto& batch : batches(by_length(requests.size(), length), options_.batch_tokens, length)) {
    std::vector<std::size_t> active;
    for (const auto i : batch) {
      if (requests[i].max_new_tokens > 0) active.push_back(i);
    }
    while (!active.empty()) {
      throw_if_interrupted();
      std::vector<std::vector<std::int32_t>> rows;
      for (const auto i : active) {
        rows.push_back(requests[i].prompt);
        rows.back().insert(rows.back().end(), results[i].begin(), results[i].end());
      }
      const at::Tensor ids = padded(rows);
      std::vector<std::int64_t> wanted;
      for (std::size_t r = 0; r < rows.size(); ++r) wanted.push_back(static_cast<std::int64_t>(r) * ids.size(1) + static_cast<std::int64_t>(rows[r].size()) - 1);
      const at::Tensor hidden = model_.forward(ids).reshape({-1, model_.config().hidden});
      const at::Tensor next = at::argmax(model_.logits(at::index_select(hidden, 0, index_tensor(wanted).to(hidden.device()))), 1).to(at::kCPU).contiguous();
      std::vector<std::size_t> still;
      for (std::size_t r = 0; r < active.size(); ++r) {
        const auto& request = requests[active[r]];
        auto& result = results[active[r]];
        const auto id = static_cast<std::int32_t>(next.data_ptr<std::int64_t>()[r]);
        if (id == request.eos) continue;
        result.push_back(id);
        const bool stop = (request.stop && request.stop(result)) || static_cast<std::int32_t>(result.size()) >= request.max_new_tokens;
        if (!stop) still.push_back(active[r]);
      }
      active = std::move(still);
    }
  }
}

// Prompts of one length on one cache. A sequence that has ended goes on with its last id; what it says is not kept.
void ModelScorer::generate_group(std::span<const GenerateRequest> requests, const std::vector<std::size_t>& group,
                                 std::vector<std::vector<std::int32_t>>& results) {
  std::vector<std::vector<std::int32_t>> rows;
  std::int32_t longest = 0;
  for (const auto i : group) {
    rows.push_back(requests[i].prompt);
    longest = std::max(longest, requests[i].max_new_tokens);
  }
  at::Tensor ids = padded(rows);
  ModelCache cache = model_.make_cache(ids.size(0), ids.size(1) + longest);
  std::vector<bool> ended(group.size(), false);
  for (std::int32_t step = 0; step < longest; ++step) {
    throw_if_interrupted();
    const at::Tensor hidden = model_.forward(ids, &cache);
    const at::Tensor next = at::argmax(model_.logits(hidden.select(1, hidden.size(1) - 1)), 1).to(at::kCPU).contiguous();
    bool all_ended = true;
    for (std::size_t r = 0; r < group.size(); ++r) {
      const auto& request = requests[group[r]];
      auto& result = results[group[r]];
      const auto id = static_cast<std::int32_t>(next.data_ptr<std::int64_t>()[r]);
      if (!ended[r] && id != request.eos) result.push_back(id);
      ended[r] = ended[r] || id == request.eos || (request.stop && request.stop(result)) ||
                 static_cast<std::int32_t>(result.size()) >= request.max_new_tokens;
      all_ended = all_ended && ended[r];
    }
    if (all_ended) return;
    ids = next.view({-1, 1});
  }
}

}  // namespace hymba::eval
