// hymba needle: a binding in a long text, by the text's length and the binding's depth.
#include <cmath>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "cli/study.h"
#include "cli/study_commands.h"
#include "data/corpus_source.h"
#include "eval/head_removal.h"
#include "eval/model_scorer.h"
#include "eval/needle.h"
#include "reports/table.h"
#include "reports/unicode.h"

namespace hymba::cli {
namespace {

std::vector<std::int64_t> read_lengths(const Invocation& invocation, const StudyModel& model) {
  std::vector<std::int64_t> lengths;
  if (invocation.has("lengths")) {
    for (const auto& word : split(invocation.get<std::string>("lengths"), ',')) lengths.push_back(parse_int(word, "--lengths"));
  } else {
    const std::int64_t trained = train_length(model) > 0 ? train_length(model) : 1024;
    for (const double part : {0.25, 0.5, 1.0, 1.5, 2.0, 4.0}) lengths.push_back(std::llround(part * static_cast<double>(trained)));
  }
  for (const auto l : lengths) require(l > 0 && l <= 1 << 20, "--lengths {}: expected 1 to {}", l, 1 << 20);
  require(!lengths.empty(), "--lengths: expected numbers such as 64,128,256");
  return lengths;
}

std::unique_ptr<eval::Haystack> open_haystack(const StudyModel& model, const data::World* world, const std::vector<std::string>& files) {
  if (world != nullptr) {
    require(files.empty(), "--data: {} knows the synthetic world's words alone and cannot read other text", model.path);
    return eval::world_haystack(*world);
  }
  require(!files.empty(), "--data FILE: {} reads real text; give a long one as haystack, a book for instance", model.path);
  constexpr std::size_t kMostText = 4 << 20;
  std::string text;
  std::vector<std::string> skipped;
  for (const auto& file : find_source_files({files.begin(), files.end()}, &skipped)) {
    if (file.kind == SourceKind::kText && text.size() < kMostText) text += read_file(file.path) + "\n";
  }
  require(!text.empty(), "--data {}: expected plain text (.txt) for the haystack, found none there", join(files, ", "));
  return eval::text_haystack(*model.tokenizer, text.substr(0, kMostText));
}

std::vector<Record> measure_needle(const StudyModel& model, const Invocation& invocation) {
  std::unique_ptr<data::World> world;
  if (model.world) world = std::make_unique<data::World>(world_of_spec(model.loaded.state.tokenizer));
  const auto haystack = open_haystack(model, world.get(), invocation.list("data"));
  const auto depths = invocation.get<std::int64_t>("depths"), items = invocation.get<std::int64_t>("items");
  require(depths >= 1 && depths <= 101, "--depths {}: expected 1 to 101", depths);
  require(items >= 2 && items <= 100000, "--items {}: expected 2 to 100000", items);
  // Candidates of one word end the same row of ids: the scorer of head removal, with nothing removed, runs it once.
  eval::RemovalScorer one_word(model.model(), {}, {});
  eval::ModelScorer general(model.model());
  eval::Scorer& scorer = model.world ? static_cast<eval::Scorer&>(one_word) : general;
  std::vector<Record> records;
  for (const auto length : read_lengths(invocation, model)) {
    if (length < haystack->shortest()) continue;
    const auto add = [&](const std::string& metric, const std::vector<double>& scores, double depth) {
      const auto mean = eval::mean_of(scores);
      Record r = study_record("needle", model, "");
      r.metric = metric;
      r.task = "needle";
      r.value = mean.value;
      r.error = mean.error;
      r.unit = "1";
      r.n = mean.n;
      r.extra.update({{"length", length}, {"chance", 1.0 / static_cast<double>(haystack->candidates())}, {"train_length", train_length(model)}});
      if (depth >= 0) r.extra["depth"] = depth;
      records.push_back(std::move(r));
    };
    // All depths ask for the same needles: the error of their mean is taken over needles, not over cells.
    std::vector<double> over_depths(static_cast<std::size_t>(items));
    for (std::int64_t d = 0; d < depths; ++d) {
      const double depth = depths == 1 ? 0.5 : static_cast<double>(d) / static_cast<double>(depths - 1);
      const auto scores = eval::needle_scores(*haystack, scorer, length, depth, items);
      for (std::size_t i = 0; i < scores.size(); ++i) over_depths[i] += scores[i] / static_cast<double>(depths);
      add("acc", scores, depth);
    }
    add("acc_mean", over_depths, -1);
  }
  require(!records.empty(), "--lengths: needle and question alone need {} tokens", haystack->shortest());
  return records;
}

void print_json_cells(const std::vector<Record>& records) {
  for (const auto& r : records) {
    if (r.metric != "acc") continue;
    const auto& x = r.extra;
    print_json({{"design", r.design}, {"seed", r.seed}, {"length", x["length"]}, {"depth", x["depth"]}, {"value", r.value},
                {"stderr", r.error ? nlohmann::json(*r.error) : nlohmann::json(nullptr)}, {"n", r.n}, {"chance", x["chance"]}, {"train_length", x["train_length"]}});
  }
}

// One line a model and length; the depths as a sparkline from 0 to 100 %.
void print_lengths(const std::vector<Record>& records) {
  reports::Table table({{"design", reports::Align::kLeft}, {"seed"}, {"length"}, {"accuracy"}, {"stderr"}, {"by depth", reports::Align::kLeft}, {"n", reports::Align::kRight, 2}, {"chance", reports::Align::kRight, 1}});
  std::vector<double> depths;
  for (const auto& r : records) {
    if (r.metric == "acc") {
      depths.push_back(r.value);
      continue;
    }
    const auto& x = r.extra;
    const auto length = x["length"].get<std::int64_t>(), trained = x["train_length"].get<std::int64_t>();
    table.add_row({{r.design}, {std::to_string(r.seed)}, {fmt::format("{}{}", length, trained > 0 && length > trained ? " *" : "")}, {fmt::format("{:.3f}", r.value)},
                   {r.error ? fmt::format("{:.3f}", *r.error) : "-"}, {reports::sparkline(depths, depths.size(), 0, 1)}, {std::to_string(r.n)}, {fmt::format("{:.3f}", x["chance"].get<double>())}});
    depths.clear();
  }
  const char* note = "accuracy: mean over depths; by depth: from the start of the text (left) to its end, 0 to 100 %; *: longer than the sequences of training";
  print_text(table.to_terminal({terminal_width(), use_colour()}) + reports::paragraph(note, terminal_width()));
}

void run_needle_command(const Invocation& invocation) {
  const auto options = fmt::format("means {} {} {} {}", invocation.has("lengths") ? invocation.get<std::string>("lengths") : "",
                                   invocation.get<std::int64_t>("depths"), invocation.get<std::int64_t>("items"), join(invocation.list("data"), ","));
  const auto records = measure_models(invocation, "needle", options, [&](const StudyModel& model) { return measure_needle(model, invocation); });
  if (invocation.json) {
    print_json_cells(records);
  } else {
    print_lengths(records);
  }
}

}  // namespace

Command needle_command() {
  Command c;
  c.name = "needle";
  c.summary = "needle in a haystack by length and depth (figure 10)";
  c.arguments = "MODEL...";
  c.example = "  hymba needle results/roadmap-quick --items 100\n  hymba needle runs/text --data ../shared/data/lm/gutenberg/moby_dick_2701.txt --lengths 512,1024,2048";
  c.min_arguments = 1;
  c.max_arguments = 1000;
  c.options = [](boost::program_options::options_description& o) {
    namespace po = boost::program_options;
    add_tokenizer_option(o);
    o.add_options()("lengths", po::value<std::string>(), "tokens; default: 1/4, 1/2, 1, 1.5, 2 and 4 times the sequences of training")(
        "depths", po::value<std::int64_t>()->default_value(5), "how many places of the needle, from the start (0) to right before the question (1)")(
        "items", po::value<std::int64_t>()->default_value(50), "needles a cell")(
        "data", po::value<std::vector<std::string>>()->composing(), "text for the haystack (models of real text): file or folder; repeatable");
  };
  c.run = run_needle_command;
  return c;
}

}  // namespace hymba::cli
