// hymba attention: where tokens look, in attention heads and in the implicit attention of state space models.
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "base/error.h"
#include "cli/study.h"
#include "cli/study_commands.h"
#include "eval/attention_map.h"
#include "eval/rows.h"
#include "reports/table.h"

namespace hymba::cli {
namespace {

using eval::AttentionMass;

// Mean of masses over prompts (and heads), weighted by their queries.
void add(AttentionMass& sum, const AttentionMass& m) {
  const double old = static_cast<double>(sum.queries), more = static_cast<double>(m.queries), all = std::max(1.0, old + more);
  const auto mix = [&](double& a, double b) { a = (a * old + b * more) / all; };
  mix(sum.meta, m.meta);
  mix(sum.bos, m.bos);
  mix(sum.self, m.self);
  mix(sum.cross, m.cross);
  mix(sum.entropy, m.entropy);
  sum.by_meta.resize(m.by_meta.size());
  for (std::size_t i = 0; i < m.by_meta.size(); ++i) mix(sum.by_meta[i], m.by_meta[i]);
  sum.queries += m.queries;
}

double rounded(double v) { return std::isfinite(v) ? std::round(v * 1e5) / 1e5 : 0; }

Record mass_record(const StudyModel& model, const AttentionMass& m, const std::string& domain) {
  Record r = study_record("attention", model, "");
  r.metric = "mass";
  r.task = domain;
  r.value = m.meta;
  r.unit = "1";
  r.n = m.queries;
  nlohmann::json by_meta = nlohmann::json::array();
  for (const double v : m.by_meta) by_meta.push_back(rounded(v));
  r.extra.update({{"layer", m.layer}, {"branch", m.branch}, {"head", m.head < 0 ? nlohmann::json(nullptr) : nlohmann::json(m.head)}, {"meta", rounded(m.meta)},
                  {"bos", rounded(m.bos)}, {"self", rounded(m.self)}, {"cross", rounded(m.cross)}, {"entropy", rounded(m.entropy)}, {"by_meta", by_meta}});
  return r;
}

nlohmann::json matrix(const at::Tensor& map) {
  const at::Tensor m = map.contiguous();
  nlohmann::json rows = nlohmann::json::array();
  for (std::int64_t i = 0; i < m.size(0); ++i) {
    nlohmann::json row = nlohmann::json::array();
    for (std::int64_t j = 0; j < m.size(1); ++j) row.push_back(std::round(m.data_ptr<float>()[i * m.size(1) + j] * 1e4) / 1e4);
    rows.push_back(std::move(row));
  }
  return rows;
}

// The composed maps of one prompt: the first, middle and last layer that has one, and the mean of all.
void add_maps(const StudyModel& model, const std::vector<std::int32_t>& prompt, const std::string& domain, std::vector<Record>& records) {
  const std::vector<std::vector<std::int32_t>> one = {{prompt.begin(), prompt.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(prompt.size(), 32))}};
  const auto maps = eval::composed_maps(model.model(), eval::padded_rows(one, [](const std::vector<std::int32_t>& row) -> const std::vector<std::int32_t>& { return row; }));
  nlohmann::json tokens = nlohmann::json::array();
  for (const auto id : one[0]) {
    const auto text = model.tokenizer->decode(std::vector<std::int32_t>{id});
    tokens.push_back(id == model.tokenizer->bos() ? "<bos>" : text);
  }
  const auto record = [&](std::int64_t layer, double share, const at::Tensor& map, const char* part) {
    Record r = study_record("attention", model, "");
    r.metric = "map";
    r.task = domain;
    r.value = share;
    r.unit = "1";
    r.n = map.size(0);
    r.extra.update({{"layer", layer < 0 ? nlohmann::json(nullptr) : nlohmann::json(layer)}, {"part", part}, {"meta", model.model().config().meta_tokens}, {"map", matrix(map)}, {"tokens", tokens}});
    records.push_back(std::move(r));
  };
  at::Tensor sum;
  double share = 0;
  for (const auto& m : maps) {
    sum = sum.defined() ? sum + m.map_TS : m.map_TS;
    share += m.attention_share / static_cast<double>(maps.size());
  }
  if (maps.empty()) return;
  record(-1, share, sum / static_cast<double>(maps.size()), "composed");
  for (const std::size_t i : std::set<std::size_t>{0, maps.size() / 2, maps.size() - 1}) {
    record(maps[i].layer, maps[i].attention_share, maps[i].map_TS, "composed");
    if (maps[i].attention_TS.defined() && maps[i].ssm_TS.defined()) {
      record(maps[i].layer, maps[i].attention_share, maps[i].attention_TS, "attention");
      record(maps[i].layer, maps[i].attention_share, maps[i].ssm_TS, "ssm");
    }
  }
}

std::vector<Record> measure_attention(const StudyModel& model, const Invocation& invocation) {
  const auto sets = open_prompts(model, invocation);
  require(invocation.get<std::int64_t>("length") <= 4096, "--length {}: whole maps are built, so 4096 tokens at most", invocation.get<std::int64_t>("length"));
  using Key = std::tuple<std::int64_t, std::string, std::int64_t>;  // layer, branch, head
  std::map<Key, AttentionMass> all;
  std::vector<Record> records;
  for (const auto& set : sets) {
    std::map<Key, AttentionMass> domain;  // over heads
    for (const auto& row : set.rows) {
      const std::vector<std::vector<std::int32_t>> one = {row};
      const auto ids = eval::padded_rows(one, [](const std::vector<std::int32_t>& r) -> const std::vector<std::int32_t>& { return r; });
      for (const auto& m : eval::attention_masses(model.model(), ids, model.tokenizer->bos() >= 0)) {
        add(all[{m.layer, m.branch, m.head}], m);
        add(domain[{m.layer, m.branch, -1}], m);
      }
    }
    for (auto& [key, mass] : domain) {
      std::tie(mass.layer, mass.branch, mass.head) = key;
      records.push_back(mass_record(model, mass, set.domain));
    }
  }
  for (auto& [key, mass] : all) {
    std::tie(mass.layer, mass.branch, mass.head) = key;
    records.push_back(mass_record(model, mass, "all"));
  }
  add_maps(model, sets.front().rows.front(), sets.front().domain, records);
  return records;
}

void run_attention_command(const Invocation& invocation) {
  const auto records = measure_models(invocation, "attention", prompt_options_text(invocation), [&](const StudyModel& model) { return measure_attention(model, invocation); });
  reports::Table table({{"model", reports::Align::kLeft}, {"domain", reports::Align::kLeft}, {"layer"}, {"branch", reports::Align::kLeft}, {"head"}, {"meta %"}, {"bos %"},
                        {"self %"}, {"cross %"}, {"entropy"}});
  for (const auto& r : records) {
    if (r.metric != "mass") continue;
    const auto& x = r.extra;
    if (invocation.json) {
      print_json({{"design", r.design}, {"seed", r.seed}, {"domain", r.task}, {"layer", x["layer"]}, {"branch", x["branch"]}, {"head", x["head"]}, {"meta", x["meta"]},
                  {"bos", x["bos"]}, {"self", x["self"]}, {"cross", x["cross"]}, {"entropy", x["entropy"]}, {"by_meta", x["by_meta"]}, {"n", r.n}});
    }
    if (r.task != "all") continue;  // domains are in the Records and the page
    const auto percent = [&](const char* key) { return fmt::format("{:.1f}", 100 * x[key].get<double>()); };
    table.add_row({{record_model(r)}, {r.task}, {x["layer"].dump()}, {x["branch"].get<std::string>()}, {x["head"].is_null() ? "-" : x["head"].dump()}, {percent("meta")},
                   {percent("bos")}, {percent("self")}, {percent("cross")}, {fmt::format("{:.2f}", x["entropy"].get<double>())}});
  }
  if (!invocation.json) print_text(table.to_terminal({terminal_width(), use_colour()}));
}

}  // namespace

Command attention_command() {
  Command c;
  c.name = "attention";
  c.summary = "attention mass on meta, BOS, self and other tokens, and composed maps (figures 5-7)";
  c.arguments = "MODEL...";
  c.example = "  hymba attention results/roadmap-quick/runs/row-13-seed0\n  hymba attention runs/text --data ../shared/data --length 256";
  c.min_arguments = 1;
  c.max_arguments = 1000;
  c.options = [](boost::program_options::options_description& o) { add_prompt_options(o, 96, 4); };
  c.run = run_attention_command;
  return c;
}

}  // namespace hymba::cli
