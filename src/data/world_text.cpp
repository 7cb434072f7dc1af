#include "data/world_text.h"

#include <algorithm>

#include "base/text.h"

namespace hymba::data {

void Text::add(std::string_view phrase, std::initializer_list<std::string_view> slots) {
  std::size_t begin = 0;
  while (begin < phrase.size()) {
    const auto end = std::min(phrase.find(' ', begin), phrase.size());
    const auto w = phrase.substr(begin, end - begin);
    if (w[0] == '$') {
      const auto slot = slots.begin()[w[1] - '0'];
      word(slot);
      tokens_ += static_cast<int>(std::count(slot.begin(), slot.end(), ' '));
    } else {
      word(w);
    }
    begin = end + 1;
  }
}

std::string Text::take() {
  std::string out = std::move(text_);
  if (!out.empty()) out.pop_back();
  text_.clear();
  tokens_ = 0;
  drawn_.clear();
  return out;
}

std::string fill(std::string_view phrase, std::initializer_list<std::string_view> slots) {
  Text text;
  text.add(phrase, slots);
  return text.take();
}

bool match_at(const std::vector<std::string>& text, std::size_t begin, const std::vector<std::string>& phrase,
              std::vector<std::string>& slots) {
  if (begin + phrase.size() > text.size()) return false;
  slots.assign(3, "");
  for (std::size_t i = 0; i < phrase.size(); ++i) {
    const std::string& w = text[begin + i];
    if (phrase[i][0] != '$') {
      if (phrase[i] != w) return false;
      continue;
    }
    std::string& slot = slots[static_cast<std::size_t>(phrase[i][1] - '0')];
    if (!slot.empty() && slot != w) return false;
    slot = w;
  }
  return true;
}

bool match_last(const std::vector<std::string>& text, const std::string& phrase, std::vector<std::string>& slots) {
  const auto words = split(phrase, ' ');
  for (std::size_t begin = text.size(); begin-- > 0;) {
    if (match_at(text, begin, words, slots)) return true;
  }
  return false;
}

int token_count(std::string_view text) {
  return text.empty() ? 0 : 1 + static_cast<int>(std::count(text.begin(), text.end(), ' '));
}

}  // namespace hymba::data
