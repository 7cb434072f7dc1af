#include "data/added_tokens.h"

#include <algorithm>

#include "data/normal_form.h"
#include "data/utf8.h"

namespace hymba {

namespace {

bool begins_with_word(std::string_view text) {
  std::size_t at = 0;
  return !text.empty() && is_word_character(next_code_point(text, at));
}

bool ends_with_word(std::string_view text) {
  std::size_t begin = text.size();
  while (begin > 0 && (static_cast<unsigned char>(text[begin - 1]) & 0xC0U) == 0x80U) --begin;
  return begin > 0 && begins_with_word(text.substr(begin - 1));
}

// Where the white space at the end of the text begins.
std::size_t spaces_at_end(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0) {
    std::size_t begin = end - 1;
    while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0U) == 0x80U) --begin;
    std::size_t at = begin;
    if (!is_white_space(next_code_point(text, at))) break;
    end = begin;
  }
  return end;
}

std::size_t spaces_at_start(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    if (!is_white_space(next_code_point(text, at))) return begin;
  }
  return text.size();
}

}  // namespace

void AddedTokens::add(AddedToken token) {
  if (token.content.empty()) return;
  auto& list = by_first_byte_[static_cast<unsigned char>(token.content.front())];
  tokens_.push_back(std::move(token));
  list.push_back(tokens_.size() - 1);
  std::stable_sort(list.begin(), list.end(), [this](std::size_t a, std::size_t b) {
    return tokens_[a].content.size() > tokens_[b].content.size();
  });
}

const AddedToken* AddedTokens::longest_at(std::string_view text, std::size_t at) const {
  for (const std::size_t i : by_first_byte_[static_cast<unsigned char>(text[at])]) {
    if (text.substr(at, tokens_[i].content.size()) == tokens_[i].content) return &tokens_[i];
  }
  return nullptr;
}

void AddedTokens::split(std::string_view text, const Found& found) const {
  std::size_t done = 0;
  for (std::size_t at = 0; !tokens_.empty() && at < text.size();) {
    const AddedToken* token = longest_at(text, at);
    if (token == nullptr) {
      ++at;
      continue;
    }
    std::size_t begin = at, end = at + token->content.size();
    at = end;
    if (token->single_word && (ends_with_word(text.substr(0, begin)) || begins_with_word(text.substr(end)))) continue;
    // White space that a token before has taken is gone.
    if (token->left_strip) begin = std::max(done, spaces_at_end(text.substr(0, begin)));
    if (token->right_strip) end += spaces_at_start(text.substr(end));
    if (done < begin) found(text.substr(done, begin - done), -1, done);
    found(text.substr(begin, end - begin), token->id, begin);
    done = end;
  }
  if (done < text.size()) found(text.substr(done), -1, done);
}

}  // namespace hymba
