// Invented Records of every study, two seeds each: for tests, and to look at by eye.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "base/rng.h"
#include "reports/test_records.h"

namespace hymba::reports {

inline constexpr int kTestLayers = 6;

// Adds Records of one study, in the form that `src/cli` writes them.
class InventedStudies {
 public:
  std::vector<Record> records;

  InventedStudies() {
    for (const auto& p : paper_rows()) {
      for (const std::uint64_t seed : {0, 1}) {
        row_ = p.row, title_ = p.title, seed_ = seed;
        if (p.row == 9 || p.row == 13) heads();
        needle(), field(), attention(), magnitudes(), curves();
      }
    }
    for (const int context : {512, 4096, 8000, 65536})
      for (const auto& p : paper_rows())
        if (context == 8000 || std::set<int>{1, 4, 6, 7, 9, 12, 13}.count(p.row) != 0) throughput(p, context);
  }

 private:
  Record& add(const std::string& study, const std::string& metric, const std::string& task, double value, double error, nlohmann::json extra) {
    Record r = make_record(fmt::format("row-{:02}", row_), metric, value, seed_, task);
    r.study = study;
    if (std::isfinite(error)) r.error = error;
    r.config_hash = fmt::format("{}-{}-{}", study, row_, seed_);
    r.extra = std::move(extra);
    r.extra.update({{"row", row_}, {"title", title_}});
    records.push_back(std::move(r));
    return records.back();
  }
  bool hybrid() const { return row_ != 1 && row_ != 6 && row_ != 10 && row_ != 12; }
  bool attends() const { return row_ != 1 && row_ != 12; }
  int meta() const { return row_ >= 12 ? 8 : 0; }
  double noise(double scale) { return scale * rng_.normal(); }

  void heads() {
    for (const char* task : {"facts", "records", "passages"}) {
      for (int layer = 0; layer < kTestLayers; ++layer) {
        for (const char* branch : {"attention", "ssm"}) {
          for (int head = -1; head < (branch == std::string("ssm") ? 0 : 4); ++head) {
            const double d = (layer == 0 && branch == std::string("ssm") && head < 0 ? -0.42 : -0.015) + noise(0.01);
            add("heads", "acc", task, 0.5 + d, 0.02,
                {{"layer", layer}, {"branch", branch}, {"head", head < 0 ? nlohmann::json(nullptr) : nlohmann::json(head)}, {"baseline", 0.5}, {"difference", d},
                 {"stderr", 0.012}, {"layers", kTestLayers}, {"mode", "zero"}, {"fusion", "half"}});
          }
        }
      }
      add("heads", "speedup", task, 2.1, kNaN, {{"shared_s", 1.0}, {"separate_s", 2.1}});
    }
  }
  void needle() {
    for (const int length : {32, 64, 128, 256, 512}) {
      double sum = 0;
      for (int d = 0; d < 5; ++d) {
        const double v = std::clamp((attends() ? 0.9 : 0.2) * 128 / (128 + length * 0.4) + 0.04 * d + noise(0.03), 0.0, 1.0);
        sum += v / 5;
        add("needle", "acc", "needle", v, 0.04, {{"length", length}, {"depth", d / 4.0}, {"chance", 0.04}, {"train_length", 128}});
      }
      add("needle", "acc_mean", "needle", sum, 0.03, {{"length", length}, {"chance", 0.04}, {"train_length", 128}});
    }
  }
  void field() {
    const double distance = 8 + 3 * row_ + noise(1), cache = paper_rows()[static_cast<std::size_t>(row_ - 1)].cache_mb;
    add("erf", "mean_distance", "", distance, 0.8, {{"cache_mb", cache}, {"length", 128}, {"span90", 3 * distance}, {"meta", 0.1}});
    for (int low = 0; low < 128; low = low == 0 ? 1 : 2 * low)
      add("erf", "share", "", std::exp(-low / distance) / 4, kNaN, {{"from", low}, {"to", low == 0 ? 0 : 2 * low - 1}, {"cache_mb", cache}, {"length", 128}});
  }
  void attention() {
    for (int layer = 0; layer < kTestLayers; ++layer) {
      for (const char* branch : {"attention", "ssm"}) {
        if (branch == std::string("attention") ? !attends() : attends() && !hybrid()) continue;
        for (const char* domain : {"all", "facts", "records", "songs"}) {
          nlohmann::json by_meta = nlohmann::json::array();
          double sum = 0;
          for (int m = 0; m < meta(); ++m) {
            const double v = 0.02 + 0.02 * std::abs(std::sin(m + domain[0] + layer));
            by_meta.push_back(v), sum += v;
          }
          const double bos = attends() ? 0.25 : 0.1;
          add("attention", "mass", domain, sum, kNaN,
              {{"layer", layer}, {"branch", branch}, {"head", domain == std::string("all") ? nlohmann::json(0) : nlohmann::json(nullptr)}, {"meta", sum}, {"bos", bos},
               {"self", 0.2}, {"cross", 0.8 - sum - bos}, {"entropy", 2 + noise(0.1)}, {"by_meta", by_meta}});
        }
      }
    }
    nlohmann::json map = nlohmann::json::array(), tokens = nlohmann::json::array();
    for (int i = 0; i < 16; ++i) {
      nlohmann::json line = nlohmann::json::array();
      for (int j = 0; j < 16 + meta(); ++j) line.push_back(j > i + meta() ? 0.0 : 1.0 / (1 + i + meta()));
      map.push_back(line);
      tokens.push_back(fmt::format("word{}", i));
    }
    add("attention", "map", "facts", 0.6, kNaN, {{"layer", nullptr}, {"part", "composed"}, {"meta", meta()}, {"map", map}, {"tokens", tokens}});
  }
  void magnitudes() {
    for (int layer = 0; layer < kTestLayers; ++layer)
      for (const char* branch : {"attention", "ssm"}) {
        if (!hybrid()) continue;
        for (const char* metric : {"output", "gate", "fused"})
          add("magnitudes", metric, "", (branch == std::string("ssm") ? 1.4 : 0.8) + 0.1 * layer + noise(0.05), kNaN, {{"layer", layer}, {"branch", branch}});
      }
  }
  void curves() {
    for (int step = 1; step <= 60; ++step)
      add("curves", "loss", "", 1.5 + 4.0 / (1 + 0.2 * step) + 0.02 * row_ + noise(0.03), kNaN,
          {{"step", step}, {"tokens", step * 40000}, {"lr", step < 5 ? step * 0.001 : step < 45 ? 0.005 : 0.005 * (60 - step) / 15},
           {"stage", step < 5 ? "warm-up" : step < 45 ? "stable" : "annealing"}});
    add("curves", "validation_loss", "", 2.1 + 0.02 * row_ + noise(0.01), 0.01, {{"step", 30}, {"tokens", 1200000}, {"stage", "stable"}});
    add("curves", "validation_loss", "", 1.8 + 0.02 * row_ + noise(0.01), 0.01, {{"step", 60}, {"tokens", 2400000}, {"stage", "annealing"}});
  }
  void throughput(const PaperRow& p, int context) {
    row_ = p.row, title_ = p.title, seed_ = 0;
    const double speed = p.throughput_tok_s * 0.01 * 8000 / (p.cache_mb > 10 ? context : 8000) * (1 + noise(0.02));
    Record& r = add("throughput", "decode_tok_s", "", speed, kNaN,
                    {{"batch", 32}, {"batch_asked", 128}, {"context", context}, {"dtype", "bf16"}, {"decode_tok_s_min", 0.97 * speed}, {"decode_tok_s_max", 1.03 * speed},
                     {"prefill_tok_s", 9 * speed}, {"predicted_tok_s", 1.1 * speed}, {"predicted_a100_tok_s", 1.5 * p.throughput_tok_s}, {"cache_bytes_measured", 32e6 * p.cache_mb},
                     {"peak_rss_bytes", 4e9}});
    r.size = "paper";
  }

  Rng rng_{11};
  int row_ = 0;
  std::uint64_t seed_ = 0;
  std::string title_;
};

inline std::vector<Record> invented_studies() { return InventedStudies().records; }

}  // namespace hymba::reports
