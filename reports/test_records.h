// Invented Records for the tests of this folder.
#pragma once

#include <string>
#include <vector>

#include "reports/paper.h"
#include "results/record.h"

namespace hymba::reports {

inline std::vector<PaperRow> paper_rows() { return read_paper(HYMBA_SOURCE_DIR "/ablations/paper/roadmap.csv"); }

inline Record make_record(const std::string& design, const std::string& metric, double value, std::uint64_t seed,
                          const std::string& task = "") {
  Record r;
  r.study = "roadmap";
  r.design = design;
  r.size = "quick";
  r.metric = metric;
  r.task = task;
  r.value = value;
  r.seed = seed;
  r.n = 400;
  r.config_hash = "0123456789abcdef";
  r.commit = "abc1234";
  r.host = "test host";
  r.time = "2026-01-31T12:00:00Z";
  return r;
}

// All that the roadmap command writes of one design and seed: two tasks a suite, both at the given accuracy.
inline std::vector<Record> design_records(const std::string& design, int row, std::uint64_t seed, double general,
                                          double recall) {
  std::vector<Record> records;
  Record ratio = make_record(design, "ratio", 5.23, seed);
  ratio.extra = {{"text", "1:5.23"}, {"title", "Title of " + design}, {"row", row}, {"from", "base"}};
  for (const PaperRow& p : paper_rows())
    if (p.row == row) ratio.extra["title"] = p.title, ratio.extra["group"] = p.group;
  records.push_back(ratio);
  for (const std::string task : {"facts-a", "facts-b", "recall-a", "recall-b"}) {
    const bool is_recall = task[0] == 'r';
    Record acc = make_record(design, "acc", is_recall ? recall : general, seed, task);
    acc.error = 0.01;
    acc.extra = {{"suite", is_recall ? "recall" : "general"}, {"chance", is_recall ? 0.03125 : 0.25}};
    records.push_back(acc);
  }
  Record decode = make_record(design, "decode_tok_s", 1000, seed);
  decode.extra = {{"batch", 64}, {"batch_asked", 128}, {"context", 8000}, {"min", 900}, {"max", 1100}};
  records.push_back(decode);
  records.push_back(make_record(design, "prefill_tok_s", 20000, seed));
  for (const char* metric : {"cache_mb_paper", "cache_mb_exact", "cache_mb_measured"}) {
    Record cache = make_record(design, metric, 39.42, seed);
    cache.extra = {{"context", 8000}};
    records.push_back(cache);
  }
  records.push_back(make_record(design, "params_total", 312000, seed));
  return records;
}

inline std::vector<Record> curve_records(const std::string& design, std::uint64_t seed, int steps) {
  std::vector<Record> records;
  for (int step = 1; step <= steps; ++step) {
    Record r = make_record(design, "loss", 1.5 + 4.0 / (1 + step * 0.05), seed);
    r.study = "train";
    r.extra = {{"step", step}, {"tokens", step * 4096}, {"lr", 0.004}};
    records.push_back(r);
  }
  return records;
}

}  // namespace hymba::reports
