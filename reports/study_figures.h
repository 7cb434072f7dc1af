// The figures of the studies, from Records alone. docs/studies.md says what each shows.
#pragma once

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "reports/figure.h"
#include "reports/roadmap.h"
#include "results/record.h"

namespace hymba::reports {

// One trained model in Records.
struct ModelKey {
  int row = 0;  // of the paper's table; own designs come after it
  std::string design, size;
  std::uint64_t seed = 0;
  auto operator<=>(const ModelKey& other) const {
    const auto key = [](const ModelKey& k) {
      return std::make_tuple(k.row > 0 ? k.row : 1000000, k.design, k.size, k.seed);
    };
    return key(*this) <=> key(other);
  }
  bool operator==(const ModelKey& other) const { return (*this <=> other) == 0; }
  ModelKey of_all_seeds() const { return {row, design, size, 0}; }
};

// The Records of one study by design: the mean over its seeds, with errors over items and seeds (combine_suite). Where a model was measured more than once under other options, the newest counts
// and a note says so; Records of one run from two commits are noted as well.
struct StudyView {
  std::map<ModelKey, std::vector<Record>> models;
  std::map<ModelKey, std::vector<const Record*>> single;  // the same before seeds are combined
  std::map<ModelKey, std::string> names;   // "row 9, 8) + cross-layer KV sharing"
  std::map<ModelKey, std::string> labels;  // "9"
  std::map<ModelKey, std::size_t> seeds;
  std::vector<std::string> notes;
};
StudyView view_study(const std::vector<Record>& records, const std::string& study);
// One Record for each quantity (metric, task, layer, branch, head, length ...): the mean over seeds. `extra.seeds` says over
// how many; a prompt's map is that of the first seed.
std::vector<Record> combine_seeds(const std::vector<const Record*>& records);

std::vector<Figure> head_figures(const StudyView& view);
std::vector<Figure> needle_figures(const StudyView& view);
std::vector<Figure> field_figures(const StudyView& view);
std::vector<Figure> attention_figures(const StudyView& view);
std::vector<Figure> magnitude_figures(const StudyView& view);
std::vector<Figure> curve_figures(const StudyView& view);
Figure tradeoff_figure(const Roadmap& roadmap);
// Of `throughput`: the column beside the paper's and the roofline's; time a token against context (3 contexts or more).
std::vector<Figure> throughput_figures(const std::vector<Record>& records, const std::vector<PaperRow>& paper);

// All of them, as far as there are Records.
std::vector<Figure> study_figures(const std::vector<Record>& records);

// The points that no other one beats in all of `values` (larger is better): Pareto front. NaN is never on it.
std::vector<bool> pareto_front(const std::vector<std::vector<double>>& values);

}  // namespace hymba::reports
