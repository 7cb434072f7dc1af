// hymba world: reads the synthetic world: documents of its corpus and items of its tasks.
#include "base/error.h"
#include "base/interrupt.h"
#include "cli/context.h"

namespace hymba::cli {
namespace {

void show_documents(const Invocation& invocation, const data::World& world, std::int64_t n) {
  const auto kind = invocation.get<std::string>("kind");
  std::int64_t shown = 0;
  for (std::uint64_t i = 0; shown < n && i < static_cast<std::uint64_t>(n) * 200 + 1000; ++i) {
    throw_if_interrupted();
    const auto is = world.document_kind(i);
    if (!kind.empty() && is != kind) continue;
    ++shown;
    if (invocation.json) {
      print_json({{"index", i}, {"kind", is}, {"text", world.document(i)}});
    } else {
      print_text(fmt::format("[{} {}] {}\n\n", i, is, world.document(i)));
    }
  }
  require(shown > 0, "--kind {}: no document of that kind among the first", kind);
}

void show_items(const Invocation& invocation, const data::World& world, int n) {
  for (const auto& task : world.tasks(n)) {
    for (const auto& item : task.items) {
      if (invocation.json) {
        print_json({{"task", task.name}, {"suite", task.suite}, {"contexts", item.contexts}, {"choices", item.choices}, {"gold", item.gold},
                    {"prompt", item.prompt}, {"answer", item.answer}, {"meta", item.meta}});
        continue;
      }
      std::string text = fmt::format("[{}, {}, like {}]\n", task.name, task.suite, task.manner_of);
      for (const auto& context : item.contexts) text += "  " + context + "\n";
      for (std::size_t c = 0; c < item.choices.size(); ++c) text += fmt::format("  {} {}\n", static_cast<int>(c) == item.gold ? "*" : "-", item.choices[c]);
      if (!item.prompt.empty()) text += fmt::format("  {} -> {}\n", item.prompt, item.answer);
      print_text(text + "\n");
    }
  }
}

void run_world_command(const Invocation& invocation) {
  const data::World world(invocation.seed, open_world_options(invocation.get<std::string>("size"), invocation.overrides));
  const auto documents = invocation.whole("documents", 0, kMostTokens), items = invocation.whole("items", 0, kMostItems);
  require(documents + items > 0, "--documents 0 and --items 0: nothing to show; give one of them");
  if (documents > 0) show_documents(invocation, world, documents);
  if (items > 0) show_items(invocation, world, static_cast<int>(items));
}

}  // namespace

Command world_command() {
  Command c;
  c.name = "world";
  c.summary = "shows documents and task items of the synthetic world";
  c.example = "  hymba world --documents 3\n  hymba world --documents 5 --kind records --world.pairs_max=8\n  hymba world --documents 0 --items 2";
  c.overrides.world = true;
  c.options = [](boost::program_options::options_description& o) {
    namespace po = boost::program_options;
    o.add_options()("size", po::value<std::string>()->default_value("quick"), "quick or smoke")(
        "documents", po::value<std::int64_t>()->default_value(5), "how many documents")("items", po::value<std::int64_t>()->default_value(0), "items of each task")(
        "kind", po::value<std::string>()->default_value(""), "only documents of this kind: facts, records, passages, songs ...");
  };
  c.run = run_world_command;
  return c;
}

}  // namespace hymba::cli
