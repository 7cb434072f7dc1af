#include "data/byte_alphabet.h"

#include "data/utf8.h"

namespace hymba {

// Printable characters of Latin-1 stand for themselves, the other 68 bytes for U+0100 and on (openai/gpt-2,
// encoder.py).
ByteAlphabet::ByteAlphabet() {
  bytes_.fill(-1);
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    const char32_t c = printable ? static_cast<char32_t>(byte) : next++;
    append_code_point(characters_[static_cast<std::size_t>(byte)], c);
    bytes_[c] = byte;
  }
}

std::string ByteAlphabet::encode(std::string_view bytes) const {
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 4);
  for (const char c : bytes) out += characters_[static_cast<unsigned char>(c)];
  return out;
}

std::optional<std::string> ByteAlphabet::decode(std::string_view text) const {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const char32_t c = next_code_point(text, at);
    if (c >= bytes_.size() || bytes_[c] < 0) return std::nullopt;
    out += static_cast<char>(bytes_[c]);
  }
  return out;
}

const ByteAlphabet& byte_alphabet() {
  static const ByteAlphabet alphabet;
  return alphabet;
}

}  // namespace hymba
