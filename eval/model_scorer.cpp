#include "eval/model_scorer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/logsumexp.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/interrupt.h"
#include "eval/rows.h"

namespace hymba::eval {
namespace {

constexpr std::int64_t kMostLogits = 1 << 25;  // numbers of one block of logits: 128 MB

}  // namespace

// What one call of loglikelihood() knows: the different rows, and the requests that each answers.
struct ModelScorer::Scoring {
  std::span<const LoglikelihoodRequest> requests;
  std::vector<PrefixRow> rows;
  std::vector<std::vector<std::size_t>> askers;
  std::vector<LoglikelihoodResult> results;
  std::int64_t done = 0;
  std::int64_t length(std::size_t row) const { return static_cast<std::int64_t>(rows[row].ids.size()); }
};

namespace {

// The model reads context and continuation without the last id. Equal rows (answers of one token) are one.
void collect_rows(std::span<const LoglikelihoodRequest> requests, std::vector<PrefixRow>* rows,
                  std::vector<std::vector<std::size_t>>* askers) {
  std::map<std::vector<std::int32_t>, std::size_t> known;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const auto& request = requests[i];
    require(!request.context.empty() && !request.continuation.empty(), "[scorer] request {}: no context or no continuation", i);
    std::vector<std::int32_t> ids(request.context);
    ids.insert(ids.end(), request.continuation.begin(), request.continuation.end() - 1);
    const auto [found, is_new] = known.emplace(std::move(ids), rows->size());
    const std::size_t shareable = request.context.size() - 1;  // the first prediction is the row's own
    if (is_new) {
      rows->push_back({found->first, shareable});
      askers->emplace_back();
    }
    auto& row = (*rows)[found->second];
    row.shareable = std::min(row.shareable, shareable);
    (*askers)[found->second].push_back(i);
  }
}

}  // namespace

std::vector<LoglikelihoodResult> ModelScorer::loglikelihood(std::span<const LoglikelihoodRequest> requests) {
  const at::NoGradGuard no_grad;
  Scoring scoring;
  scoring.requests = requests;
  scoring.results.resize(requests.size());
  collect_rows(requests, &scoring.rows, &scoring.askers);
  std::int64_t longest = 0;
  for (std::size_t i = 0; i < scoring.rows.size(); ++i) longest = std::max(longest, scoring.length(i));
  PrefixNode root;
  const bool share = options_.share && model_.reads_in_parts(longest);
  if (share) {
    root = plan_prefixes(scoring.rows);
  } else {
    for (std::size_t i = 0; i < scoring.rows.size(); ++i) root.rows.push_back(i);
  }
  std::vector<Place> rows, nodes;
  for (const auto row : root.rows) rows.push_back({nullptr, row, 0});
  for (const auto& node : root.children) nodes.push_back({&node, 0, 0});
  if (share && model_.config().meta_tokens > 0 && !scoring.rows.empty()) {  // every text begins with them
    ModelCache meta = model_.make_cache(1, 1);
    model_.prefill_meta(&meta);
    descend(scoring, std::move(rows), std::move(nodes), 0, &meta);
  } else {
    descend(scoring, std::move(rows), std::move(nodes), 0, nullptr);
  }
  return std::move(scoring.results);
}

// Everything that goes on at position `start`, from the sequences of `parent` (null: from nothing).
void ModelScorer::descend(Scoring& scoring, std::vector<Place> rows, std::vector<Place> nodes, std::int64_t start,
                          const ModelCache* parent) {
  read_rows(scoring, std::move(rows), start, parent);
  std::map<std::size_t, std::vector<Place>> by_end;
  for (const auto& place : nodes) by_end[place.node->end].push_back(place);
  for (const auto& [end, group] : by_end) {
    const std::int64_t length = static_cast<std::int64_t>(end) - start;
    for (std::size_t first = 0; first < group.size();) {
      throw_if_interrupted();
      const auto most = static_cast<std::size_t>(rows_of_pass(length, static_cast<std::int64_t>(end), true));
      const std::size_t last = std::min(group.size(), first + most);
      const std::vector<Place> places(group.begin() + static_cast<std::ptrdiff_t>(first),
                                      group.begin() + static_cast<std::ptrdiff_t>(last));
      std::vector<std::vector<std::int32_t>> ids;
      std::vector<Place> rows_below, nodes_below;
      for (std::size_t i = 0; i < places.size(); ++i) {
        const PrefixNode& node = *places[i].node;
        const PrefixNode* any = &node;  // some row below it
        while (any->rows.empty()) any = &any->children.front();
        const auto& row = scoring.rows[any->rows.front()].ids;
        ids.emplace_back(row.begin() + start, row.begin() + static_cast<std::ptrdiff_t>(end));
        const auto at = static_cast<std::int64_t>(i);
        for (const auto r : node.rows) rows_below.push_back({nullptr, r, at});
        for (const auto& child : node.children) nodes_below.push_back({&child, 0, at});
      }
      ModelCache cache = branch(parent, places, static_cast<std::int64_t>(end));
      const at::Tensor ids_BT = padded_rows(ids, [](const auto& row) -> const auto& { return row; });
      tokens_read_ += ids_BT.numel();
      model_.forward(ids_BT, &cache);
      descend(scoring, std::move(rows_below), std::move(nodes_below), static_cast<std::int64_t>(end), &cache);
      first = last;
    }
  }
}

// Rows to their ends, long ones first.
void ModelScorer::read_rows(Scoring& scoring, std::vector<Place> rows, std::int64_t start, const ModelCache* parent) {
  std::stable_sort(rows.begin(), rows.end(), [&](const Place& a, const Place& b) {
    return scoring.length(a.row) > scoring.length(b.row);
  });
  for (std::size_t first = 0; first < rows.size();) {
    throw_if_interrupted();
    const std::int64_t longest = scoring.length(rows[first].row);
    const auto most = static_cast<std::size_t>(rows_of_pass(longest - start, longest, parent != nullptr));
    const std::size_t last = std::min(rows.size(), first + most);
    const std::vector<Place> places(rows.begin() + static_cast<std::ptrdiff_t>(first), rows.begin() + static_cast<std::ptrdiff_t>(last));
    std::vector<std::vector<std::int32_t>> ids;
    for (const auto& place : places) {
      const auto& row = scoring.rows[place.row].ids;
      ids.emplace_back(row.begin() + start, row.end());
    }
    const at::Tensor ids_BT = padded_rows(ids, [](const auto& row) -> const auto& { return row; });
    tokens_read_ += ids_BT.numel();
    if (parent == nullptr) {
      score(scoring, places, start, model_.forward(ids_BT));
    } else {
      ModelCache cache = branch(parent, places, longest);
      score(scoring, places, start, model_.forward(ids_BT, &cache));
    }
    first = last;
  }
}

// A new cache whose sequences are those that the places go on from.
ModelCache ModelScorer::branch(const ModelCache* parent, const std::vector<Place>& places, std::int64_t capacity) const {
  ModelCache cache = model_.make_cache(static_cast<std::int64_t>(places.size()), capacity);
  if (parent == nullptr) return cache;
  std::vector<std::int64_t> rows;
  for (const auto& place : places) rows.push_back(place.parent);
  cache.copy_rows(*parent, index_of(rows));
  return cache;
}

std::int64_t ModelScorer::rows_of_pass(std::int64_t length, std::int64_t capacity, bool cached) const {
  std::int64_t rows = options_.batch_tokens / std::max<std::int64_t>(1, length);
  if (options_.batch_rows > 0) rows = std::min(rows, options_.batch_rows);
  if (cached) {
    CacheQuery query;
    query.context = capacity;
    query.bytes_kv = 4;
    const double bytes = model_.cache_bytes(query).total();
    if (bytes > 0) rows = std::min(rows, static_cast<std::int64_t>(static_cast<double>(options_.cache_bytes) / bytes));
  }
  return std::max<std::int64_t>(1, rows);
}

// Log-probabilities of the continuations from the hidden states of their rows, which begin at position `start`.
void ModelScorer::score(Scoring& scoring, const std::vector<Place>& rows, std::int64_t start, const at::Tensor& hidden_BTD) {
  const std::int64_t width = hidden_BTD.size(1), vocab = model_.config().vocab;
  std::vector<std::int64_t> at, ids;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (const auto asker : scoring.askers[rows[r].row]) {
      const auto& request = scoring.requests[asker];
      for (std::size_t k = 0; k < request.continuation.size(); ++k) {
        const std::int64_t id = request.continuation[k];
        require(id >= 0 && id < vocab, "token id {} is outside the vocabulary of {}; is this the model's tokenizer?", id, vocab);
        at.push_back(static_cast<std::int64_t>(r) * width + static_cast<std::int64_t>(request.context.size() + k) - 1 - start);
        ids.push_back(id);
      }
    }
  }
  std::vector<float> logprob(at.size());
  std::vector<bool> greedy(at.size());
  const at::Tensor hidden = hidden_BTD.reshape({-1, model_.config().hidden}), at_N = index_of(at).to(hidden.device()), ids_N = index_of(ids).to(hidden.device());
  const std::int64_t block = std::max<std::int64_t>(1, kMostLogits / vocab);
  for (std::int64_t first = 0; first < at_N.numel(); first += block) {
    const std::int64_t n = std::min(block, at_N.numel() - first);
    const at::Tensor logits_NV = model_.logits(at::index_select(hidden, 0, at_N.narrow(0, first, n)));
    const at::Tensor wanted = ids_N.narrow(0, first, n);
    const at::Tensor score_N = (at::gather(logits_NV, 1, wanted.unsqueeze(1)).squeeze(1) - at::logsumexp(logits_NV, 1)).to(at::kCPU).contiguous();
    const at::Tensor top_N = at::argmax(logits_NV, 1).to(at::kCPU).contiguous();
    std::copy_n(score_N.const_data_ptr<float>(), n, logprob.begin() + first);
    for (std::int64_t i = 0; i < n; ++i)
      greedy[static_cast<std::size_t>(first + i)] = top_N.const_data_ptr<std::int64_t>()[i] == ids[static_cast<std::size_t>(first + i)];
  }
  std::size_t next = 0;
  for (const auto& place : rows) {
    for (const auto asker : scoring.askers[place.row]) {
      auto& result = scoring.results[asker] = {0, true};
      for (std::size_t k = 0; k < scoring.requests[asker].continuation.size(); ++k, ++next) {
        result.logprob += static_cast<double>(logprob[next]);
        result.greedy = result.greedy && greedy[next];
      }
      ++scoring.done;
    }
  }
  if (options_.progress) options_.progress(scoring.done, static_cast<std::int64_t>(scoring.requests.size()));
}

}  // namespace hymba::eval
