// A row as the command line's `--format json` and the page have it.
#include <cmath>

#include "reports/roadmap.h"

namespace hymba::reports {
namespace {

nlohmann::json paper_json(const PaperRow& p) {
  return {{"row", p.row},
          {"title", p.title},
          {"group", p.group},
          {"ratio", p.ratio},
          {"general", p.general},
          {"recall", p.recall},
          {"throughput_tok_s", p.throughput_tok_s},
          {"cache_mb", p.cache_mb}};
}

}  // namespace

nlohmann::json number_or_null(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr);
}

namespace {
nlohmann::json shapes_json(const PaperShapes& s) {
  nlohmann::json object = {{"ratio", s.ratio_text},
                           {"cache_mb", number_or_null(s.cache_mb)},
                           {"cache_mb_exact", number_or_null(s.cache_mb_exact)},
                           {"cache_context", s.cache_context},
                           {"params_total", number_or_null(s.params_total)},
                           {"decode_tok_s", number_or_null(s.decode.value)},
                           {"decode_tok_s_min", number_or_null(s.decode.low)},
                           {"decode_tok_s_max", number_or_null(s.decode.high)},
                           {"batch", s.decode.batch},
                           {"batch_asked", s.decode.batch_asked},
                           {"context", s.decode.context},
                           {"dtype", s.dtype}};
  if (s.counted) object["counted"] = true;  // said where it holds: a page may have a thousand rows
  if (s.timed) object["timed"] = true;
  return object;
}
}  // namespace

nlohmann::json to_json(const RoadmapRow& row) {
  nlohmann::json tasks = nlohmann::json::array();
  for (const TaskScore& t : row.tasks)
    tasks.push_back({{"task", t.task},
                     {"suite", t.suite},
                     {"metric", t.metric},
                     {"value", number_or_null(t.estimate.value)},
                     {"stderr", number_or_null(t.estimate.error)},
                     {"chance", number_or_null(t.chance)},
                     {"n", t.n},
                     {"seeds", t.estimate.seeds}});
  return {{"row", row.row},
          {"design", row.design},
          {"title", row.title},
          {"group", row.group},
          {"from", row.from},
          {"size", row.size},
          {"run", row.was_run},
          {"ratio", row.ratio_text},
          {"at_paper_shapes", shapes_json(row.at_paper)},
          {"ratio_value", number_or_null(row.ratio)},
          {"general", number_or_null(row.general.value)},
          {"general_stderr", number_or_null(row.general.error)},
          {"recall", number_or_null(row.recall.value)},
          {"recall_stderr", number_or_null(row.recall.error)},
          {"chance", {{"general", number_or_null(row.general_chance)}, {"recall", number_or_null(row.recall_chance)}}},
          {"decode_tok_s", number_or_null(row.decode.value)},
          {"decode_tok_s_stderr", number_or_null(row.decode.error)},
          {"decode_tok_s_min", number_or_null(row.decode.low)},
          {"decode_tok_s_max", number_or_null(row.decode.high)},
          {"batch", row.decode.batch},
          {"batch_asked", row.decode.batch_asked},
          {"context", row.decode.context},
          {"prefill_tok_s", number_or_null(row.prefill.value)},
          {"cache_mb_paper", number_or_null(row.cache_mb_paper)},
          {"cache_mb_exact", number_or_null(row.cache_mb_exact)},
          {"cache_mb_measured", number_or_null(row.cache_mb_measured)},
          {"cache_context", row.cache_context},
          {"params_total", number_or_null(row.params_total)},
          {"seeds", row.seeds.size()},
          {"tasks", tasks},
          {"paper", row.paper ? paper_json(*row.paper) : nlohmann::json(nullptr)}};
}

}  // namespace hymba::reports
