// Which beginnings rows of ids share, as a tree: a node's ids are computed once for all rows below it. The choices of a
// question share its context, the questions of a task its worked examples.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace hymba::eval {

struct PrefixRow {
  std::vector<std::int32_t> ids;
  std::size_t shareable = 0;  // ids in front that a node may hold; what follows is the row's own
};

struct PrefixNode {
  std::size_t begin = 0, end = 0;  // its ids: [begin, end) of any row below it
  std::vector<std::size_t> rows;   // that go on alone from `end`
  std::vector<PrefixNode> children;
};

struct PrefixOptions {
  std::size_t grain = 8;      // nodes end at multiples of it, so that many have one length and share a batch
  std::size_t smallest = 16;  // ids that a node must save
  std::size_t inner = 256;    // the same of a node whose children are nodes: each level is a pass of its own
};

// The root holds no ids.
PrefixNode plan_prefixes(std::span<const PrefixRow> rows, const PrefixOptions& options = {});

// Ids that the plan's passes read, padding left out.
std::int64_t computed_ids(const PrefixNode& node, std::span<const PrefixRow> rows);

}  // namespace hymba::eval
