#include "config/resolver.h"

#include <boost/program_options/errors.hpp>
#include <boost/program_options/parsers.hpp>
#include <boost/program_options/variables_map.hpp>

#include "base/error.h"
#include "base/rng.h"
#include "base/text.h"
#include "config/option_error.h"

namespace hymba {
namespace {

namespace po = boost::program_options;

// The text of an option's value as the resolved dump shows it.
std::string text_of(const boost::any& value) {
  if (const auto* v = boost::any_cast<bool>(&value)) return *v ? "true" : "false";
  if (const auto* v = boost::any_cast<int>(&value)) return std::to_string(*v);
  if (const auto* v = boost::any_cast<std::int64_t>(&value)) return std::to_string(*v);
  if (const auto* v = boost::any_cast<double>(&value)) return fmt::format("{}", *v);
  if (const auto* v = boost::any_cast<std::string>(&value)) return *v;
  fail("an option of a type that the config does not know");
}

bool is_description(const std::string& key) {
  return key == "from" || key == "title" || key == "group" || key == "row" || key == "about";
}

}  // namespace

Resolver::Resolver(std::vector<ConfigLayer> layers) : layers_(std::move(layers)) {}

void Resolver::read(const po::options_description& options) {
  std::map<std::string, std::string> origin;
  std::set<std::string> names;  // find_nothrow() would take an empty key for any, and throw
  for (const auto& option : options.options()) names.insert(option->long_name());
  po::variables_map values;
  for (const auto& layer : layers_) {
    po::basic_parsed_options<char> parsed(&options);
    for (const auto& assignment : layer.assignments) {
      if (names.count(assignment.key) == 0) continue;
      parsed.options.emplace_back(assignment.key, std::vector<std::string>{assignment.value});
      origin.emplace(assignment.key, assignment.origin);
    }
    try {
      po::store(parsed, values);
    } catch (const po::error_with_option_name& error) {
      const auto& key = error.get_option_name();
      for (const auto& assignment : layer.assignments) {
        require(key.find(assignment.key) == std::string::npos, "{}: {} = '{}' is not valid: {}", assignment.origin,
                assignment.key, assignment.value, option_error_text(error));
      }
      user_error("{}: {}", layer.name, option_error_text(error));
    }
  }
  try {
    po::notify(values);
  } catch (const po::error& error) {
    user_error("{}", option_error_text(error));
  }
  for (const auto& option : options.options()) {
    const auto& key = option->long_name();
    const auto found = origin.find(key);
    resolved_[key] = {text_of(values[key].value()), found == origin.end() ? "default" : found->second};
  }
}

void Resolver::check(const std::set<std::string>& known) const {
  const std::vector<std::string> all(known.begin(), known.end());
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    for (const auto& assignment : layers_[i].assignments) {
      if (known.count(assignment.key) == 0) {
        const auto near = nearest(assignment.key, all);
        user_error("{}: unknown key '{}'{}; `hymba show --keys` lists all keys", assignment.origin, assignment.key,
                   near.empty() ? "" : fmt::format(" (did you mean {}?)", near));
      }
      if (layers_[i].defaults) continue;
      require(resolved_.count(assignment.key) != 0,
              "{}: '{}' has no effect: no component of this design reads it; remove it, or choose the mixer that has it",
              assignment.origin, assignment.key);
      check_no_op(i, assignment);
    }
  }
}

void Resolver::check_no_op(std::size_t layer, const Assignment& assignment) const {
  if (assignment.origin == "command line") return;  // scripts pass all their settings
  for (std::size_t j = layer + 1; j < layers_.size(); ++j) {
    for (const auto& other : layers_[j].assignments) {
      if (other.key != assignment.key) continue;
      require(other.value != assignment.value, "{}: '{} = {}' changes nothing: it equals {}; remove the line",
              assignment.origin, assignment.key, assignment.value, other.origin);
      return;
    }
  }
}

std::string Resolver::text() const {
  std::string text;
  for (const auto& [key, value] : resolved_) text += fmt::format("{} = {}\n", key, value.value);
  return text;
}

std::string Resolver::text_with_origin() const {
  std::string text;
  for (const auto& [key, value] : resolved_) {
    text += fmt::format("{:<40}  # {}\n", fmt::format("{} = {}", key, value.value), value.origin);
  }
  return text;
}

std::string Resolver::hash() const { return hex64(hash64(text())); }

std::string Resolver::raw(const std::string& key) const {
  for (const auto& layer : layers_) {
    for (const auto& assignment : layer.assignments) {
      if (assignment.key == key) return assignment.value;
    }
  }
  return "";
}

std::vector<ConfigLayer> stanza_layers(const StanzaFile& file, const std::string& name, const std::string& size,
                                       const std::vector<Assignment>& overrides) {
  std::vector<ConfigLayer> layers;
  if (!overrides.empty()) layers.push_back({"command line", false, overrides});
  const auto add = [&](const Stanza& stanza) {
    ConfigLayer layer{stanza.name, stanza.name == "base" || stanza.name.rfind("base@", 0) == 0, {}};
    for (const auto& assignment : stanza.assignments) {
      if (!is_description(assignment.key)) layer.assignments.push_back(assignment);
    }
    layers.push_back(std::move(layer));
  };
  std::set<std::string> seen;
  for (std::string current = name; !current.empty();) {
    const Stanza& stanza = file.get(current);
    require(seen.insert(current).second, "{} [{}]: `from` goes in a circle back to [{}]", stanza.file, name, current);
    if (!size.empty()) {
      if (const Stanza* sized = file.find(current + "@" + size)) add(*sized);
    }
    add(stanza);
    const Assignment* from = stanza.find("from");
    current = from != nullptr ? from->value : (current == "base" ? "" : "base");
    if (current == "base" && file.find("base") == nullptr) break;
  }
  return layers;
}

Assignment parse_assignment(const std::string& text, const std::string& option) {
  const auto equals = text.find('=');
  require(equals != std::string::npos && equals > 0, "{} {}: expected key=value", option, text);
  return {trim(text.substr(0, equals)), trim(text.substr(equals + 1)), "command line"};
}

}  // namespace hymba
