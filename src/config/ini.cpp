#include "config/ini.h"

#include <boost/program_options/parsers.hpp>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "config/option_error.h"

namespace hymba {
namespace {

namespace po = boost::program_options;

// Boost parses the body of one stanza; it knows no line numbers, so the line of a key is looked up in the text.
void parse_body(const std::string& body, int first_line, Stanza& stanza) {
  const po::options_description none;
  std::istringstream stream(body);
  po::basic_parsed_options<char> parsed(&none);
  try {
    parsed = po::parse_config_file(stream, none, /*allow_unregistered=*/true);
  } catch (const po::error& error) {
    user_error("{} [{}] line {}: {}; a line is `key = value`, a comment starts with #", stanza.file, stanza.name,
               stanza.line, option_error_text(error));
  }
  std::vector<std::string> lines = split(body, '\n');
  for (const auto& option : parsed.options) {
    int line = first_line;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const auto equals = lines[i].find('=');
      if (equals != std::string::npos && trim(lines[i].substr(0, equals)) == option.string_key) {
        line = first_line + static_cast<int>(i);
        lines[i].clear();
        break;
      }
    }
    const auto origin = fmt::format("{} [{}] line {}", stanza.file, stanza.name, line);
    require(!option.string_key.empty(), "{}: a value without a key; a line is `key = value`", origin);
    require(stanza.find(option.string_key) == nullptr, "{}: '{}' is given twice in this stanza", origin,
            option.string_key);
    stanza.assignments.push_back({option.string_key, option.value.empty() ? "" : trim(option.value[0]), origin});
  }
}

}  // namespace

const Assignment* Stanza::find(const std::string& key) const {
  for (const auto& assignment : assignments) {
    if (assignment.key == key) return &assignment;
  }
  return nullptr;
}

void StanzaFile::add_file(const std::filesystem::path& path) { add_text(read_file(path), path.filename().string()); }

void StanzaFile::add_text(const std::string& text, const std::string& name) {
  std::string body;
  int body_line = 1;
  Stanza stanza;
  stanza.file = name;
  const auto finish = [&] {
    if (!stanza.name.empty()) {
      require(find(stanza.name) == nullptr, "{} line {}: the stanza [{}] stands in {} already", name, stanza.line,
              stanza.name, find(stanza.name) ? find(stanza.name)->file : "");
      parse_body(body, body_line, stanza);
      stanzas_.push_back(stanza);
    }
    body.clear();
    stanza.assignments.clear();
  };
  int number = 0;
  for (const auto& line : split(text, '\n')) {
    ++number;
    const std::string content = trim(line);
    if (!content.empty() && content[0] == '[') {
      require(content.back() == ']' && content.size() > 2, "{} line {}: expected [name], found '{}'", name, number,
              content);
      finish();
      stanza.name = trim(content.substr(1, content.size() - 2));
      require(!stanza.name.empty() && stanza.name.find('/') == std::string::npos, "{} line {}: [{}]: expected a name without '/': folders are called after it",
              name, number, stanza.name);
      stanza.line = number;
      body_line = number + 1;
      continue;
    }
    require(!stanza.name.empty() || content.empty() || content[0] == '#',
            "{} line {}: '{}' stands before the first [stanza]", name, number, content);
    body += line + "\n";
  }
  finish();
}

const Stanza* StanzaFile::find(const std::string& name) const {
  for (const auto& stanza : stanzas_) {
    if (stanza.name == name) return &stanza;
  }
  return nullptr;
}

const Stanza& StanzaFile::get(const std::string& name) const {
  const Stanza* stanza = find(name);
  if (stanza == nullptr) {
    std::vector<std::string> plain;
    for (const auto& known : names()) {
      if (known.find('@') == std::string::npos) plain.push_back(known);
    }
    const std::string near = nearest(name, plain);
    user_error("no stanza [{}]{}; there are: {}", name, near.empty() ? "" : fmt::format(" (did you mean {}?)", near),
               join(plain, ", "));
  }
  return *stanza;
}

std::vector<std::string> StanzaFile::names() const {
  std::vector<std::string> names;
  for (const auto& stanza : stanzas_) names.push_back(stanza.name);
  return names;
}

}  // namespace hymba
