// Held-out items of the eight general tasks, one item a call.
#pragma once

#include <vector>

#include "data/world.h"
#include "data/world_stories.h"

namespace hymba::data {

WorldItem fact_item(const std::vector<Relation>& relations, std::size_t choices, Rng& rng);
WorldItem tool_item(const WorldFacts& facts, Rng& rng);
WorldItem continuation_item(const WorldFacts& facts, Rng& rng);
WorldItem who_item(const WorldFacts& facts, Rng& rng);
WorldItem rule_item(const WorldFacts& facts, Rng& rng);
WorldItem yes_no_item(Rng& rng);
WorldItem cause_item(const WorldFacts& facts, Rng& rng);

}  // namespace hymba::data
