#include "mixer/attention_plan.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/text.h"

namespace hymba {
namespace {

std::set<std::int64_t> full_layers(const AttentionPlanOptions& o, const std::vector<std::int64_t>& layers) {
  std::set<std::int64_t> full;
  if (o.full_layers == "all") return {layers.begin(), layers.end()};
  if (o.full_layers == "none" || o.full_layers.empty()) return full;
  for (const auto& part : split(o.full_layers, ',')) {
    const std::string word = trim(part);
    if (word == "first") {
      full.insert(layers.front());
    } else if (word == "middle") {
      full.insert(layers[(layers.size() - 1) / 2]);
    } else if (word == "last") {
      full.insert(layers.back());
    } else {
      const auto layer = parse_int(word, "attention.full_layers (first, middle, last, none, all or layer numbers)");
      require(std::find(layers.begin(), layers.end(), layer) != layers.end(),
              "attention.full_layers: layer {} has no attention; the layers that have: {}", layer,
              fmt::join(layers, " "));
      full.insert(layer);
    }
  }
  return full;
}

std::vector<std::vector<std::int64_t>> explicit_groups(const AttentionPlanOptions& o,
                                                       const std::vector<std::int64_t>& layers) {
  std::vector<std::vector<std::int64_t>> groups;
  std::set<std::int64_t> seen;
  for (const auto& text : split(o.kv_groups, ',')) {
    std::vector<std::int64_t> group;
    for (const auto& word : split(trim(text), '-')) {
      const auto layer = parse_int(trim(word), "attention.kv_groups (such as 1-2, 3-4-5)");
      require(std::find(layers.begin(), layers.end(), layer) != layers.end(),
              "attention.kv_groups: layer {} has no attention; the layers that have: {}", layer,
              fmt::join(layers, " "));
      require(seen.insert(layer).second, "attention.kv_groups: layer {} stands in two groups", layer);
      require(group.empty() || layer > group.front(), "attention.kv_groups: '{}': the first layer makes K and V, so it "
              "must come first in the model", trim(text));
      group.push_back(layer);
    }
    groups.push_back(group);
  }
  return groups;
}

// Runs of neighbouring attention layers of one kind, cut into groups of kv_share.
std::vector<std::vector<std::int64_t>> neighbour_groups(const AttentionPlanOptions& o,
                                                        const std::vector<std::int64_t>& layers,
                                                        const std::set<std::int64_t>& full) {
  std::vector<std::vector<std::int64_t>> groups;
  if (o.kv_share <= 1) return groups;
  const auto share = static_cast<std::size_t>(o.kv_share);
  for (std::size_t i = 0; i < layers.size();) {
    std::size_t end = i + 1;
    if (o.window > 0 && full.count(layers[i]) != 0) {  // full layers among windows keep their own K and V
      i = end;
      continue;
    }
    while (end < layers.size() && !(o.window > 0 && full.count(layers[end]) != 0)) ++end;
    std::size_t first = (end - i) % share == 0 || end - i < share ? share : share + (end - i) % share;
    while (i < end) {
      const std::size_t stop = std::min(end, i + first);
      groups.emplace_back(layers.begin() + static_cast<std::ptrdiff_t>(i), layers.begin() + static_cast<std::ptrdiff_t>(stop));
      i = stop;
      first = share;
    }
  }
  return groups;
}

}  // namespace

std::map<std::int64_t, AttentionLayer> plan_attention(const AttentionPlanOptions& o,
                                                      const std::vector<std::int64_t>& layers) {
  constexpr std::int64_t kMostKeys = std::int64_t{1} << 40;  // room for sums with meta tokens
  require(o.window >= 0 && o.window <= kMostKeys, "attention.window = {}: expected 0 (full attention) or the number of keys, at most {}", o.window, kMostKeys);
  require(o.kv_share >= 1, "attention.kv_share = {}: expected 1 or more", o.kv_share);
  require(o.window > 0 || o.full_layers.empty() || o.full_layers == "none",
          "attention.full_layers = {} has no effect: attention.window is 0, so all layers are full", o.full_layers);
  require(o.kv_groups.empty() || o.kv_share == 1, "attention.kv_share and attention.kv_groups: give one of them");
  const auto full = full_layers(o, layers);
  std::map<std::int64_t, AttentionLayer> plan;
  for (const auto layer : layers) {
    const std::int64_t window = o.window == 0 || full.count(layer) != 0 ? -1 : o.window;
    plan[layer] = {window, layer, window};
  }
  const auto groups = o.kv_groups.empty() ? neighbour_groups(o, layers, full) : explicit_groups(o, layers);
  for (const auto& group : groups) {
    for (const auto layer : group) {
      plan[layer].source = group.front();
      if (plan[layer].window < 0) plan[group.front()].cache_window = -1;
    }
  }
  return plan;
}

}  // namespace hymba
