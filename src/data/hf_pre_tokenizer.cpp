#include "data/hf_pre_tokenizer.h"

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "data/byte_alphabet.h"
#include "data/normal_form.h"
#include "data/regex.h"
#include "data/utf8.h"

namespace hymba::hf {

namespace {

// A stretch of a text, and whether it is one that a delimiter was asked for.
struct Stretch {
  TextRange range;
  bool match;
};
using Finder = std::function<std::vector<TextRange>(std::string_view)>;  // the delimiters
using Characters = bool (*)(char32_t);

// What becomes of delimiters, with the names of tokenizer.json.
enum class Behaviour { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

Behaviour behaviour_of(const Node& node, const std::string& name) {
  static constexpr const char* kNames[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
  for (int i = 0; i < 5; ++i) {
    if (name == kNames[i]) return static_cast<Behaviour>(i);
  }
  user_error(
      "{}: expected a behavior of Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous, found '{}'",
      node.where(), name);
}

std::vector<Stretch> stretches(std::string_view text, const Finder& find, bool invert) {
  std::vector<Stretch> all;
  std::size_t done = 0;
  for (const auto& range : find(text)) {
    if (range.first > done) all.push_back({{done, range.first}, invert});
    all.push_back({range, !invert});
    done = range.second;
  }
  if (done < text.size()) all.push_back({{done, text.size()}, invert});
  return all;
}

// Joins delimiters with the stretch before them, or (on the reversed list) with the one behind.
std::vector<Stretch> joined(const std::vector<Stretch>& all, bool contiguous) {
  std::vector<Stretch> result;
  bool previous = false;  // the stretch before was a delimiter
  for (const auto& stretch : all) {
    const bool join = contiguous ? stretch.match == previous : stretch.match && !previous;
    if (join && !result.empty()) {
      auto& range = result.back().range;
      range = {std::min(range.first, stretch.range.first), std::max(range.second, stretch.range.second)};
    } else {
      result.push_back(stretch);
    }
    previous = stretch.match;
  }
  return result;
}

std::vector<TextRange> cut(std::string_view text, const Finder& find, Behaviour behaviour, bool invert) {
  auto all = stretches(text, find, invert);
  if (behaviour == Behaviour::kMergedWithNext) {
    std::reverse(all.begin(), all.end());
    all = joined(all, false);
    std::reverse(all.begin(), all.end());
  } else if (behaviour == Behaviour::kMergedWithPrevious || behaviour == Behaviour::kContiguous) {
    all = joined(all, behaviour == Behaviour::kContiguous);
  }
  std::vector<TextRange> kept;
  kept.reserve(all.size());
  for (const auto& stretch : all) {
    if (behaviour != Behaviour::kRemoved || !stretch.match) kept.push_back(stretch.range);
  }
  return kept;
}

PreTokenizer splitter(Finder find, Behaviour behaviour, bool invert = false) {
  return [=](std::vector<Piece>& pieces) {
    std::vector<Piece> finer;
    finer.reserve(pieces.size());
    for (const auto& piece : pieces) {
      for (const auto& [begin, end] : cut(piece.text, find, behaviour, invert)) {
        if (end > begin) finer.push_back({piece.text.substr(begin, end - begin), piece.at_start && begin == 0});
      }
    }
    pieces = std::move(finer);
  };
}

Finder regex_finder(const std::string& pattern, const std::string& where) {
  const auto regex = std::make_shared<Regex>(pattern, where);
  return [regex](std::string_view text) { return regex->find_all(text); };
}

// Every character of a kind is a delimiter of its own.
template <class Kind>
Finder character_finder(Kind kind) {
  return [kind](std::string_view text) {
    std::vector<TextRange> found;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t begin = at;
      if (kind(next_code_point(text, at))) found.emplace_back(begin, at);
    }
    return found;
  };
}

// One character, as text: Metaspace's replacement, CharDelimiterSplit's delimiter.
char32_t character_of(const Node& node, const std::string& text) {
  require(count_code_points(text) == 1, "{}: expected one character, found '{}'", node.where(), text);
  std::size_t at = 0;
  return next_code_point(text, at);
}

constexpr const char* kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

PreTokenizer byte_level(const Node& node) {
  const bool space = node.flag("add_prefix_space", true);
  PreTokenizer split;
  if (node.flag("use_regex", true)) split = splitter(regex_finder(kGpt2Pattern, node.where()), Behaviour::kIsolated);
  return [=](std::vector<Piece>& pieces) {
    for (auto& piece : pieces) {
      if (space && piece.text.front() != ' ') piece.text.insert(0, " ");
    }
    if (split) split(pieces);
    for (auto& piece : pieces) piece.text = byte_alphabet().encode(piece.text);
  };
}

// Spaces become a visible character, of which there is one in front (always, at the start of the text, never).
PreTokenizer metaspace(const Node& node) {
  const std::string mark = node.text("replacement");
  const char32_t character = character_of(node, mark);
  // Files of before 2024 say add_prefix_space.
  const std::string scheme = node.text("prepend_scheme", node.flag("add_prefix_space", true) ? "always" : "never");
  require(scheme == "always" || scheme == "first" || scheme == "never",
          "{}: expected a prepend_scheme of always, first or never, found '{}'", node.where(), scheme);
  PreTokenizer split;
  if (node.flag("split", true)) {
    split = splitter(character_finder([character](char32_t c) { return c == character; }), Behaviour::kMergedWithNext);
  }
  return [=](std::vector<Piece>& pieces) {
    for (auto& piece : pieces) {
      piece.text = replace_all(std::move(piece.text), " ", mark);
      const bool wanted = scheme == "always" || (scheme == "first" && piece.at_start);
      if (wanted && !piece.text.starts_with(mark)) piece.text.insert(0, mark);
    }
    if (split) split(pieces);
  };
}

PreTokenizer sequence(const Node& node) {
  std::vector<PreTokenizer> steps;
  for (const auto& child : node.children("pretokenizers")) steps.push_back(make_pre_tokenizer(child));
  return [steps](std::vector<Piece>& pieces) {
    for (const auto& step : steps) step(pieces);
  };
}

// Words and runs of other characters, white space removed.
PreTokenizer words() {
  const auto finder = [](std::string_view text) {
    std::vector<TextRange> spaces;
    int last = -1;  // kind of the character before: 0 space, 1 word, 2 other
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t begin = at;
      const char32_t c = next_code_point(text, at);
      const int kind = is_white_space(c) ? 0 : is_word_character(c) ? 1 : 2;
      if (kind == 0) {
        spaces.emplace_back(begin, at);
      } else if (last > 0 && kind != last) {
        spaces.emplace_back(begin, begin);  // a cut without a character
      }
      last = kind;
    }
    return spaces;
  };
  return splitter(finder, Behaviour::kRemoved);
}

PreTokenizer fixed_length(const Node& node) {
  const auto length = static_cast<std::size_t>(node.number("length", 5));
  require(length > 0, "{}: expected a length of at least 1, found 0", node.where());
  const auto finder = [length](std::string_view text) {
    std::vector<TextRange> found;
    std::size_t count = 0, begin = 0;
    for (std::size_t at = 0; at < text.size();) {
      next_code_point(text, at);
      if (++count % length != 0 && at < text.size()) continue;
      found.emplace_back(begin, at);
      begin = at;
    }
    return found;
  };
  return splitter(finder, Behaviour::kIsolated);
}

PreTokenizer bert() {
  const auto spaces = splitter(character_finder(is_white_space), Behaviour::kRemoved);
  const auto marks = splitter(character_finder(is_punctuation), Behaviour::kIsolated);
  return [spaces, marks](std::vector<Piece>& pieces) {
    spaces(pieces);
    marks(pieces);
  };
}

}  // namespace

PreTokenizer make_pre_tokenizer(const Node& node) {
  const std::string type = node.type();
  if (type == "Sequence") return sequence(node);
  if (type == "ByteLevel") return byte_level(node);
  if (type == "Metaspace") return metaspace(node);
  if (type == "Whitespace") return words();
  if (type == "WhitespaceSplit") return splitter(character_finder(is_white_space), Behaviour::kRemoved);
  if (type == "BertPreTokenizer") return bert();
  if (type == "FixedLength") return fixed_length(node);
  if (type == "Split") {
    return splitter(regex_finder(pattern_of(node, "pattern"), node.where()), behaviour_of(node, node.text("behavior")),
                    node.flag("invert", false));
  }
  if (type == "Digits") {
    const bool single = node.flag("individual_digits", false);
    return splitter(character_finder(is_numeric), single ? Behaviour::kIsolated : Behaviour::kContiguous);
  }
  if (type == "Punctuation") {
    return splitter(character_finder(is_punctuation), behaviour_of(node, node.text("behavior", "Isolated")));
  }
  if (type == "CharDelimiterSplit") {
    const char32_t delimiter = character_of(node, node.text("delimiter"));
    return splitter(character_finder([delimiter](char32_t c) { return c == delimiter; }), Behaviour::kRemoved);
  }
  node.unknown_type("pre-tokenizer",
                    "Sequence ByteLevel Metaspace Split Digits Punctuation Whitespace WhitespaceSplit "
                    "CharDelimiterSplit BertPreTokenizer FixedLength");
}

}  // namespace hymba::hf
