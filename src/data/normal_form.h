// Unicode normal forms and categories (utf8proc) as tokenizers ask for them.
#pragma once

#include <string>
#include <string_view>

namespace hymba {

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

// `text` must be valid UTF-8.
std::string normal_form(std::string_view text, NormalForm form);
std::string lowercase(std::string_view text);  // full mapping, one character after the other, no context

bool is_mark(char32_t c);            // categories M*
bool is_numeric(char32_t c);         // categories N*
bool is_punctuation(char32_t c);     // categories P*, and ASCII's symbols
bool is_white_space(char32_t c);     // the property White_Space
bool is_word_character(char32_t c);  // letters and numbers, marks, digits, connectors: \w

}  // namespace hymba
