#include "data/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.h"

namespace hymba {

namespace {

// Insides of character classes. Unicode's White_Space (pcre2 adds U+180E), and what Oniguruma calls a word character
// (pcre2 10.42 leaves out marks and connectors; Oniguruma takes Latin-1's superscripts and fractions for words, no others).
constexpr std::string_view kSpace =
    R"(\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
constexpr std::string_view kWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE})";
constexpr std::string_view kHex = "0-9a-fA-F";

constexpr std::uint32_t kMatchLimit = 20'000'000;  // steps of one match; real patterns need about one a character
constexpr std::uint32_t kHeapLimitKib = 64 * 1024;

// What stands for the escape \c, or "" where pcre2's meaning is right.
std::string class_escape(char c, bool in_class, const std::string& where) {
  std::string_view set;
  switch (c) {
    case 's':
    case 'S':
      set = kSpace;
      break;
    case 'w':
    case 'W':
      set = kWord;
      break;
    case 'h':
    case 'H':
      set = kHex;
      break;
    default:
      return "";
  }
  const bool negated = c < 'a';
  if (!in_class) return fmt::format("[{}{}]", negated ? "^" : "", set);
  // A negated set inside a class: pcre2's own is right for \S up to U+180E; \W and \H have no equal.
  if (c == 'S') return "";
  require(!negated, "{}: expected \\{} outside of [...] only, found it inside; write the set out", where, c);
  return std::string(set);
}

std::string pcre2_message(int code) {
  unsigned char text[256] = {};
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

}  // namespace

struct Regex::Code {
  pcre2_code* code = nullptr;
  pcre2_match_context* context = nullptr;
  Code() = default;
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
  ~Code() {
    pcre2_match_context_free(context);
    pcre2_code_free(code);
  }
};

std::string Regex::translated(std::string_view pattern, const std::string& where) {
  std::string out;
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char next = pattern[++i];
      const std::string set = class_escape(next, in_class, where);
      if (next == 'u' && i + 4 < pattern.size()) {  // \uHHHH
        out += fmt::format("\\x{{{}}}", pattern.substr(i + 1, 4));
        i += 4;
      } else if (!set.empty()) {
        out += set;
      } else {
        out += {c, next};
      }
      continue;
    }
    if (c == '[' && !in_class) {
      in_class = true;
      out += c;
      // "]" directly behind "[" or "[^" is a character.
      if (i + 1 < pattern.size() && pattern[i + 1] == '^') out += pattern[++i];
      if (i + 1 < pattern.size() && pattern[i + 1] == ']') out += "\\" + std::string(1, pattern[++i]);
      continue;
    }
    const bool posix = c == '[' && i + 1 < pattern.size() && pattern[i + 1] == ':';
    require(!in_class || c != '[' || posix, "{}: expected no class inside a class, found one at character {} of '{}'",
            where, i, pattern);
    require(!in_class || pattern.substr(i, 2) != "&&", "{}: expected no intersection of classes, found && in '{}'",
            where, pattern);
    if (posix) {
      const std::size_t end = pattern.find(":]", i);
      require(end != std::string_view::npos, "{}: expected [:name:], found no end of it in '{}'", where, pattern);
      out += pattern.substr(i, end + 2 - i);
      i = end + 1;
      continue;
    }
    if (c == ']') in_class = false;
    out += c;
  }
  return out;
}

std::string Regex::quoted(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x80 && !std::isalnum(static_cast<unsigned char>(c))) out += '\\';
    out += c;
  }
  return out;
}

Regex::Regex(std::string_view pattern, std::string where) : code_(std::make_unique<Code>()), where_(std::move(where)) {
  const std::string text = translated(pattern, where_);
  auto* compile = pcre2_compile_context_create(nullptr);
  pcre2_set_newline(compile, PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(compile, 100);
  int error = 0;
  PCRE2_SIZE offset = 0;
  // ^ and $ of Oniguruma are those of lines.
  code_->code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &offset, compile);
  pcre2_compile_context_free(compile);
  require(code_->code != nullptr, "{}: expected a regular expression, found '{}' ({} at byte {})", where_, pattern,
          code_->code == nullptr ? pcre2_message(error) : "", offset);
  pcre2_jit_compile(code_->code, PCRE2_JIT_COMPLETE);  // where there is no JIT, the interpreter does the same
  code_->context = pcre2_match_context_create(nullptr);
  pcre2_set_match_limit(code_->context, kMatchLimit);
  pcre2_set_heap_limit(code_->context, kHeapLimitKib);
}

Regex::~Regex() = default;

std::vector<TextRange> Regex::find_all(std::string_view text) const {
  std::vector<TextRange> found;
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
      pcre2_match_data_create_from_pattern(code_->code, nullptr), &pcre2_match_data_free);
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data.get());
  std::uint32_t options = PCRE2_NO_UTF_CHECK;
  for (std::size_t at = 0; at < text.size();) {
    int status = pcre2_match(code_->code, subject, text.size(), at, options, data.get(), code_->context);
    // A long match can outgrow the JIT's stack of 32 KiB; the interpreter takes memory from the heap.
    if (status == PCRE2_ERROR_JIT_STACKLIMIT) {
      status = pcre2_match(code_->code, subject, text.size(), at, options | PCRE2_NO_JIT, data.get(), code_->context);
    }
    if (status == PCRE2_ERROR_NOMATCH) break;
    require(status >= 0, "{}: the regular expression fails on a text of {} bytes: {}; simplify it", where_, text.size(),
            pcre2_message(status));
    if (range[1] > range[0] && range[0] >= at) {
      found.emplace_back(range[0], range[1]);
      at = range[1];
    } else {  // an empty match: go on behind the next character
      at = std::max(at, range[0]) + 1;
      while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U) ++at;
    }
  }
  return found;
}

}  // namespace hymba
