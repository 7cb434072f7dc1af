// hymba bench: the ops' benchmarks on Google Benchmark. A row first checks itself against the double reference; one
// that is wrong ends the run before anything is timed.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <regex>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/median.h"
#include "base/memory.h"
#include "base/text.h"
#include "kernels/bench.h"
#include "kernels/cuda/launches.h"
#include "kernels/cuda/plugin.h"
#include "kernels/isa.h"
#include "kernels/machine.h"

namespace hymba::kernels::bench {
namespace {

constexpr const char* kHelp =
    "hymba bench [options] [--benchmark_...]\n"
    "Times the kernels beside the limits of this machine, after a check against the double reference.\n\n"
    "Example:\n  ./hymba bench --op selective_scan --format json\n\nOptions:\n"
    "  --op NAME        only this op (list: --list)\n"
    "  --filter REGEX   only rows whose op/name matches\n"
    "  --isa LEVEL      baseline, avx2 or avx512; default: HYMBA_ISA, else the best present\n"
    "  --machine        the limits themselves: FMA, sgemm, exp, memory, on one thread and on all\n"
    "  --threads N      0: all cores\n"
    "  --device D       cpu or cuda\n"
    "  --format F       text, or json: Google Benchmark's JSON\n"
    "  --smoke          tiny shapes, one pass: does everything run?\n"
    "  --list           the rows, without running them\n\n"
    "Columns: median and least time of a run; flops, bytes and exps by count; percent_of_limit: the time that the\n"
    "binding one of multiply-adds, exponentials and memory needs at the measured limit, over the median time;\n"
    "peak_bytes: the most that LibTorch's CPU allocator holds during a run; peak_over_inputs: that over the bytes of\n"
    "inputs, outputs and the gradients of both.\n";

struct Options {
  std::string op, filter, isa, format = "text", device = "cpu";
  int threads = 0;
  bool machine = false, smoke = false, list = false;
  std::vector<std::string> rest;  // Google Benchmark's own
};

Options parse(const std::vector<std::string>& words) {
  Options o;
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::string name = words[i], value;
    const auto equals = name.find('=');
    const bool joined = equals != std::string::npos;
    if (joined) value = name.substr(equals + 1), name = name.substr(0, equals);
    const auto take = [&]() -> std::string {
      if (!joined && i + 1 < words.size()) value = words[++i];
      require(!value.empty(), "hymba bench: {} needs a value", name);
      return value;
    };
    if (starts_with(name, "--benchmark_")) {
      o.rest.push_back(words[i]);
    } else if (name == "--op") {
      o.op = take();
    } else if (name == "--filter") {
      o.filter = take();
    } else if (name == "--isa") {
      o.isa = take();
    } else if (name == "--format") {
      o.format = take();
      require(o.format == "text" || o.format == "json", "hymba bench: --format: expected text or json, found '{}'",
              o.format);
    } else if (name == "--device") {
      o.device = take();
      require(o.device == "cpu" || o.device == "cuda", "hymba bench: --device: expected cpu or cuda, found '{}'",
              o.device);
    } else if (name == "--threads") {
      const auto threads = parse_int(take(), "hymba bench: --threads");
      require(threads >= 0 && threads <= 4096, "hymba bench: --threads: expected 0 (all cores) to 4096, found {}", threads);
      o.threads = static_cast<int>(threads);
    } else if (name == "--machine") {
      o.machine = true;
    } else if (name == "--smoke") {
      o.smoke = true;
    } else if (name == "--list") {
      o.list = true;
    } else {
      user_error("hymba bench: unknown option '{}'; see hymba bench --help", words[i]);
    }
  }
  return o;
}

std::vector<Row> all_rows(bool smoke) {
  std::vector<Row> rows;
  for (const auto add : {scan_rows, window_attention_rows, ssd_rows, conv_rows, norm_rows, decode_rows, gemv_rows, linear_rows}) {
    add(smoke, &rows);
  }
  return rows;
}

std::vector<Row> chosen_rows(const Options& o) {
  std::vector<Row> rows, all = all_rows(o.smoke);
  std::vector<std::string> ops;
  for (const Row& row : all) {
    if (std::find(ops.begin(), ops.end(), row.op) == ops.end()) ops.push_back(row.op);
  }
  require(o.op.empty() || std::find(ops.begin(), ops.end(), o.op) != ops.end(),
          "hymba bench: --op: expected one of {}, found '{}'", join(ops, ", "), o.op);
  std::regex filter;
  try {
    filter = std::regex(o.filter);
  } catch (const std::regex_error& error) {
    user_error("hymba bench: --filter: '{}' is no regular expression: {}", o.filter, error.what());
  }
  for (Row& row : all) {
    if ((o.op.empty() || row.op == o.op) && std::regex_search(row.op + "/" + row.name, filter)) {
      rows.push_back(std::move(row));
    }
  }
  require(!rows.empty(), "hymba bench: --filter '{}' matches no row; see --list", o.filter);
  return rows;
}

const char* binding(const Work& w, const Limits& l, double* seconds) {
  const double by_flops = (w.flops - w.pair_flops / 2) / l.fma, by_exps = w.exps / l.exp, by_bytes = w.bytes / l.bandwidth();
  *seconds = std::max({by_flops, by_exps, by_bytes});
  return *seconds == by_flops ? "fma" : *seconds == by_exps ? "exp" : "memory";
}

// Seconds of one of `calls` calls. A GPU takes calls faster than it runs them, so they are timed together.
double seconds_of(const Run& run, int calls) {
  synchronize();
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < calls; ++i) run.time();
  synchronize();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / calls;
}

// A run prepared by the check is thrown away: rows of 100 MB would add up.
void time_row(benchmark::State& state, const Row& row, const Limits& limits) {
  const Run run = row.prepare();
  run.time();
  const int calls = device().is_cpu() ? 1 : static_cast<int>(std::clamp(2e-3 / seconds_of(run, 1), 1.0, 100.0));
  std::vector<double> times;
  for (auto _ : state) {
    times.push_back(seconds_of(run, calls));
    state.SetIterationTime(times.back() * calls);  // of the whole iteration: it decides how many there are
  }
  const double middle = median(times);
  double limit = 0;
  state.SetLabel(binding(row.work, limits, &limit));
  state.counters["median_s"] = middle;
  state.counters["least_s"] = *std::min_element(times.begin(), times.end());
  state.counters["flops"] = row.work.flops;
  state.counters["bytes"] = row.work.bytes;
  state.counters["exps"] = row.work.exps;
  if (run.held > 0 && device().is_cpu()) {
    const double peak = run.given + peak_bytes(run.time);
    state.counters["peak_bytes"] = peak;
    state.counters["peak_over_inputs"] = peak / run.held;
  }
  state.counters["percent_of_limit"] = 100 * limit / middle;
  state.counters["percent_of_sgemm"] = 100 * row.work.flops / limits.sgemm / middle;
  if (limits.tf32 > 0) state.counters["percent_of_3xtf32"] = 100 * row.work.flops / (limits.tf32 / 3) / middle;
}

double least_seconds(const std::function<void()>& f) {
  Run run;
  run.time = f;
  run.time();
  double least = seconds_of(run, 5);
  for (int i = 0; i < 3; ++i) least = std::min(least, seconds_of(run, 5));
  return least;
}

// Flops a second of a 4096 x 4096 product by the library.
double product_rate(at::ScalarType type, bool tf32) {
  constexpr std::int64_t kSize = 4096;
  at::globalContext().setAllowTF32CuBLAS(tf32);
  const at::Tensor x = at::ones({kSize, kSize}, at::TensorOptions(type).device(device()));
  const double least = least_seconds([x] { at::mm(x, x); });
  at::globalContext().setAllowTF32CuBLAS(false);
  return 2.0 * kSize * kSize * kSize / least;
}

// A multiprocessor takes 128 multiply-adds or 16 exponentials a clock; bandwidth is a copy of 1 GB, read and written.
Limits measure_device_limits() {
  Limits l;
  l.fma = device_launches()->fma_rate();
  l.exp = l.fma / (2 * 128) * 16;
  l.sgemm = product_rate(at::kFloat, false);
  l.tf32 = product_rate(at::kFloat, true);
  l.bf16 = product_rate(at::kBFloat16, false);
  const at::Tensor from = at::ones({1 << 28}, at::TensorOptions(at::kFloat).device(device())), to = from.clone();
  l.read = l.triad = 2.0 * static_cast<double>(from.nbytes()) / least_seconds([&] { to.copy_(from); });
  return l;
}

// A row that is measured once and shows some of the limits.
using Rates = std::vector<std::pair<const char*, double Limits::*>>;
void add_limits_row(const std::string& name, const std::function<Limits()>& measure, const Rates& rates) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [measure, rates](benchmark::State& state) {
                                 Limits limits;
                                 for (auto _ : state) limits = measure(), state.SetIterationTime(1);
                                 for (const auto& [name, rate] : rates) state.counters[name] = limits.*rate;
                               })
      ->Iterations(1)
      ->UseManualTime();
}

void add_device_rows(const Limits& limits) {
  add_limits_row("machine/gpu", [limits] { return limits; },
                 {{"fma_flops_per_s", &Limits::fma},
                  {"sgemm_flops_per_s", &Limits::sgemm},
                  {"tf32_flops_per_s", &Limits::tf32},
                  {"bf16_flops_per_s", &Limits::bf16},
                  {"copy_bytes_per_s", &Limits::read}});
}

void add_machine_rows() {
  const int all = at::get_num_threads();
  for (const int threads : {1, all}) {
    const auto measure = [threads, all] {
      at::set_num_threads(threads);
      const Limits limits = measure_limits(1.5);
      at::set_num_threads(all);
      return limits;
    };
    add_limits_row(fmt::format("machine/threads:{}", threads), measure,
                   {{"fma_flops_per_s", &Limits::fma},
                    {"sgemm_flops_per_s", &Limits::sgemm},
                    {"exps_per_s", &Limits::exp},
                    {"triad_bytes_per_s", &Limits::triad},
                    {"read_bytes_per_s", &Limits::read},
                    {"gemv_bytes_per_s", &Limits::gemv}});
    if (all == 1) break;
  }
}

// The rows that are wrong or hold too much memory (at sizes where fixed buffers do not count), described; empty: none.
constexpr double kLeastHeld = 1e7, kMostPeak = 3;
std::string check(const std::vector<Row>& rows) {
  std::string red;
  for (const Row& row : rows) {
    const Run run = row.prepare();
    const double error = run.error();
    if (!(error <= run.tolerance)) {
      red += fmt::format("  {}/{}: error {:.3g}, allowed {:.3g}\n", row.op, row.name, error, run.tolerance);
    }
    if (run.held < kLeastHeld || !device().is_cpu()) continue;
    const double peak = (run.given + peak_bytes(run.time)) / run.held;
    if (peak > kMostPeak) {
      red +=
          fmt::format("  {}/{}: holds {:.3g} times its tensors, allowed {:.3g}\n", row.op, row.name, peak, kMostPeak);
    }
  }
  return red;
}

// The library's table without its warning of its own build type: Debian builds it with assertions, and rows are timed by a stopwatch here.
class Console : public benchmark::ConsoleReporter {
 public:
  using ConsoleReporter::ConsoleReporter;

  bool ReportContext(const Context& context) override {
    std::stringstream text;
    std::ostream& errors = GetErrorStream();
    SetErrorStream(&text);
    const bool goes_on = ConsoleReporter::ReportContext(context);
    SetErrorStream(&errors);
    for (std::string line; std::getline(text, line);) {
      if (!line.starts_with("***WARNING*** Library was built as DEBUG")) errors << line << '\n';
    }
    return goes_on;
  }
};

void run_benchmarks(const Options& o, const std::vector<Row>& rows, const Limits& limits) {
  std::vector<std::string> words = {"hymba bench"};
  if (o.format == "json") words.push_back("--benchmark_format=json");
  words.push_back(o.smoke             ? "--benchmark_min_time=0.001"
                  : device().is_cpu() ? "--benchmark_min_time=0.5"
                                      : "--benchmark_min_time=0.1");
  words.insert(words.end(), o.rest.begin(), o.rest.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  int argc = static_cast<int>(argv.size());
  benchmark::Initialize(&argc, argv.data());
  if (argc > 1) user_error("hymba bench: unknown option '{}'", argv[1]);
  benchmark::AddCustomContext("isa", active_isa());
  benchmark::AddCustomContext("device", device().is_cpu() ? "cpu" : cuda_status().devices);
  benchmark::AddCustomContext("threads", std::to_string(at::get_num_threads()));
  for (const Row& row : rows) {
    benchmark::RegisterBenchmark((row.op + "/" + row.name).c_str(),
                                 [&row, &limits](benchmark::State& state) { time_row(state, row, limits); })
        ->UseManualTime()
        ->Unit(benchmark::kMillisecond);
  }
  if (o.machine) device().is_cpu() ? add_machine_rows() : add_device_rows(limits);
  Console console(::isatty(STDOUT_FILENO) == 1 ? Console::OO_ColorTabular : Console::OO_Tabular);
  const bool other = std::any_of(words.begin(), words.end(), [](const auto& w) { return w.starts_with("--benchmark_format"); });
  benchmark::RunSpecifiedBenchmarks(other ? nullptr : &console);
  benchmark::Shutdown();
}

int run(const std::vector<std::string>& words) {
  if (std::find_if(words.begin(), words.end(), [](const auto& w) { return w == "--help" || w == "-h"; }) !=
      words.end()) {
    std::fputs(kHelp, stdout);
    return 0;
  }
  const Options o = parse(words);
  if (!o.isa.empty()) force_isa(o.isa, "hymba bench: --isa");
  prepare_isa();
  if (o.device == "cuda") {
    load_cuda();
    set_device(at::Device(at::kCUDA, 0));
  }
  if (o.threads > 0) at::set_num_threads(o.threads);
  const bool only_machine = o.machine && o.op.empty() && o.filter.empty();
  const std::vector<Row> rows = only_machine ? std::vector<Row>{} : chosen_rows(o);
  if (o.list) {
    for (const Row& row : rows) std::printf("%s/%s\n", row.op.c_str(), row.name.c_str());
    return 0;
  }
  const std::string red = check(rows);
  if (!red.empty()) {
    std::fprintf(stderr, "hymba bench: nothing is timed, rows differ from the reference:\n%s", red.c_str());
    return 1;
  }
  run_benchmarks(o, rows,
                 !device().is_cpu() ? measure_device_limits()
                 : only_machine     ? Limits{}
                                    : measure_limits(o.smoke ? 0.05 : 1.2));
  return 0;
}

}  // namespace
}  // namespace hymba::kernels::bench

int main(int argc, char** argv) {
  hymba::settle_memory();  // as the program does
  try {
    return hymba::kernels::bench::run({argv + 1, argv + argc});
  } catch (const hymba::UserError& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "hymba bench: %s\n", error.what());
    return 1;
  }
}
