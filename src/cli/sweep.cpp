// hymba sweep: a grid of designs, trained and measured as the roadmap's rows are, and which of them no other one beats.
#include <algorithm>
#include <cctype>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/report_files.h"
#include "cli/roadmap_run.h"
#include "cli/study_commands.h"

namespace hymba::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostPoints = 10000;

struct Axis {
  std::string key;
  std::vector<std::string> values;
};

// A point of the grid: one value of each axis.
struct Point {
  std::string name;  // "row-09.heads-2.window-32"
  std::vector<std::pair<std::string, std::string>> values;
};

std::vector<Axis> read_axes(const std::vector<std::string>& words) {
  std::vector<Axis> axes;
  std::size_t points = 1;
  for (const auto& word : words) {
    const auto assignment = parse_assignment(word, "--vary");
    require(design_keys().count(assignment.key) != 0, "--vary {}: a design has no key '{}'{}", word, assignment.key,
            [&] {
              const auto keys = design_keys();
              const auto near = nearest(assignment.key, {keys.begin(), keys.end()});
              return near.empty() ? std::string() : fmt::format(" (did you mean {}?)", near);
            }());
    Axis axis{assignment.key, {}};
    for (const auto& value : split(assignment.value, ',')) {
      const auto v = trim(value);
      require(!v.empty() && std::count(axis.values.begin(), axis.values.end(), v) == 0, "--vary {}: expected different values between commas", word);
      axis.values.push_back(v);
    }
    require(!axis.values.empty(), "--vary {}: expected key=value1,value2", word);
    for (const auto& other : axes) require(other.key != axis.key, "--vary {}: the key is varied twice", word);
    points *= axis.values.size();
    require(points <= kMostPoints, "--vary: more than {} designs", kMostPoints);
    axes.push_back(std::move(axis));
  }
  require(!axes.empty(), "sweep: give --vary key=value1,value2 at least once");
  return axes;
}

// "attention.window" = "32" -> "window-32"; the whole key where two axes end in the same word.
std::string word_of(const std::string& key, const std::string& value, const std::vector<Axis>& axes) {
  const auto last = [](const std::string& k) { return k.substr(k.rfind('.') + 1); };
  const auto same = std::count_if(axes.begin(), axes.end(), [&](const Axis& a) { return last(a.key) == last(key); });
  std::string word = (same > 1 ? key : last(key)) + "-" + value;
  for (char& c : word) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '-') c = '_';
  }
  return word;
}

std::vector<Point> make_grid(const std::string& base, const std::vector<Axis>& axes) {
  std::vector<Point> grid = {{base, {}}};
  for (const auto& axis : axes) {
    std::vector<Point> next;
    for (const auto& point : grid) {
      for (const auto& value : axis.values) {
        Point p = point;
        p.name += "." + word_of(axis.key, value, axes);
        p.values.emplace_back(axis.key, value);
        next.push_back(std::move(p));
      }
    }
    grid = std::move(next);
  }
  return grid;
}

// The grid as a file of stanzas, which any other command takes as designs too. A value that the base has already is left
// out: a stanza says what changes.
std::string stanzas(const std::string& from, const Design& base, const std::vector<Point>& grid) {
  std::string text = fmt::format("# {} designs of a sweep over {}; DESIGN arguments of every command: THIS_FILE:NAME\n", grid.size(), from);
  const auto& known = base.resolved().resolved();
  for (const auto& point : grid) {
    std::vector<std::string> title;
    text += fmt::format("\n[{}]\nfrom = {}\ngroup = Sweep of {}\n", point.name, from, from);
    for (const auto& [key, value] : point.values) {
      title.push_back(fmt::format("{} = {}", key, value));
      const auto found = known.find(key);
      if (found == known.end() || found->second.value != value) text += fmt::format("{} = {}\n", key, value);
    }
    text += fmt::format("title = {}\n", join(title, ", "));
  }
  return text;
}

// "2/4" -> {1, 4}: this process takes every fourth point, from the second on.
std::pair<std::size_t, std::size_t> read_shard(const std::string& text) {
  const auto slash = text.find('/');
  require(slash != std::string::npos, "--shard {}: expected i/n, for instance 1/4", text);
  const auto i = parse_int(text.substr(0, slash), "--shard"), n = parse_int(text.substr(slash + 1), "--shard");
  require(n >= 1 && n <= 10000 && i >= 1 && i <= n, "--shard {}: expected i/n with i from 1 to n", text);
  return {static_cast<std::size_t>(i - 1), static_cast<std::size_t>(n)};
}

// A value from the command line would overrule every point's own.
void check_axes(const std::vector<Axis>& axes, const std::vector<Assignment>& overrides) {
  for (const auto& axis : axes) {
    require(axis.key != "vocab", "--vary vocab: the tokenizer sets it");
    for (const auto& o : overrides) require(o.key != axis.key, "--vary {} and --{}={}: the key is varied and set; give one of them", axis.key, o.key, o.value);
  }
}

void run_sweep_command(const Invocation& invocation) {
  const auto size = invocation.get<std::string>("size");
  const auto axes = read_axes(invocation.list("vary"));
  check_axes(axes, invocation.overrides);
  const auto library = open_designs();
  const auto base = library.open(invocation.get<std::string>("from"), size, design_overrides(invocation.overrides));
  const auto grid = make_grid(base.name(), axes);
  const auto [mine, shards] = read_shard(invocation.get<std::string>("shard"));
  require(shards <= grid.size(), "--shard {}: there are {} designs only", invocation.get<std::string>("shard"), grid.size());
  const fs::path out = invocation.out.empty() ? fs::path("results") / fmt::format("sweep-{}-{}", base.name(), size) : fs::path(invocation.out);
  const auto file = out / "sweep.ini";
  const auto from = invocation.get<std::string>("from");
  // A file's stanza of its own is found beside the grid by its text, every other one by its name.
  require(from.find(".ini:") == std::string::npos, "--from {}: expected a row or stanza of ablations/", from);
  const auto text = stanzas(base.name(), base, grid);
  if (!fs::exists(file) || read_file(file) != text) write_file_atomic(file, text);
  std::vector<std::string> words = {"--rows", "none", "--size", size, "--seeds", std::to_string(invocation.get<std::int64_t>("seeds")), "--seed", std::to_string(invocation.seed),
                                    "--out", (shards > 1 ? out / fmt::format("shard-{}-of-{}", mine + 1, shards) : out).string()};
  if (invocation.whole("limit", 0, kMostItems) > 0) words.insert(words.end(), {"--limit", std::to_string(invocation.get<std::int64_t>("limit"))});
  for (const char* name : {"data", "tasks"}) {
    for (const auto& value : invocation.list(name)) words.insert(words.end(), {std::string("--") + name, value});
  }
  for (const auto& o : invocation.overrides) words.push_back(fmt::format("--{}={}", o.key, o.value));
  std::size_t chosen = 0;
  for (std::size_t i = mine; i < grid.size(); i += shards, ++chosen) words.insert(words.end(), {"--also", fmt::format("{}:{}", file.string(), grid[i].name)});
  log_event("sweep from={} designs={} here={} out={}", base.name(), grid.size(), chosen, out.string());
  run_roadmap(parse_words(roadmap_command(), words));
  // All shards that are there so far, from wherever their folders were copied together.
  std::set<std::string> names;
  for (const auto& point : grid) names.insert(point.name);
  std::vector<Record> records;
  for (auto& r : read_records(out)) {
    if (names.count(r.design) != 0) records.push_back(std::move(r));
  }
  std::set<std::string> found;
  for (const auto& r : records) found.insert(r.design);
  if (found.size() < grid.size()) log_event("sweep.missing {} of {} designs are not run yet (other shards?)", grid.size() - found.size(), grid.size());
  const auto files = write_report(records, out / "page.html");
  print_tradeoff(reports::build_roadmap(records, {}), invocation.json);
  if (!invocation.json) print_text(files.front() + "\n");
}

}  // namespace

Command sweep_command() {
  Command c;
  c.name = "sweep";
  c.summary = "trains and measures a grid of designs; Pareto front of accuracy, cache and throughput";
  c.arguments = "";
  c.example =
      "  hymba sweep --vary attention.heads=2,4 --vary attention.window=8,16 --from 9 --size smoke\n"
      "  hymba sweep --vary meta_tokens=0,4,16 --from 13 --shard 2/3 --out shared/folder    # the second of three machines";
  c.overrides = {.design = true, .recipe = true, .world = true};
  c.options = [](boost::program_options::options_description& o) {
    namespace po = boost::program_options;
    o.add_options()("vary", po::value<std::vector<std::string>>()->composing(), "key=value1,value2,...; repeatable: all combinations")(
        "from", po::value<std::string>()->default_value("9"), "the design that is varied: a row or stanza")(
        "size", po::value<std::string>()->default_value("quick"), "quick or smoke")("seeds", po::value<std::int64_t>()->default_value(1), "how many seeds, from --seed on")(
        "shard", po::value<std::string>()->default_value("1/1"), "i/n: run every n-th design from the i-th on, into a folder of its own in --out")(
        "limit", po::value<std::int64_t>()->default_value(0), "items of a task; 0: the size's")(
        "data", po::value<std::vector<std::string>>()->composing(), "train on this text instead of the synthetic world; repeatable")(
        "tasks", po::value<std::vector<std::string>>()->composing(), "with --data: folder with the real tasks' files; repeatable");
  };
  c.run = run_sweep_command;
  return c;
}

}  // namespace hymba::cli
