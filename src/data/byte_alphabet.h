// GPT-2's alphabet: every byte as one printable character, so that text of any kind has no white space and no controls.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace hymba {

class ByteAlphabet {
 public:
  ByteAlphabet();
  std::string encode(std::string_view bytes) const;
  // The bytes behind a text; nothing where it has a character that stands for no byte.
  std::optional<std::string> decode(std::string_view text) const;

 private:
  std::array<std::string, 256> characters_;
  std::array<int, 0x144> bytes_;  // by code point, -1: none
};

const ByteAlphabet& byte_alphabet();

}  // namespace hymba
