#include "cli/command.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/program_options/parsers.hpp>
#include <cstdlib>
#include <sstream>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/context.h"
#include "kernels/cuda/plugin.h"
#include "kernels/isa.h"
#include "cli/study_commands.h"
#include "config/option_error.h"
#include "model/design.h"
#include "nn/device.h"
#include "train/recipe.h"

namespace hymba::cli {
namespace {

namespace po = boost::program_options;

// Everything that runs a model in this process runs it there from here on.
void choose_device(const std::string& device) {
  require(device == "cpu" || device == "cuda", "--device {}: expected cpu or cuda", device);
  if (device == "cpu") return;
  try {
    kernels::load_cuda();
  } catch (const UserError& error) {
    user_error("--device cuda: {}; use --device cpu", error.what());
  }
  set_model_device(at::Device(at::kCUDA, 0));
}

void add_common(po::options_description& o) {
  o.add_options()("help,h", "this text")("format", po::value<std::string>()->default_value("text"), "text, or json: one object a line")(
      "seed", po::value<std::int64_t>()->default_value(0), "of weights, data order and worlds")(
      "threads", po::value<int>()->default_value(0), "0: all cores")("out", po::value<std::string>()->default_value(""), "folder for results")(
      "device", po::value<std::string>()->default_value("cpu"), "cpu or cuda")("quiet,q", "no progress and no log");
}

po::options_description options_of(const Command& command) {
  po::options_description own("Options"), common("Common options");
  if (command.options) command.options(own);
  if (command.overrides.any()) {
    own.add_options()("set", po::value<std::vector<std::string>>()->composing(),
                      "key=value of the design or recipe; repeatable. --attention.window=64 is the same");
  }
  add_common(common);
  return po::options_description().add(own).add(common);
}

std::string help_of(const Command& command) {
  std::ostringstream text;
  text << "hymba " << command.name << (command.arguments.empty() ? "" : " ") << command.arguments << " [options]\n"
       << command.summary << "\n\nExample:\n" << command.example << "\n\n" << options_of(command);
  return text.str();
}

std::string general_help() {
  std::string text = "hymba: ablate and benchmark hybrid attention + Mamba language models\n\nCommands:\n";
  for (const auto& command : commands()) text += fmt::format("  {:<11} {}\n", command.name, command.summary);
  text += "  bench       kernels beside the machine's limits (./hymba bench --help)\n  test        every test (./hymba test)\n\nhymba COMMAND --help shows its options and an example. DESIGN is a row (9), a stanza\n"
          "(row-09, samba) or FILE.ini:stanza; `hymba show` lists them.\n";
  return text;
}

// The keys that --set and --KEY=value may name: of designs, recipes and the synthetic world.
std::set<std::string> override_keys(OverrideKinds kinds) {
  std::set<std::string> keys;
  if (kinds.design) keys.merge(design_keys());
  if (kinds.recipe) keys.merge(recipe_keys());
  if (kinds.world) keys.merge(world_keys());
  return keys;
}

constexpr OverrideKinds kAllKinds{true, true, true};

[[noreturn]] void key_without_effect(const Command& command, const std::string& key) {
  std::vector<std::string> kinds;
  if (command.overrides.design) kinds.push_back("designs");
  if (command.overrides.recipe) kinds.push_back("recipes");
  if (command.overrides.world) kinds.push_back("the synthetic world");
  user_error("hymba {}: '{}' has no effect here: {}", command.name, key,
             kinds.empty() ? "this command takes no keys" : "this command takes keys of " + join(kinds, ", "));
}

// --set names keys too; one that no design, recipe or world has is left to the resolver, which knows the place.
void check_overrides(const Command& command, const std::vector<Assignment>& overrides) {
  const auto all = override_keys(kAllKinds), taken = override_keys(command.overrides);
  for (const auto& o : overrides) {
    if (taken.count(o.key) == 0 && (all.count(o.key) != 0 || !command.overrides.design)) key_without_effect(command, o.key);
  }
}

// Everything that is no option of the command: overrides of design and recipe keys, or a mistake.
void take_unrecognised(const std::vector<std::string>& words, const Command& command, const po::options_description& options,
                       Invocation& invocation) {
  const auto all = override_keys(kAllKinds), keys = override_keys(command.overrides);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string word = words[i];
    const auto equals = word.find('=');
    const std::string name = word.substr(0, equals).substr(std::min<std::size_t>(2, word.size()));
    const bool is_key = starts_with(word, "--") && keys.count(name) != 0;
    if (!is_key) {
      if (starts_with(word, "--") && all.count(name) != 0) key_without_effect(command, name);
      std::vector<std::string> known(keys.begin(), keys.end());
      for (const auto& option : options.options()) known.push_back(option->long_name());
      const auto near = nearest(name, known);
      user_error("hymba {}: unknown option '{}'{}; see hymba {} --help", command.name, word,
                 near.empty() ? "" : fmt::format(" (did you mean --{}?)", near), command.name);
    }
    if (equals != std::string::npos) {
      invocation.overrides.push_back({name, word.substr(equals + 1), "command line"});
    } else {
      require(i + 1 < words.size() && !starts_with(words[i + 1], "--"), "hymba {}: --{} needs a value", command.name, name);
      invocation.overrides.push_back({name, words[++i], "command line"});
    }
  }
}

// Splits words into those of options (with their values) and positional ones: an override's value must not be taken
// for an argument.
std::vector<std::string> join_override_values(const Command& command, const std::vector<std::string>& words) {
  const auto keys = override_keys(command.overrides);
  std::vector<std::string> joined;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (starts_with(words[i], "--") && words[i].find('=') == std::string::npos && keys.count(words[i].substr(2)) != 0 && i + 1 < words.size()) {
      joined.push_back(words[i] + "=" + words[i + 1]);
      ++i;
    } else {
      joined.push_back(words[i]);
    }
  }
  return joined;
}

// '' stands for an unset shell variable more often than for a value: it must not pass for the default.
void check_empty_values(const Command& command, const po::parsed_options& parsed) {
  for (const auto& option : parsed.options) {
    if (option.unregistered || option.value.size() != 1 || !option.value[0].empty()) continue;
    require(option.position_key < 0, "hymba {}: an argument is empty; expected {}", command.name, command.arguments);
    require(command.may_be_empty.count(option.string_key) != 0, "hymba {}: --{} '': its value is empty; give one, or leave the option out", command.name,
            option.string_key);
  }
}

void check_size(const std::string& size) {
  const auto known = open_designs().sizes();
  require(std::find(known.begin(), known.end(), size) != known.end(), "--size {}: expected one of {}", size, join(known, ", "));
}

Invocation parse(const Command& command, const std::vector<std::string>& words) {
  auto options = options_of(command);
  po::options_description hidden, all;
  hidden.add_options()("argument", po::value<std::vector<std::string>>());
  all.add(options).add(hidden);
  po::positional_options_description positional;
  positional.add("argument", -1);
  Invocation invocation;
  try {
    const int style = po::command_line_style::default_style & ~po::command_line_style::allow_guessing;
    const auto parsed = po::command_line_parser(join_override_values(command, words)).options(all).positional(positional).style(style).allow_unregistered().run();
    check_empty_values(command, parsed);
    take_unrecognised(po::collect_unrecognized(parsed.options, po::exclude_positional), command, options, invocation);
    po::store(parsed, invocation.values);
  } catch (const po::error& error) {
    user_error("hymba {}: {}; see hymba {} --help", command.name, option_error_text(error), command.name);
  }
  if (invocation.values.count("argument") != 0) invocation.arguments = invocation.get<std::vector<std::string>>("argument");
  if (invocation.values.count("help") != 0) return invocation;
  for (const auto& text : invocation.list("set")) invocation.overrides.push_back(parse_assignment(text));
  check_overrides(command, invocation.overrides);
  const auto format = invocation.get<std::string>("format");
  require(format == "text" || format == "json", "--format {}: expected text or json", format);
  invocation.json = format == "json";
  const auto seed = invocation.get<std::int64_t>("seed");
  require(seed >= 0, "--seed {}: expected a number from 0", seed);
  invocation.seed = static_cast<std::uint64_t>(seed);
  if (invocation.values.count("size") != 0) check_size(invocation.get<std::string>("size"));
  invocation.threads = invocation.get<int>("threads");
  require(invocation.threads >= 0 && invocation.threads <= 4096, "--threads {}: expected 0 (all cores) to 4096", invocation.threads);
  invocation.out = invocation.get<std::string>("out");
  invocation.device = invocation.get<std::string>("device");
  const auto n = invocation.arguments.size();
  require(n >= command.min_arguments, "hymba {}: expected {}; see hymba {} --help", command.name, command.arguments, command.name);
  require(n <= command.max_arguments, "hymba {}: '{}' is one argument too many; see hymba {} --help", command.name,
          n > command.max_arguments ? invocation.arguments[command.max_arguments] : "", command.name);
  return invocation;
}

int run_command(const Command& command, const std::vector<std::string>& words) {
  const auto invocation = parse(command, words);
  if (invocation.values.count("help") != 0) {
    print_text(help_of(command));
    return 0;
  }
  if (invocation.values.count("quiet") != 0) set_log_level(LogLevel::kQuiet);
  kernels::active_isa();  // a HYMBA_ISA that this processor has not shows before anything is done
  choose_device(invocation.device);
  if (invocation.threads > 0) at::set_num_threads(invocation.threads);
  command.run(invocation);
  return 0;
}

int dispatch(std::vector<std::string> words) {
  // The first word that is no option is the command; options before it go behind it.
  std::size_t at = 0;
  while (at < words.size() && starts_with(words[at], "-")) {
    at += words[at].find('=') == std::string::npos && words[at] != "--help" && words[at] != "-h" && words[at] != "--quiet" && words[at] != "-q" ? 2 : 1;
  }
  const bool asks_for_help = std::any_of(words.begin(), words.end(), [](const std::string& w) { return w == "--help" || w == "-h"; });
  if (words.empty() || (at >= words.size() && asks_for_help) || (at < words.size() && words[at] == "help")) {
    print_text(general_help());
    return words.empty() ? 2 : 0;
  }
  require(at < words.size(), "no command in '{}'; hymba --help lists the commands", join(words, " "));
  const std::string name = words[at];
  words.erase(words.begin() + static_cast<std::ptrdiff_t>(at));
  std::vector<std::string> names;
  for (const auto& command : commands()) {
    if (command.name == name) return run_command(command, words);
    names.push_back(command.name);
  }
  const auto near = nearest(name, names);
  user_error("no command '{}'{}; there are: {}", name, near.empty() ? "" : fmt::format(" (did you mean {}?)", near), join(names, ", "));
}

}  // namespace

Invocation parse_words(const Command& command, const std::vector<std::string>& words) { return parse(command, words); }

std::int64_t Invocation::whole(const std::string& name, std::int64_t low, std::int64_t high) const {
  const auto value = get<std::int64_t>(name);
  require(value >= low && value <= high, "--{} {}: expected a whole number from {} to {}", name, value, low, high);
  return value;
}

std::vector<std::string> Invocation::list(const std::string& name) const {
  return values.count(name) == 0 ? std::vector<std::string>() : values[name].as<std::vector<std::string>>();
}

std::vector<Command> commands() {
  return {roadmap_command(), show_command(),       cache_command(),  train_command(),
          eval_command(),    compare_command(),  generate_command(),   chat_command(),   throughput_command(), heads_command(),     needle_command(),
          erf_command(),     attention_command(),  magnitudes_command(), curves_command(), tradeoff_command(), studies_command(),
          sweep_command(),   report_command(),     world_command(),   tokenize_command(), logits_command(),   import_command(),  export_command(), doctor_command()};
}

namespace {

// LibTorch's messages carry a C++ backtrace after the first lines; people need the first lines.
std::string without_backtrace(const std::string& text) {
  return text.substr(0, std::min(text.find("\nException raised from"), text.find("\nframe #")));
}

// fmt::print() throws where stderr is closed, and that would end the process by abort().
template <class... Args>
void complain(fmt::format_string<Args...> text, Args&&... args) {
  std::fputs(fmt::format(text, std::forward<Args>(args)...).c_str(), stderr);
}

}  // namespace

int run_program(const std::vector<std::string>& arguments) {
  install_interrupt_handlers();
  try {
    return dispatch(arguments);
  } catch (const Interrupted& error) {
    complain("hymba: {}\n", error.what());
    return 130;
  } catch (const UserError& error) {
    complain("hymba: {}\n", error.what());
    return 2;
  } catch (const std::bad_alloc&) {
    complain("hymba: out of memory; a smaller --batch, --context or --size needs less\n");
    return 1;
  } catch (const std::exception& error) {
    const std::string text = without_backtrace(error.what());
    const bool memory = text.find("can't allocate memory") != std::string::npos;
    complain("hymba: {}{}\n", text, memory ? "; a smaller --batch, --context or --size needs less" : "");
    return 1;
  }
}

void print_json(const nlohmann::json& object) { print_text(object.dump() + "\n"); }

void print_text(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) fail("cannot write to stdout");
}

int terminal_width() {
  if (const char* columns = std::getenv("COLUMNS"); columns != nullptr && std::atoi(columns) > 20) return std::atoi(columns);
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20) return size.ws_col;
  return 120;
}

// https://no-color.org: set and not empty.
bool use_colour() {
  const char* no_color = std::getenv("NO_COLOR");
  return ::isatty(STDOUT_FILENO) == 1 && (no_color == nullptr || *no_color == '\0');
}

}  // namespace hymba::cli
