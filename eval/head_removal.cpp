#include "eval/head_removal.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/interrupt.h"
#include "base/rng.h"
#include "base/text.h"
#include "eval/rows.h"

namespace hymba::eval {
namespace {

constexpr std::int64_t kMeanTokens = 16384;  // over which a branch's mean output is taken

std::string branch_of(const Mixer& mixer) { return mixer.attends() ? "attention" : mixer.recurrent() ? "ssm" : ""; }

std::string describe(const Removal& r) { return fmt::format("{} {} {}", r.layer, r.branch, r.head); }

}  // namespace

std::vector<Removal> list_removals(const LanguageModel& model, const std::vector<std::int64_t>& layers, const std::string& branch,
                                   bool per_head) {
  require(branch == "attention" || branch == "ssm" || branch == "both", "--branch {}: expected attention, ssm or both", branch);
  std::vector<Removal> removals;
  std::set<std::int64_t> all, found;
  for (std::size_t s = 0; s < model.sublayers().size(); ++s) {
    const auto& sublayer = *model.sublayers()[s];
    all.insert(sublayer.layer());
    if (!layers.empty() && std::find(layers.begin(), layers.end(), sublayer.layer()) == layers.end()) continue;
    for (std::size_t m = 0; m < sublayer.mixers().size(); ++m) {
      const std::string name = branch_of(*sublayer.mixers()[m]);
      if (name.empty() || (branch != "both" && branch != name)) continue;
      found.insert(sublayer.layer());
      removals.push_back({sublayer.layer(), name, -1, s, m});
      const std::int64_t heads = sublayer.mixers()[m]->heads();
      for (std::int64_t h = 0; per_head && heads > 1 && h < heads; ++h) removals.push_back({sublayer.layer(), name, h, s, m});
    }
  }
  const std::string wanted = branch == "both" ? "attention or SSM" : branch;
  for (const auto layer : layers) {
    require(all.count(layer) != 0, "--layers {}: the model has the layers 0-{}", layer, all.empty() ? -1 : *all.rbegin());
    require(found.count(layer) != 0, "--layers {}: that layer has no {} branch", layer, wanted);
  }
  require(!removals.empty(), "no layer of the model has an {} branch to remove", wanted);
  return removals;
}

std::vector<HeadMask> removal_masks(const LanguageModel& model, const Removal& removal, const RemovalOptions& options,
                                    const at::Tensor& mean_E) {
  const auto& sublayer = *model.sublayers().at(removal.sublayer);
  const auto& mixer = *sublayer.mixers().at(removal.mixer);
  HeadMask mask{removal.layer, sublayer.mixer_names()[removal.mixer], at::ones({mixer.heads()}), {}};
  if (removal.head < 0) {
    mask.scale_H.zero_();
  } else {
    mask.scale_H[removal.head] = 0;
  }
  if (mean_E.defined()) {  // only the removed channels get their mean; a branch may stand there several times
    const std::int64_t copies = mean_E.size(0) / mixer.out_width(), width = mixer.out_width() / mixer.heads();
    mask.shift_E = (mean_E.view({copies, mixer.heads(), width}) * (1 - mask.scale_H).view({1, -1, 1})).reshape({-1});
  }
  std::vector<HeadMask> masks = {mask};
  const auto n = static_cast<std::int64_t>(sublayer.mixers().size());
  if (options.rest == FusionRest::kWhole && removal.head < 0 && n > 1 && sublayer.fusion() == Fusion::kMean) {
    for (std::size_t m = 0; m < sublayer.mixers().size(); ++m) {
      if (m == removal.mixer) continue;
      const double scale = static_cast<double>(n) / static_cast<double>(n - 1);
      masks.push_back({removal.layer, sublayer.mixer_names()[m], at::ones({sublayer.mixers()[m]->heads()}) * scale, {}});
    }
  }
  return masks;
}

RemovalScorer::RemovalScorer(const LanguageModel& model, std::vector<Removal> removals, RemovalOptions options)
    : model_(model), removals_(std::move(removals)), options_(std::move(options)), means_(removals_.size()) {
  require(options_.mode == RemovalMode::kZero || options_.rest == FusionRest::kHalf,
          "--mode mean keeps the removed branch's mean in its place: --fusion whole has no meaning with it");
  if (options_.journal.empty()) return;
  if (std::filesystem::exists(options_.journal)) {
    for (const auto& line : split(read_file(options_.journal), '\n')) {
      const auto json = nlohmann::json::parse(line, nullptr, false);  // a crash may have cut the last line
      if (json.is_object() && json.contains("key") && json["key"].is_string()) kept_[json["key"].get<std::string>()] = line;
    }
  }
  journal_ = std::make_unique<LineAppender>(options_.journal);
}

RemovalScorer::~RemovalScorer() = default;

void RemovalScorer::each_variant(const at::Tensor& ids_BT, const Visit& visit) {
  const std::size_t end = model_.sublayers().size();
  if (!options_.share) {
    visit(0, model_.forward(ids_BT));
    for (std::size_t r = 0; r < removals_.size(); ++r) visit(r + 1, model_.forward(ids_BT, nullptr, masks(r)));
    return;
  }
  StagedForward base(model_, ids_BT);
  std::size_t r = 0;
  while (base.next() < end) {
    const std::size_t sublayer = base.next();
    if (r >= removals_.size() || removals_[r].sublayer != sublayer) {
      base.run_to(sublayer + 1);
      continue;
    }
    const auto kept = base.run_kept();
    for (; r < removals_.size() && removals_[r].sublayer == sublayer; ++r) {
      throw_if_interrupted();
      StagedForward variant = base;
      variant.replay(kept, masks(r));
      visit(r + 1, variant.finish());
    }
  }
  visit(0, base.finish());
}

// Mean over the tokens of the first batches of each branch's output as it goes into the fusion. Rows of meta tokens and
// padding are left out.
void RemovalScorer::learn_means(const std::vector<std::vector<Row>>& batches) {
  if (options_.mode != RemovalMode::kMean) return;
  using Sums = std::map<std::pair<std::int64_t, std::string>, at::Tensor>;
  Sums sums;
  std::int64_t tokens = 0;
  for (const auto& rows : batches) {
    if (tokens >= kMeanTokens) break;
    const at::Tensor ids = padded_rows(rows, [](const Row& row) -> const Ids& { return row.ids; });
    const std::int64_t meta = model_.config().meta_tokens;
    Sums batch_sums;
    at::Tensor real = at::zeros({ids.size(0), ids.size(1), 1});
    for (std::size_t b = 0; b < rows.size(); ++b) real[static_cast<std::int64_t>(b)].narrow(0, 0, static_cast<std::int64_t>(rows[b].ids.size())).fill_(1);
    real = real.to(model_.device());
    const Observer observer = [&](std::int64_t layer, const std::string& mixer, const std::string& what, const at::Tensor& x) {
      // "branch" comes after "output" and takes its place where there is a fusion.
      if (what == "branch" || what == "output") batch_sums[{layer, mixer}] = (x.narrow(1, meta, ids.size(1)) * real).sum(at::IntArrayRef({0, 1}));
    };
    StagedForward(model_, ids).run_to(model_.sublayers().size(), {}, &observer);
    for (const auto& [key, sum] : batch_sums) sums[key] = sums.count(key) != 0 ? sums[key] + sum : sum;
    tokens += real.sum().item<std::int64_t>();
  }
  for (std::size_t r = 0; r < removals_.size(); ++r) {
    const auto& sublayer = *model_.sublayers()[removals_[r].sublayer];
    means_[r] = sums.at({removals_[r].layer, sublayer.mixer_names()[removals_[r].mixer]}).to(at::kCPU) / static_cast<double>(tokens);
  }
}

void RemovalScorer::score_batch(std::span<const LoglikelihoodRequest> requests, const std::vector<Row>& rows) {
  const at::Tensor ids = padded_rows(rows, [](const Row& row) -> const Ids& { return row.ids; });
  std::vector<std::int64_t> wanted;
  for (std::size_t b = 0; b < rows.size(); ++b) {
    for (const auto i : rows[b].requests) {
      for (std::size_t k = 0; k < requests[i].continuation.size(); ++k) {
        wanted.push_back(static_cast<std::int64_t>(b) * ids.size(1) + static_cast<std::int64_t>(requests[i].context.size() + k) - 1);
      }
    }
  }
  const at::Tensor index = index_of(wanted).to(model_.device());
  each_variant(ids, [&](std::size_t variant, const at::Tensor& hidden) {
    const at::Tensor flat = at::index_select(hidden.reshape({-1, model_.config().hidden}), 0, index);
    const at::Tensor log_probs = at::log_softmax(model_.logits(flat), -1).to(at::kCPU).contiguous();
    const at::Tensor best = at::argmax(log_probs, 1).contiguous();
    const std::int64_t vocab = log_probs.size(1);
    std::int64_t at = 0;
    for (const auto& row : rows) {
      for (const auto i : row.requests) {
        LoglikelihoodResult result{0, true};
        for (const auto id : requests[i].continuation) {
          require(id >= 0 && id < vocab, "token id {} is outside the vocabulary of {}; is this the model's tokenizer?", id, vocab);
          result.logprob += log_probs.data_ptr<float>()[at * vocab + id];
          result.greedy = result.greedy && best.data_ptr<std::int64_t>()[at] == id;
          ++at;
        }
        answers_[variant][i] = result;
      }
    }
  });
}

std::vector<LoglikelihoodResult> RemovalScorer::loglikelihood(std::span<const LoglikelihoodRequest> requests) {
  const at::NoGradGuard no_grad;
  std::uint64_t hash = hash64(fmt::format("{} {} {}", static_cast<int>(options_.mode), static_cast<int>(options_.rest), removals_.size()));
  for (const auto& r : removals_) hash = hash64(describe(r), hash);
  std::map<Ids, std::vector<std::size_t>> by_row;  // in the order of ids: a row comes right before those it begins
  for (std::size_t i = 0; i < requests.size(); ++i) {
    require(!requests[i].context.empty() && !requests[i].continuation.empty(), "[scorer] a request without context or continuation");
    Ids row(requests[i].context);
    row.insert(row.end(), requests[i].continuation.begin(), requests[i].continuation.end());
    hash = hash64({reinterpret_cast<const char*>(row.data()), row.size() * sizeof(row[0])}, hash64(std::to_string(requests[i].context.size()), hash));
    row.pop_back();
    by_row[std::move(row)].push_back(i);
  }
  if (asked_ == hash && !answers_.empty()) return answers_[selected_];
  std::vector<Row> rows;
  for (auto it = by_row.rbegin(); it != by_row.rend(); ++it) {
    const bool prefix = !rows.empty() && it->first.size() <= rows.back().ids.size() && std::equal(it->first.begin(), it->first.end(), rows.back().ids.begin());
    if (!prefix) rows.push_back({it->first, {}});
    rows.back().requests.insert(rows.back().requests.end(), it->second.begin(), it->second.end());
  }
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.ids.size() > b.ids.size(); });
  std::vector<std::vector<Row>> batches;
  for (std::size_t i = 0; i < rows.size();) {
    const auto fit = std::max<std::size_t>(1, static_cast<std::size_t>(options_.batch_tokens) / rows[i].ids.size());
    const std::size_t end = std::min(rows.size(), i + fit);
    batches.emplace_back(rows.begin() + static_cast<std::ptrdiff_t>(i), rows.begin() + static_cast<std::ptrdiff_t>(end));
    i = end;
  }
  answers_.assign(removals_.size() + 1, std::vector<LoglikelihoodResult>(requests.size()));
  learn_means(batches);
  for (std::size_t b = 0; b < batches.size(); ++b) {
    throw_if_interrupted();
    if (!restore(hash, b, batches[b])) {
      score_batch(requests, batches[b]);
      store(hash, b, batches[b]);
    }
    if (options_.progress) options_.progress(static_cast<double>(b + 1) / static_cast<double>(batches.size()));
  }
  asked_ = hash;
  return answers_[selected_];
}

bool RemovalScorer::restore(std::uint64_t hash, std::size_t batch, const std::vector<Row>& rows) {
  const auto found = kept_.find(fmt::format("{}-{}", hex64(hash), batch));
  if (found == kept_.end()) return false;
  const auto json = nlohmann::json::parse(found->second);
  std::vector<std::size_t> requests;
  for (const auto& row : rows) requests.insert(requests.end(), row.requests.begin(), row.requests.end());
  if (!json.contains("logprob") || json["logprob"].size() != answers_.size()) return false;
  for (std::size_t v = 0; v < answers_.size(); ++v) {
    if (json["logprob"][v].size() != requests.size()) return false;
    for (std::size_t k = 0; k < requests.size(); ++k) answers_[v][requests[k]] = {json["logprob"][v][k], json["greedy"][v][k] == 1};
  }
  return true;
}

void RemovalScorer::store(std::uint64_t hash, std::size_t batch, const std::vector<Row>& rows) {
  if (!journal_) return;
  nlohmann::json line = {{"key", fmt::format("{}-{}", hex64(hash), batch)}, {"logprob", nlohmann::json::array()}, {"greedy", nlohmann::json::array()}};
  for (const auto& answers : answers_) {
    nlohmann::json logprob = nlohmann::json::array(), greedy = nlohmann::json::array();
    for (const auto& row : rows) {
      for (const auto i : row.requests) {
        logprob.push_back(answers[i].logprob);
        greedy.push_back(answers[i].greedy ? 1 : 0);
      }
    }
    line["logprob"].push_back(std::move(logprob));
    line["greedy"].push_back(std::move(greedy));
  }
  journal_->append(line.dump());
}

}  // namespace hymba::eval
