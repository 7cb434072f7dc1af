// Rows of token ids as tensors, for scorers.
#pragma once

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace hymba::eval {

// Rows of ids, padded on the right with id 0: every mixer is causal, so padding changes no score.
template <class Rows, class IdsOf>
at::Tensor padded_rows(const Rows& rows, const IdsOf& ids_of) {
  std::size_t longest = 1, r = 0;
  for (const auto& row : rows) longest = std::max(longest, ids_of(row).size());
  const at::Tensor ids = at::zeros({static_cast<std::int64_t>(rows.size()), static_cast<std::int64_t>(longest)}, at::kLong);
  auto* data = ids.template data_ptr<std::int64_t>();
  for (const auto& row : rows) std::copy(ids_of(row).begin(), ids_of(row).end(), data + longest * r++);
  return ids;
}

inline at::Tensor index_of(const std::vector<std::int64_t>& values) {
  const at::Tensor index = at::zeros({static_cast<std::int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), index.data_ptr<std::int64_t>());
  return index;
}

}  // namespace hymba::eval
