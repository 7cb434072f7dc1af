#include "eval/prefix_tree.h"

#include <algorithm>
#include <numeric>

namespace hymba::eval {
namespace {

class Planner {
 public:
  Planner(std::span<const PrefixRow> rows, const PrefixOptions& options) : rows_(rows), options_(options) {
    order_.resize(rows.size());
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::stable_sort(order_.begin(), order_.end(), [&](auto a, auto b) { return rows[a].ids < rows[b].ids; });
    for (std::size_t i = 0; i + 1 < order_.size(); ++i) {
      const auto &a = rows[order_[i]].ids, &b = rows[order_[i + 1]].ids;
      const auto [end, other] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
      shared_.push_back(static_cast<std::size_t>(end - a.begin()));
    }
  }

  // Sorted rows [low, high), which all share their first `start` ids, below `parent`.
  void split(std::size_t low, std::size_t high, std::size_t start, PrefixNode* parent) const {
    for (std::size_t first = low; first < high;) {
      std::size_t last = first + 1;
      while (last < high && shared_[last - 1] >= start + options_.smallest) ++last;
      if (last - first == 1) {
        parent->rows.push_back(order_[first]);
      } else {
        add_group(first, last, start, parent);
      }
      first = last;
    }
  }

 private:
  void add_group(std::size_t low, std::size_t high, std::size_t start, PrefixNode* parent) const {
    std::size_t end = rows_[order_[low]].shareable;
    for (std::size_t i = low + 1; i < high; ++i) end = std::min({end, shared_[i - 1], rows_[order_[i]].shareable});
    end = end / options_.grain * options_.grain;
    PrefixNode node{start, end, {}, {}};
    if (end < start + options_.smallest) {  // a row with a short context is among them
      for (std::size_t i = low; i < high; ++i) parent->rows.push_back(order_[i]);
      return;
    }
    split(low, high, end, &node);
    const std::size_t saved = (end - start) * (node.rows.size() + node.children.size() - 1);
    if (saved >= (node.children.empty() ? options_.smallest : options_.inner)) {
      parent->children.push_back(std::move(node));
      return;
    }
    parent->rows.insert(parent->rows.end(), node.rows.begin(), node.rows.end());
    for (auto& child : node.children) {
      child.begin = start;
      parent->children.push_back(std::move(child));
    }
  }

  std::span<const PrefixRow> rows_;
  PrefixOptions options_;
  std::vector<std::size_t> order_, shared_;  // shared_[i]: ids that the sorted rows i and i + 1 begin with
};

}  // namespace

PrefixNode plan_prefixes(std::span<const PrefixRow> rows, const PrefixOptions& options) {
  PrefixNode root;
  Planner(rows, options).split(0, rows.size(), 0, &root);
  return root;
}

std::int64_t computed_ids(const PrefixNode& node, std::span<const PrefixRow> rows) {
  auto ids = static_cast<std::int64_t>(node.end - node.begin);
  for (const auto row : node.rows) ids += static_cast<std::int64_t>(rows[row].ids.size() - node.end);
  for (const auto& child : node.children) ids += computed_ids(child, rows);
  return ids;
}

}  // namespace hymba::eval
