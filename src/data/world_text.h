// Building and reading the world's sentences from phrases with slots.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"

namespace hymba::data {

// Text that grows by whole words, each followed by one space, and knows its number of words (= tokens).
class Text {
 public:
  void word(std::string_view w) {
    text_.append(w);
    text_ += ' ';
    ++tokens_;
  }
  // Every word of `phrase`; $0, $1, $2 are replaced by `slots`, which may be several words.
  void add(std::string_view phrase, std::initializer_list<std::string_view> slots = {});
  // Marks the word at this index as drawn at random: nothing before it tells it (see World::document_tokens).
  void mark_drawn(int index) { drawn_.push_back(index); }
  void drawn_word(std::string_view w) {
    mark_drawn(tokens_);
    word(w);
  }
  int tokens() const { return tokens_; }
  const std::vector<int>& drawn() const { return drawn_; }
  std::string take();  // without the last space; leaves this empty
  std::string str() const { return text_.substr(0, text_.empty() ? 0 : text_.size() - 1); }

 private:
  std::string text_;
  int tokens_ = 0;
  std::vector<int> drawn_;
};

std::string fill(std::string_view phrase, std::initializer_list<std::string_view> slots);

// Whether the words of `text` from `begin` on are `phrase`; each slot takes one word. `slots` must hold 3.
bool match_at(const std::vector<std::string>& text, std::size_t begin, const std::vector<std::string>& phrase,
              std::vector<std::string>& slots);
// The last place where `phrase` matches, as its slots; false if nowhere.
bool match_last(const std::vector<std::string>& text, const std::string& phrase, std::vector<std::string>& slots);

int token_count(std::string_view text);

}  // namespace hymba::data
