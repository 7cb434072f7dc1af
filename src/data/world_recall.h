// Recall from the context: record lists, passages and songs, with fresh bindings in every document.
#pragma once

#include <string>
#include <vector>

#include "data/world.h"
#include "data/world_facts.h"

namespace hymba::data {

// Form of a record list: "anna red", "anna : red ;", "the code of anna is red .".
enum class RecordForm { kBare, kTerse, kSentence };

void write_records(const WorldOptions& options, Rng& rng, int tokens, Text& out);
void write_passages(const WorldOptions& options, Rng& rng, int tokens, Text& out);
void write_songs(Rng& rng, int tokens, Text& out);

// One item: a list or passage kept for the tests, perhaps queries about others, then the query to be completed.
WorldItem record_item(const WorldOptions& options, Rng& rng);
WorldItem passage_item(const WorldOptions& options, Rng& rng);

// The words of an event up to the town that a query asks for.
std::string_view passage_query(std::string_view event);

}  // namespace hymba::data
