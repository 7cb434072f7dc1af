// What a reader must know before trusting a roadmap: uneven suites and seeds, Records that contradict each other.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/text.h"
#include "reports/roadmap.h"

namespace hymba::reports {
namespace {

constexpr std::size_t kMostWarnings = 20;  // a thousand designs must not push the table off the page

// A mean over fewer tasks than another row's is no ranking: said aloud, not hidden.
void warn_of_uneven_suites(Roadmap& roadmap) {
  for (const std::string suite : {"general", "recall"}) {
    std::set<std::string> all;
    const auto tasks_in = [&](const RoadmapRow& row) {
      std::set<std::string> names;
      for (const TaskScore& t : row.tasks)
        if (t.suite == suite && t.metric == "acc" && t.estimate.measured()) names.insert(t.task);
      return names;
    };
    for (const RoadmapRow& row : roadmap.rows) all.merge(tasks_in(row));
    for (const RoadmapRow& row : roadmap.rows) {
      const std::size_t found = tasks_in(row).size();
      if (found > 0 && found < all.size())
        roadmap.warnings.push_back(
            fmt::format("{}: {} is the mean of {} of {} tasks and not comparable with other rows", row.design, suite,
                        found, all.size()));
    }
  }
}

// Where most designs have three seeds, one with two is named.
void warn_of_uneven_seeds(Roadmap& roadmap) {
  std::size_t most = 0;
  for (const RoadmapRow& row : roadmap.rows) most = std::max(most, row.seeds.size());
  std::string list;
  for (const RoadmapRow& row : roadmap.rows)
    if (!row.seeds.empty() && row.seeds.size() < most) list += fmt::format("{}{} ({})", list.empty() ? "" : ", ", row.design, row.seeds.size());
  if (!list.empty()) roadmap.warnings.push_back(fmt::format("not every design has {} seeds: {}", most, list));
}

// Of one run, that is of one design and seed.
struct Run {
  std::set<std::string> hashes, commits;
  std::map<std::tuple<std::string, std::string, std::string>, std::pair<double, std::string>> numbers;  // metric, task, hash -> value, commit
  std::string contradiction;
  int contradictions = 0;
};

// Speeds and memory differ from run to run; counts, losses and scores of one configuration do not.
bool repeats_exactly(const Record& r) { return r.metric.find("tok_s") == std::string::npos && r.unit != "GB" && std::isfinite(r.value); }

void look_at(Run& run, const Record& r) {
  if (!r.config_hash.empty()) run.hashes.insert(r.config_hash);
  run.commits.insert(r.commit);
  if (!repeats_exactly(r)) return;
  const auto [it, fresh] = run.numbers.try_emplace({r.metric, r.task, r.config_hash}, r.value, r.commit);
  if (fresh || it->second.first == r.value) return;
  if (run.contradictions++ == 0)
    run.contradiction = fmt::format("{}{}{}: {:.6g} (commit {}) and {:.6g} (commit {})", r.metric, r.task.empty() ? "" : " of ", r.task, it->second.first, it->second.second, r.value, r.commit);
  it->second = {r.value, r.commit};
}

void warn_of_contradictions(Roadmap& roadmap, const std::vector<Record>& records) {
  std::map<std::pair<std::string, std::uint64_t>, Run> runs;
  std::set<std::string> speed_hosts;
  for (const Record& r : records) {
    if (r.study != "roadmap" || r.size != roadmap.size || r.extra.contains("pairs") || r.extra.contains("distance")) continue;
    look_at(runs[{r.design, r.seed}], r);
    if (r.metric == "decode_tok_s") speed_hosts.insert(r.host);
  }
  for (const auto& [key, run] : runs) {
    const std::string name = fmt::format("{}, seed {}", key.first, key.second);
    if (run.hashes.size() > 1)
      roadmap.warnings.push_back(fmt::format("{}: its Records come from more than one configuration; the newest number of each is shown", name));
    if (run.commits.size() > 1)
      roadmap.warnings.push_back(fmt::format("{}: Records of one run come from {} commits ({})", name, run.commits.size(), fmt::join(run.commits, ", ")));
    if (run.contradictions > 0)
      roadmap.warnings.push_back(fmt::format("{}: {} numbers contradict each other, for instance {}; the newest is shown", name, run.contradictions, run.contradiction));
  }
  if (speed_hosts.size() > 1)
    roadmap.warnings.push_back(fmt::format("speeds were measured on {} machines ({}) and do not compare with each other", speed_hosts.size(), fmt::join(speed_hosts, "; ")));
}

}  // namespace

void add_warnings(Roadmap& roadmap, const std::vector<Record>& records) {
  warn_of_uneven_suites(roadmap);
  warn_of_uneven_seeds(roadmap);
  warn_of_contradictions(roadmap, records);
  if (roadmap.warnings.size() <= kMostWarnings) return;
  const auto more = roadmap.warnings.size() - kMostWarnings;
  roadmap.warnings.resize(kMostWarnings);
  roadmap.warnings.push_back(fmt::format("and {} more of this kind", more));
}

}  // namespace hymba::reports
