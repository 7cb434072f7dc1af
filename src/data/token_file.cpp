#include "data/token_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/files.h"

namespace hymba {

std::uint64_t document_ends_offset(const TokenFileHeader& header) {
  const std::uint64_t end = sizeof(TokenFileHeader) + header.tokens * header.width;
  return (end + 7) / 8 * 8;
}

bool read_token_file_header(std::string_view bytes, TokenFileHeader* header) {
  if (bytes.size() < sizeof(TokenFileHeader)) return false;
  std::memcpy(header, bytes.data(), sizeof(TokenFileHeader));
  if (std::string_view(header->magic, 8) != kTokenFileMagic || header->version != kTokenFileVersion) return false;
  if (header->width != 2 && header->width != 4) return false;
  // Bounds first: a damaged count must not overflow the sum.
  if (header->tokens > bytes.size() || header->documents > bytes.size()) return false;
  return bytes.size() == document_ends_offset(*header) + header->documents * sizeof(std::uint64_t);
}

TokenFileWriter::TokenFileWriter(std::filesystem::path path, std::uint64_t key, std::int32_t vocab_size)
    : path_(std::move(path)) {
  make_folder(path_.parent_path());
  part_ = fmt::format("{}.part{}", path_.string(), ::getpid());
  std::memcpy(header_.magic, kTokenFileMagic.data(), 8);
  header_.version = kTokenFileVersion;
  header_.width = vocab_size <= 65536 ? 2 : 4;
  header_.key = key;
  header_.vocab_size = static_cast<std::uint64_t>(vocab_size);
  file_ = std::fopen(part_.c_str(), "wb");
  if (file_ == nullptr) fail("{}: cannot write the token cache: {}", path_.string(), write_error(errno));
  write(&header_, sizeof header_);
}

TokenFileWriter::~TokenFileWriter() {
  if (file_ == nullptr) return;
  std::fclose(file_);
  ::unlink(part_.c_str());  // not finished: leave nothing behind
}

void TokenFileWriter::write(const void* bytes, std::size_t size) {
  if (size > 0 && std::fwrite(bytes, 1, size, file_) != size) {
    fail("{}: cannot write the token cache: {}", path_.string(), write_error(errno));
  }
}

void TokenFileWriter::append(std::span<const std::int32_t> ids) {
  if (header_.width == 2) {  // ids were checked against the vocabulary, so they fit
    narrow_.assign(ids.begin(), ids.end());
    write(narrow_.data(), narrow_.size() * sizeof(std::uint16_t));
  } else {
    write(ids.data(), ids.size() * sizeof(std::uint32_t));
  }
  header_.tokens += ids.size();
}

void TokenFileWriter::end_document() {
  if (header_.tokens > (ends_.empty() ? 0 : ends_.back())) ends_.push_back(header_.tokens);
}

// The header comes last: until then the file says 0 tokens, and it has its name only after the rename.
void TokenFileWriter::finish() {
  header_.documents = ends_.size();
  const std::uint64_t padding = document_ends_offset(header_) - sizeof header_ - header_.tokens * header_.width;
  const char zeros[8] = {};
  write(zeros, padding);
  write(ends_.data(), ends_.size() * sizeof(std::uint64_t));
  const bool ok = std::fseek(file_, 0, SEEK_SET) == 0 && std::fwrite(&header_, sizeof header_, 1, file_) == 1 &&
                  std::fflush(file_) == 0 && ::fsync(::fileno(file_)) == 0 &&
                  std::rename(part_.c_str(), path_.c_str()) == 0;
  if (!ok) fail("{}: cannot finish the token cache: {}", path_.string(), write_error(errno));
  std::fclose(file_);
  file_ = nullptr;
}

}  // namespace hymba
