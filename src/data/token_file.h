// The file of token ids behind a corpus, little endian:
//   64-byte header, tokens (uint16 where the vocabulary allows, else uint32), zeros to a multiple of 8, document ends
//   (uint64: index behind each document's last token).
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace hymba {

struct TokenFileHeader {
  char magic[8];
  std::uint32_t version;
  std::uint32_t width;  // bytes a token: 2 or 4
  std::uint64_t tokens;
  std::uint64_t documents;
  std::uint64_t key;  // of the source files and the tokenizer
  std::uint64_t vocab_size;
  std::uint64_t reserved[2];
};
static_assert(sizeof(TokenFileHeader) == 64);

inline constexpr std::string_view kTokenFileMagic = "HYMBATOK";
inline constexpr std::uint32_t kTokenFileVersion = 1;

// Offset of the document ends.
std::uint64_t document_ends_offset(const TokenFileHeader& header);
// Reads and checks a header; false where the bytes are no whole token file.
bool read_token_file_header(std::string_view bytes, TokenFileHeader* header);

// Streams tokens to a temporary file beside `path`; finish() makes it appear under its name in one step.
class TokenFileWriter {
 public:
  TokenFileWriter(std::filesystem::path path, std::uint64_t key, std::int32_t vocab_size);
  ~TokenFileWriter();
  TokenFileWriter(const TokenFileWriter&) = delete;
  TokenFileWriter& operator=(const TokenFileWriter&) = delete;

  void append(std::span<const std::int32_t> ids);
  void end_document();  // a document without tokens is dropped
  std::uint64_t tokens() const { return header_.tokens; }
  void finish();

 private:
  void write(const void* bytes, std::size_t size);

  std::filesystem::path path_, part_;
  TokenFileHeader header_{};
  std::vector<std::uint64_t> ends_;
  std::vector<std::uint16_t> narrow_;
  std::FILE* file_ = nullptr;
};

}  // namespace hymba
