// Files: reading whole or mapped, writing atomically, appending lines that survive a crash.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace hymba {

// The whole file. UserError if it cannot be opened or is a folder.
std::string read_file(const std::filesystem::path& path);

// The text of errno after a failed write, with the remedy where there is no more room.
std::string write_error(int error);

// Writes `bytes` to a temporary file beside `path`, syncs and renames it: a reader sees the old file or the new one.
// An error (with the path and errno's text) leaves the old file as it was: UserError where the path cannot be written as
// it stands (no permission, a file in place of a folder), Error where the disk is full or broken.
void write_file_atomic(const std::filesystem::path& path, std::string_view bytes);

// Creates the folder and its parents; UserError or Error as write_file_atomic.
void make_folder(const std::filesystem::path& path);

// A read-only memory map of a whole file. An empty file has data() == nullptr and size() == 0.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;
  MappedFile(const MappedFile&) = delete;
  const char* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::string_view view() const { return {data_, size_}; }
  // Gives back the memory of the whole pages in [begin, begin + size) as far as they lie in this map; reading there again
  // reads the file.
  void release(const void* begin, std::size_t size) const;

 private:
  const char* data_ = nullptr;
  std::size_t size_ = 0;
};

// Appends whole lines with one write() each. If the file ends in half a line (a crash), opening cuts it back to the
// last newline. One writer a file: opening takes a lock; a second writer gets a UserError naming the file.
class LineAppender {
 public:
  explicit LineAppender(const std::filesystem::path& path);
  ~LineAppender();
  LineAppender(const LineAppender&) = delete;
  LineAppender& operator=(const LineAppender&) = delete;
  void append(std::string_view line);  // without the newline
  void sync();

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

// A lock file held for the life of the object; UserError if another live process holds it ("two runs in one --out").
class FolderLock {
 public:
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int fd_ = -1;
};

}  // namespace hymba
