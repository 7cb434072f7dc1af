// Which attention layers see everything, which a window, and which use another layer's K and V (Hymba 2.2 and 2.3).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace hymba {

struct AttentionLayer {
  std::int64_t window = -1;        // keys a query sees, itself included; -1: all
  std::int64_t source = 0;         // the layer whose K and V it uses; itself if it makes its own
  std::int64_t cache_window = -1;  // what its own cache must keep for itself and its consumers; -1: all
};

struct AttentionPlanOptions {
  std::int64_t window = 0;      // 0: full attention everywhere
  std::string full_layers;      // "first,middle,last", layer numbers, "none" or "all"
  std::int64_t kv_share = 1;    // neighbouring window layers that use one layer's K and V
  std::string kv_groups;        // explicit groups instead: "1-2, 3-4, 16-17-18"; the first of each makes K and V
};

// `layers`: the blocks that have attention, ascending. A run of neighbouring layers of one kind is cut into groups of
// kv_share, the remainder going to the first group (as Hymba-1.5B: 16-17-18, 19-20, ...). UserError for what cannot be.
std::map<std::int64_t, AttentionLayer> plan_attention(const AttentionPlanOptions& options,
                                                      const std::vector<std::int64_t>& layers);

}  // namespace hymba
