#include "eval/text_template.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "data/utf8.h"

namespace hymba::eval {

namespace {

const std::vector<std::string>& filter_names() {
  static const std::vector<std::string> names = {
      "strip",  "capitalize",       "lower_first", "clean",    "capitalize_tail", "spaces", "chop",      "before",
      "after",  "before_last_word", "last_word",   "drop_end", "replace",         "map",    "detokenize", "split"};
  return names;
}

// \n, \t, \s; any other escaped character stands for itself.
std::string unescape(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char c = text[++i];
    if (c == 'n') {
      out += '\n';
    } else if (c == 't') {
      out += '\t';
    } else if (c == 's') {
      out += ' ';
    } else {
      out += c;
    }
  }
  return out;
}

std::string lower_first(const std::string& text) {
  std::size_t at = 0;
  if (text.empty()) return text;
  next_code_point(text, at);
  return to_lower(text.substr(0, at)) + text.substr(at);
}

// The harness joins ctx_a + " " + capitalize(ctx_b). Where the parts were joined without it, ctx_b is what follows the
// last sentence end, if that is in lower case.
std::string capitalize_tail(const std::string& text) {
  std::size_t begin = std::string::npos;
  for (std::size_t i = 0; i + 2 < text.size(); ++i) {
    const bool ends = text[i] == '.' || text[i] == '!' || text[i] == '?';
    if (ends && text[i + 1] == ' ' && text[i + 2] >= 'a' && text[i + 2] <= 'z') begin = i + 2;
  }
  if (begin == std::string::npos || text.find(". ", begin) != std::string::npos) return text;
  return text.substr(0, begin) + capitalize(text.substr(begin));
}

// re.sub(r"OPEN\s*([^CLOSE]*?)\s*CLOSE", r"OPEN\1CLOSE", text)
std::string tighten(const std::string& text, char open, char close) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = text.find(open, at);
    const std::size_t end = begin == std::string::npos ? begin : text.find(close, begin + 1);
    if (end == std::string::npos) return out + text.substr(at);
    out += text.substr(at, begin + 1 - at);
    out += strip(std::string_view(text).substr(begin + 1, end - begin - 1));
    out += close;
    at = end + 1;
  }
  return out;
}

}  // namespace

// hellaswag/utils.py: strip; " [title]" -> ". "; re.sub(r"\[.*?\]", ""); one pass of two spaces -> one. Not stripped
// again, so a text may begin with a space.
std::string clean_hellaswag(std::string_view raw) {
  const std::string text = replace_all(std::string(strip(raw)), " [title]", ". ");
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = text.find('[', at);
    const std::size_t end = begin == std::string::npos ? begin : text.find(']', begin);
    // Python's "." does not cross a line end.
    if (end == std::string::npos) {
      out += text.substr(at);
      break;
    }
    const std::size_t line_end = text.find('\n', begin);
    if (line_end < end) {
      out += text.substr(at, line_end - at);
      at = line_end;
      continue;
    }
    out += text.substr(at, begin - at);
    at = end + 1;
  }
  return replace_all(out, "  ", " ");
}

// wikitext/preprocess_wikitext.py, in its order: contractions, numbers, punctuation, brackets and quotes, the rest. Its
// pattern for "/' 3/" is left out: the slashes in it match no text.
std::string detokenize_wikitext(std::string_view page) {
  std::string text(page);
  auto swap = [&text](std::string_view from, std::string_view to) { text = replace_all(std::move(text), from, to); };
  swap("s '", "s'");
  swap(" @-@ ", "-");
  swap(" @,@ ", ",");
  swap(" @.@ ", ".");
  for (const char* mark : {":", ";", ".", "!", "?", ","}) swap(fmt::format(" {} ", mark), fmt::format("{} ", mark));
  text = tighten(text, '(', ')');
  text = tighten(text, '[', ']');
  text = tighten(text, '{', '}');
  text = tighten(text, '"', '"');
  text = tighten(text, '\'', '\'');
  swap("= = = =", "====");
  swap("= = =", "===");
  swap("= =", "==");
  swap(" \xC2\xB0 ", "\xC2\xB0");  // degree sign
  swap(" \n", "\n");
  swap("\n ", "\n");
  swap(" N ", " 1 ");
  swap(" 's", "'s");
  return text;
}

// Members by name, list entries by index.
const nlohmann::json* find_value(const nlohmann::json& record, const std::vector<std::string>& path) {
  const nlohmann::json* at = &record;
  for (const auto& step : path) {
    if (at->is_object()) {
      const auto it = at->find(step);
      if (it == at->end()) return nullptr;
      at = &*it;
    } else if (at->is_array() && !step.empty() && step.find_first_not_of("0123456789") == std::string::npos) {
      const auto index = static_cast<std::size_t>(parse_int(step, "index in a template"));
      if (index >= at->size()) return nullptr;
      at = &(*at)[index];
    } else {
      return nullptr;
    }
  }
  return at;
}

std::vector<std::string> split_alternatives(const std::string& text) {
  std::vector<std::string> parts(1);
  int depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '{') ++depth;
    if (text[i] == '}') --depth;
    if (depth == 0 && text.compare(i, 3, " | ") == 0) {
      parts.emplace_back();
      i += 2;
    } else {
      parts.back() += text[i];
    }
  }
  return parts;
}

TextTemplate::TextTemplate(const std::string& text, const std::string& where) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t open = std::min(text.find('{', at), text.size());
    if (open > at) parts_.push_back({unescape(text.substr(at, open - at)), {}, {}});
    if (open == text.size()) break;
    const std::size_t close = text.find('}', open);
    require(close != std::string::npos, "{}: expected a closing brace after '{}'", where, text.substr(open));
    parse_placeholder(text.substr(open + 1, close - open - 1), where);
    at = close + 1;
  }
}

void TextTemplate::parse_placeholder(const std::string& body, const std::string& where) {
  const auto pieces = split(body, '|');
  require(!pieces.empty() && !pieces[0].empty(), "{}: expected a field name between braces, found '{{{}}}'", where, body);
  Part part;
  part.path = split(pieces[0], '.');
  for (std::size_t i = 1; i < pieces.size(); ++i) {
    const std::size_t colon = pieces[i].find(':');
    Filter filter{pieces[i].substr(0, colon), colon == std::string::npos ? "" : unescape(pieces[i].substr(colon + 1))};
    const auto& names = filter_names();
    require(std::find(names.begin(), names.end(), filter.name) != names.end(),
            "{}: unknown filter '{}' in '{{{}}}'; did you mean '{}'?", where, filter.name, body,
            nearest(filter.name, names));
    require(filter.name != "split" || filter.argument.size() == 1, "{}: expected split and one character in '{{{}}}'", where, body);
    part.filters.push_back(std::move(filter));
  }
  parts_.push_back(std::move(part));
}

bool TextTemplate::fits(const nlohmann::json& record) const { return missing_field(record).empty(); }

std::string TextTemplate::missing_field(const nlohmann::json& record) const {
  for (const auto& part : parts_) {
    if (!part.path.empty() && find_value(record, part.path) == nullptr) return join(part.path, ".");
  }
  return "";
}

std::string TextTemplate::render(const nlohmann::json& record, const std::string& where) const {
  std::string out;
  for (const auto& part : parts_) {
    std::string text = part.literal;
    if (!part.path.empty()) {
      const nlohmann::json* found = find_value(record, part.path);
      require(found != nullptr, "{}: expected a field \"{}\", found none", where, join(part.path, "."));
      require(found->is_primitive() && !found->is_null(), "{}: expected text or a number in \"{}\", found {}", where,
              join(part.path, "."), found->type_name());
      text = found->is_string() ? found->get<std::string>() : found->dump();
    }
    for (const auto& filter : part.filters) text = apply(filter, std::move(text), where);
    out += text;
  }
  return out;
}

const nlohmann::json* TextTemplate::value(const nlohmann::json& record) const {
  const bool bare = parts_.size() == 1 && !parts_[0].path.empty() && parts_[0].filters.empty();
  return bare ? find_value(record, parts_[0].path) : nullptr;
}

const nlohmann::json* TextTemplate::list(const nlohmann::json& record) const {
  const nlohmann::json* found = value(record);
  return found != nullptr && found->is_array() ? found : nullptr;
}

std::string TextTemplate::separator() const {
  const bool lists = parts_.size() == 1 && !parts_[0].filters.empty() && parts_[0].filters.back().name == "split";
  return lists ? parts_[0].filters.back().argument : "";
}

std::string TextTemplate::apply(const Filter& filter, std::string text, const std::string& where) {
  const std::string& name = filter.name;
  const std::string& argument = filter.argument;
  if (name == "strip") return std::string(strip(text));
  if (name == "split") return text;  // see separator()
  if (name == "capitalize") return capitalize(text);
  if (name == "lower_first") return lower_first(text);
  if (name == "clean") return clean_hellaswag(text);
  if (name == "capitalize_tail") return capitalize_tail(text);
  if (name == "spaces") return replace_all(std::move(text), "_", " ");
  if (name == "detokenize") return detokenize_wikitext(text);
  if (name == "chop") return text.empty() ? text : text.substr(0, text.size() - 1);
  if (name == "before" || name == "after") {
    const std::size_t at = text.find(argument);
    require(at != std::string::npos, "{}: expected '{}' in the text, found none in '{}'", where, argument, text);
    return name == "before" ? text.substr(0, at) : text.substr(at + argument.size());
  }
  if (name == "before_last_word" || name == "last_word") {
    const std::size_t at = text.rfind(' ');
    require(at != std::string::npos, "{}: expected at least two words, found '{}'", where, text);
    return name == "last_word" ? text.substr(at + 1) : text.substr(0, at);
  }
  if (name == "drop_end") {
    return text.ends_with(argument) ? text.substr(0, text.size() - argument.size()) : text;
  }
  if (name == "replace") {
    const std::size_t arrow = argument.find("=>");
    require(arrow != std::string::npos && arrow > 0, "{}: expected replace:A=>B, found '{}'", where, argument);
    return replace_all(std::move(text), argument.substr(0, arrow), argument.substr(arrow + 2));
  }
  // What is left is map: the first pair whose left side is the whole text.
  for (const auto& pair : split(argument, ',')) {
    const std::size_t equals = pair.find('=');
    if (equals != std::string::npos && pair.substr(0, equals) == text) return pair.substr(equals + 1);
  }
  user_error("{}: expected one of '{}', found '{}'", where, argument, text);
}

}  // namespace hymba::eval
