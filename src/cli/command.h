// Subcommands on Boost.Program_options: `hymba COMMAND [ARGUMENT ...] [--option value ...]`.
#pragma once

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/variables_map.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "config/resolver.h"

namespace hymba::cli {

// Which keys a command takes as --set key=value and --key=value. A key that it would not read is a mistake.
struct OverrideKinds {
  bool design = false, recipe = false, world = false;
  bool any() const { return design || recipe || world; }
};

struct Invocation {
  std::vector<std::string> arguments;  // positional ones
  boost::program_options::variables_map values;
  std::vector<Assignment> overrides;   // --set key=value and --key.of.a.design=value
  bool json = false;
  std::uint64_t seed = 0;
  int threads = 0;
  std::string out, device;

  bool has(const std::string& name) const { return values.count(name) != 0 && !values[name].defaulted(); }
  template <class T>
  T get(const std::string& name) const {
    return values[name].as<T>();
  }
  // A whole number within [low, high], else a UserError that names option, value and bounds.
  std::int64_t whole(const std::string& name, std::int64_t low, std::int64_t high) const;
  // Of a repeatable option; empty if absent.
  std::vector<std::string> list(const std::string& name) const;
};

// More than any text or run has; far enough below the limit of 64 bits for products with widths and batches.
constexpr std::int64_t kMostTokens = 1'000'000'000'000;
constexpr std::int64_t kMostItems = 1'000'000;  // of a task

inline constexpr const char* kProductsHelp =
    "of prefill: fp32, or bf16: what meets a bf16 weight or is multiplied in attention is rounded to bf16, as PyTorch does (needs --dtype bf16 and AVX-512 BF16)";

struct Command {
  std::string name, summary;
  std::string arguments;  // as the help shows them: "DESIGN|MODEL"
  std::string example;    // whole lines
  std::size_t min_arguments = 0, max_arguments = 0;
  OverrideKinds overrides;
  std::set<std::string> may_be_empty;  // options for which '' is a value; elsewhere it is a mistake
  std::function<void(boost::program_options::options_description&)> options;
  std::function<void(const Invocation&)> run;
};

// All commands, in the order of the help.
std::vector<Command> commands();

Command show_command();
Command cache_command();
Command roadmap_command();
Command train_command();
Command eval_command();
Command throughput_command();
Command heads_command();
Command generate_command();
Command chat_command();
Command report_command();
Command world_command();
Command tokenize_command();
Command logits_command();
Command import_command();
Command export_command();
Command doctor_command();

// Parses and runs; returns the exit code: 0 done, 1 failed, 2 the user's mistake, 130 interrupted. Prints errors.
int run_program(const std::vector<std::string>& arguments);

// stdout: one JSON object a line, or text.
void print_json(const nlohmann::json& object);
void print_text(const std::string& text);
// Columns for tables: COLUMNS, else the terminal's width, else 120.
int terminal_width();
bool use_colour();  // a terminal on stdout, and NO_COLOR not set

}  // namespace hymba::cli
