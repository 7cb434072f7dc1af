// Greedy generation of a model with parts removed: a few tokens by shared passes, more of them on caches.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/index_select.h>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/rng.h"
#include "eval/head_removal.h"
#include "eval/rows.h"

namespace hymba::eval {
namespace {

constexpr std::int32_t kShortGeneration = 4;  // as eval/model_scorer.cpp

// Appends `id` unless it ends the text; true if the text goes on.
bool extend(const GenerateRequest& request, std::int32_t id, std::vector<std::int32_t>& text) {
  if (id == request.eos) return false;
  text.push_back(id);
  return !(request.stop && request.stop(text)) && static_cast<std::int32_t>(text.size()) < request.max_new_tokens;
}

}  // namespace

std::vector<std::vector<std::int32_t>> RemovalScorer::generate(std::span<const GenerateRequest> requests) {
  const at::NoGradGuard no_grad;
  std::uint64_t hash = 1;
  std::int32_t longest = 0;
  for (const auto& request : requests) {
    require(!request.prompt.empty(), "[scorer] an empty prompt");
    longest = std::max(longest, request.max_new_tokens);
    hash = hash64({reinterpret_cast<const char*>(request.prompt.data()), request.prompt.size() * sizeof(request.prompt[0])}, hash);
  }
  if (asked_ == hash && !texts_.empty()) return texts_[selected_];
  texts_.assign(removals_.size() + 1, std::vector<Ids>(requests.size()));
  if (options_.mode == RemovalMode::kMean) {
    std::vector<std::vector<Row>> batches;
    for (std::size_t i = 0; i < requests.size(); ++i) batches.push_back({{requests[i].prompt, {i}}});
    learn_means(batches);
  }
  if (longest <= kShortGeneration) {
    generate_steps(requests, longest);
  } else {
    for (std::size_t v = 0; v < texts_.size(); ++v) {
      generate_cached(requests, v);
      if (options_.progress) options_.progress(static_cast<double>(v + 1) / static_cast<double>(texts_.size()));
    }
  }
  asked_ = hash;
  return texts_[selected_];
}

// One padded pass a token. Texts that are still those of the intact model share the layers below a removal; a removal
// whose text has gone another way runs on its own.
void RemovalScorer::generate_steps(std::span<const GenerateRequest> requests, std::int32_t longest) {
  const std::size_t variants = texts_.size();
  std::vector<std::vector<char>> open(variants, std::vector<char>(requests.size(), 1));
  std::vector<std::size_t> order(requests.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return requests[a].prompt.size() > requests[b].prompt.size(); });
  const auto pass = [&](std::size_t variant_or_all, const std::vector<std::size_t>& chosen, const std::vector<std::vector<Ids>>& before) {
    for (std::size_t first = 0; first < chosen.size();) {
      throw_if_interrupted();
      const auto width = requests[chosen[first]].prompt.size() + static_cast<std::size_t>(longest);
      const std::size_t last = std::min(chosen.size(), first + std::max<std::size_t>(1, static_cast<std::size_t>(options_.batch_tokens) / width));
      std::vector<Ids> rows;
      for (std::size_t k = first; k < last; ++k) {
        rows.push_back(requests[chosen[k]].prompt);
        const auto& text = before[variant_or_all == variants ? 0 : variant_or_all][chosen[k]];
        rows.back().insert(rows.back().end(), text.begin(), text.end());
      }
      const at::Tensor ids = padded_rows(rows, [](const Ids& row) -> const Ids& { return row; });
      std::vector<std::int64_t> ends;
      for (std::size_t k = 0; k < rows.size(); ++k) ends.push_back(static_cast<std::int64_t>(k) * ids.size(1) + static_cast<std::int64_t>(rows[k].size()) - 1);
      const Visit visit = [&](std::size_t v, const at::Tensor& hidden) {
        const at::Tensor flat = at::index_select(hidden.reshape({-1, model_.config().hidden}), 0, index_of(ends).to(hidden.device()));
        const at::Tensor next = at::argmax(model_.logits(flat), 1).to(at::kCPU).contiguous();
        for (std::size_t k = first; k < last; ++k) {
          const std::size_t i = chosen[k];
          // In a shared pass only variants that still say what the intact model says.
          if (!open[v][i] || (variant_or_all == variants && before[v][i] != before[0][i])) continue;
          const auto id = static_cast<std::int32_t>(next.data_ptr<std::int64_t>()[k - first]);
          open[v][i] = extend(requests[i], id, texts_[v][i]) ? 1 : 0;
        }
      };
      if (variant_or_all == variants) {
        each_variant(ids, visit);
      } else {
        visit(variant_or_all, model_.forward(ids, nullptr, masks(variant_or_all - 1)));
      }
      first = last;
    }
  };
  for (std::int32_t step = 0; step < longest; ++step) {
    const auto before = texts_;
    const auto was_open = open;
    std::vector<std::size_t> shared;
    for (const auto i : order) {
      bool any = false;
      for (std::size_t v = 0; v < variants; ++v) any = any || (was_open[v][i] && before[v][i] == before[0][i]);
      if (any) shared.push_back(i);
    }
    pass(variants, shared, before);
    for (std::size_t v = 1; v < variants; ++v) {
      std::vector<std::size_t> own;
      for (const auto i : order) {
        if (was_open[v][i] && before[v][i] != before[0][i]) own.push_back(i);
      }
      pass(v, own, before);
    }
    if (options_.progress) options_.progress(static_cast<double>(step + 1) / static_cast<double>(longest));
  }
}

// Prompts of one length on one cache; a text that has ended goes on with what it says, which is not kept.
void RemovalScorer::generate_cached(std::span<const GenerateRequest> requests, std::size_t variant) {
  const auto mask = variant == 0 ? std::vector<HeadMask>() : masks(variant - 1);
  std::map<std::size_t, std::vector<std::size_t>> by_length;
  for (std::size_t i = 0; i < requests.size(); ++i) by_length[requests[i].prompt.size()].push_back(i);
  for (const auto& [length, group] : by_length) {
    std::int32_t longest = 0;
    for (const auto i : group) longest = std::max(longest, requests[i].max_new_tokens);
    const std::size_t rows = std::max<std::size_t>(1, static_cast<std::size_t>(options_.batch_tokens) / (length + static_cast<std::size_t>(longest)));
    for (std::size_t first = 0; first < group.size(); first += rows) {
      const std::vector<std::size_t> part(group.begin() + static_cast<std::ptrdiff_t>(first),
                                          group.begin() + static_cast<std::ptrdiff_t>(std::min(group.size(), first + rows)));
      at::Tensor ids = padded_rows(part, [&](std::size_t i) -> const Ids& { return requests[i].prompt; });
      ModelCache cache = model_.make_cache(ids.size(0), ids.size(1) + longest);
      std::vector<char> open(part.size(), 1);
      for (std::int32_t step = 0; step < longest; ++step) {
        throw_if_interrupted();
        const at::Tensor hidden = model_.forward(ids, &cache, mask);
        const at::Tensor next = at::argmax(model_.logits(hidden.select(1, hidden.size(1) - 1)), 1).to(at::kCPU).contiguous();
        bool any = false;
        for (std::size_t k = 0; k < part.size(); ++k) {
          if (open[k]) open[k] = extend(requests[part[k]], static_cast<std::int32_t>(next.data_ptr<std::int64_t>()[k]), texts_[variant][part[k]]) ? 1 : 0;
          any = any || open[k];
        }
        if (!any) break;
        ids = next.view({-1, 1});
      }
    }
  }
}

}  // namespace hymba::eval
