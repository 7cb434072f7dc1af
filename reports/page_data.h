// What the page knows, as JSON: the script of the page draws from this alone.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "reports/paper.h"
#include "results/record.h"

namespace hymba::reports {

// One layer as the layer map shows it.
struct LayerBox {
  std::string mixer;        // "mamba", "attention", "parallel", "ffn" ...
  std::int64_t window = 0;  // 0: full attention (or none)
  int kv_source = -1;       // the layer whose K and V it reads, -1 for its own
  int meta = 0;             // meta tokens
};

// What a caller knows of a design beyond its Records; both may be empty.
struct DesignDetails {
  std::string config;  // resolved config, as text
  std::vector<LayerBox> layers;
};

struct PageOptions {
  std::string title = "Roadmap";
  std::vector<std::string> notes;  // what the caller found missing or damaged
  std::string generated;                                                 // UTC; empty: the newest time of the Records
  std::map<std::string, DesignDetails> details;                          // by design, for every size
  std::map<std::pair<std::string, std::string>, DesignDetails> by_size;  // by (design, size); wins over details
};

nlohmann::json page_data(const std::vector<Record>& records, const std::vector<PaperRow>& paper,
                         const PageOptions& options);

}  // namespace hymba::reports
