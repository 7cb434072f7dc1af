#include "data/hf_decoder.h"

#include <algorithm>
#include <charconv>
#include <memory>

#include "base/error.h"
#include "base/text.h"
#include "data/byte_alphabet.h"
#include "data/regex.h"
#include "data/utf8.h"

namespace hymba::hf {

namespace {

using Tokens = std::vector<std::string>;

// All tokens are one text of bytes; a token outside the alphabet (an added one) stands for itself.
Tokens byte_level(Tokens tokens) {
  std::string bytes;
  for (const auto& token : tokens) bytes += byte_alphabet().decode(token).value_or(token);
  return {replace_utf8_sequences(bytes)};
}

// <0x41> -> 'A'. Bytes that are no UTF-8 become one U+FFFD each.
Tokens byte_fallback(Tokens tokens) {
  Tokens out;
  std::string bytes;
  const auto flush = [&] {
    if (find_utf8_errors(bytes).count == 0) {
      if (!bytes.empty()) out.push_back(bytes);
    } else {
      out.insert(out.end(), bytes.size(), "\uFFFD");
    }
    bytes.clear();
  };
  for (auto& token : tokens) {
    unsigned byte = 0;
    const bool shaped = token.size() == 6 && token.starts_with("<0x") && token.back() == '>';
    const char* digits = token.data() + 3;
    if (shaped && std::from_chars(digits, digits + 2, byte, 16).ptr == digits + 2) {
      bytes += static_cast<char>(byte);
      continue;
    }
    flush();
    out.push_back(std::move(token));
  }
  flush();
  return out;
}

// The mark of spaces; those of the first token were put in front and go away.
Decoder metaspace(const Node& node) {
  const std::string mark = node.text("replacement");
  require(!mark.empty(), "{}: expected one character in \"replacement\", found none", node.where());
  const bool prepended =
      node.text("prepend_scheme", node.flag("add_prefix_space", true) ? "always" : "never") != "never";
  return [=](Tokens tokens) {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      tokens[i] = replace_all(std::move(tokens[i]), mark, i == 0 && prepended ? "" : " ");
    }
    return tokens;
  };
}

// Up to `start` and `stop` times a character at the ends of each token.
Decoder strip(const Node& node) {
  const std::string content = node.text("content");
  require(count_code_points(content) == 1, "{}: expected one character in \"content\", found '{}'", node.where(),
          content);
  return [content, start = node.number("start", 0), stop = node.number("stop", 0)](Tokens tokens) {
    for (auto& token : tokens) {
      for (std::int64_t i = 0; i < start && token.starts_with(content); ++i) token.erase(0, content.size());
      for (std::int64_t i = 0; i < stop && token.ends_with(content); ++i) token.resize(token.size() - content.size());
    }
    return tokens;
  };
}

Decoder replace(const Node& node) {
  const auto regex = std::make_shared<Regex>(pattern_of(node, "pattern"), node.where());
  return [regex, content = node.text("content")](Tokens tokens) {
    for (auto& token : tokens) {
      std::string out;
      std::size_t done = 0;
      for (const auto& [begin, end] : regex->find_all(token)) {
        out.append(token, done, begin - done);
        out += content;
        done = end;
      }
      token = out.append(token, done);
    }
    return tokens;
  };
}

// BPE with a suffix at the end of words: the suffix is a space, but for the last token.
Decoder bpe(const Node& node) {
  const std::string suffix = node.text("suffix", "</w>");
  require(!suffix.empty(), "{}: expected a suffix, found an empty one", node.where());
  return [suffix](Tokens tokens) {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      tokens[i] = replace_all(std::move(tokens[i]), suffix, i + 1 == tokens.size() ? "" : " ");
    }
    return tokens;
  };
}

// Spaces that English punctuation has lost (Python's clean_up_tokenization_spaces).
std::string cleaned(std::string text) {
  static constexpr std::pair<const char*, const char*> kRules[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kRules) text = replace_all(std::move(text), from, to);
  return text;
}

Decoder word_piece(const Node& node) {
  return [prefix = node.text("prefix", "##"), clean = node.flag("cleanup", true)](Tokens tokens) {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0)
        tokens[i] =
            !prefix.empty() && tokens[i].starts_with(prefix) ? tokens[i].substr(prefix.size()) : " " + tokens[i];
      if (clean) tokens[i] = cleaned(std::move(tokens[i]));
    }
    return tokens;
  };
}

Decoder sequence(const Node& node) {
  std::vector<Decoder> steps;
  for (const auto& child : node.children("decoders")) steps.push_back(make_decoder(child));
  return [steps](Tokens tokens) {
    for (const auto& step : steps) tokens = step(std::move(tokens));
    return tokens;
  };
}

}  // namespace

Decoder make_decoder(const Node& node) {
  const std::string type = node.type();
  if (type == "Sequence") return sequence(node);
  if (type == "ByteLevel") return byte_level;
  if (type == "ByteFallback") return byte_fallback;
  if (type == "Fuse") return [](Tokens tokens) { return Tokens{join(tokens, "")}; };
  if (type == "Metaspace") return metaspace(node);
  if (type == "Strip") return strip(node);
  if (type == "Replace") return replace(node);
  if (type == "BPEDecoder") return bpe(node);
  if (type == "WordPiece") return word_piece(node);
  node.unknown_type("decoder", "Sequence ByteLevel ByteFallback Fuse Metaspace Strip Replace BPEDecoder WordPiece");
}

}  // namespace hymba::hf
