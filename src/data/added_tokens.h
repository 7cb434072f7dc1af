// Added tokens: texts that are one id wherever they stand, found before the model sees the text.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace hymba {

struct AddedToken {
  std::string content;
  std::int32_t id = -1;
  bool single_word = false;                      // not inside of a word
  bool left_strip = false, right_strip = false;  // takes the white space beside it
  bool normalized = true;                        // looked for in normalised text, by its own normalised form
  bool special = false;                          // gives no text when decoded
};

class AddedTokens {
 public:
  void add(AddedToken token);
  bool empty() const { return tokens_.empty(); }

  // Calls found(part, id, offset) for the text's parts in order: id >= 0 for a token, -1 for text between tokens.
  // Of tokens that match at one place the longest counts.
  using Found = std::function<void(std::string_view part, std::int32_t id, std::size_t offset)>;
  void split(std::string_view text, const Found& found) const;

 private:
  const AddedToken* longest_at(std::string_view text, std::size_t at) const;
  std::vector<AddedToken> tokens_;
  std::array<std::vector<std::size_t>, 256> by_first_byte_;  // longest content first
};

}  // namespace hymba
