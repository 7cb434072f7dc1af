#include "base/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>

#include "base/error.h"

namespace hymba {
namespace {

// Writes all bytes; returns 0 or errno.
int write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return 0;
}

void sync_folder_of(const std::filesystem::path& path) {
  auto folder = path.parent_path();
  if (folder.empty()) folder = ".";
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

// A path that cannot be written as it stands is the user's mistake; a full or broken disk is a failure.
bool is_wrong_path(int error) {
  for (const int wrong : {EACCES, EPERM, EROFS, ENOTDIR, EISDIR, ENOENT, EEXIST, ENAMETOOLONG, ELOOP, ETXTBSY, EINVAL}) {
    if (error == wrong) return true;
  }
  return false;
}

[[noreturn]] void cannot_write(const std::filesystem::path& path, const std::string& what, int error) {
  if (is_wrong_path(error)) user_error("{}: {}: {}; choose a place that can be written", path.string(), what, std::strerror(error));
  fail("{}: {}: {}", path.string(), what, write_error(error));
}

}  // namespace

std::string write_error(int error) {
  const std::string text = std::strerror(error);
  if (error != ENOSPC && error != EDQUOT && error != EFBIG) return text;
  return text + "; make room there or choose another --out: what was finished is kept, and the same command goes on from it";
}

std::string read_file(const std::filesystem::path& path) {
  const MappedFile file(path);
  return std::string(file.view());
}

void write_file_atomic(const std::filesystem::path& path, std::string_view bytes) {
  if (path.has_parent_path()) make_folder(path.parent_path());
  const std::string part = fmt::format("{}.part{}", path.string(), ::getpid());
  const int fd = ::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) cannot_write(path, "cannot write", errno);
  int error = write_all(fd, bytes);
  if (error == 0 && ::fsync(fd) != 0) error = errno;
  if (::close(fd) != 0 && error == 0) error = errno;
  if (error == 0 && ::rename(part.c_str(), path.c_str()) != 0) error = errno;
  if (error != 0) {
    ::unlink(part.c_str());
    cannot_write(path, fmt::format("cannot write {} bytes", bytes.size()), error);
  }
  sync_folder_of(path);
}

void make_folder(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) cannot_write(path, "cannot make this folder", error.value());
  if (!std::filesystem::is_directory(path, error)) cannot_write(path, "cannot make this folder", ENOTDIR);
}

MappedFile::MappedFile(const std::filesystem::path& path) {
  require(!path.empty(), "the name of a file to read is empty");
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  require(fd >= 0, "{}: cannot open: {}", path.string(), std::strerror(errno));
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    user_error("{}: not a regular file", path.string());
  }
  size_ = static_cast<std::size_t>(info.st_size);
  if (size_ > 0) {
    void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
    const int error = errno;
    ::close(fd);
    if (address == MAP_FAILED) fail("{}: cannot map {} bytes: {}", path.string(), size_, std::strerror(error));
    data_ = static_cast<const char*>(address);
  } else {
    ::close(fd);
  }
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<char*>(data_), size_);
}

void MappedFile::release(const void* begin, std::size_t size) const {
  const auto at = reinterpret_cast<std::uintptr_t>(begin), map = reinterpret_cast<std::uintptr_t>(data_);
  if (data_ == nullptr || at < map || at + size > map + size_) return;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const std::uintptr_t first = (at + page - 1) / page * page, last = (at + size) / page * page;
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

LineAppender::LineAppender(const std::filesystem::path& path) : path_(path) {
  if (path.has_parent_path()) make_folder(path.parent_path());
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd_ < 0) cannot_write(path, "cannot open for appending", errno);
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    ::close(fd_);
    user_error("{}: another run is writing here; wait for it or choose another --out", path.string());
  }
  off_t end = ::lseek(fd_, 0, SEEK_END);
  const off_t old_end = end;
  char c = '\n';
  while (end > 0 && ::pread(fd_, &c, 1, end - 1) == 1 && c != '\n') --end;
  if (end != old_end && ::ftruncate(fd_, end) != 0) fail("{}: cannot cut half a line: {}", path.string(), std::strerror(errno));
}

LineAppender::~LineAppender() {
  if (fd_ >= 0) ::close(fd_);
}

void LineAppender::append(std::string_view line) {
  std::string bytes(line);
  bytes += '\n';
  const off_t before = ::lseek(fd_, 0, SEEK_END);
  if (const int error = write_all(fd_, bytes); error != 0) {
    // What was written of the line goes again, so that the file stays whole lines.
    if (::ftruncate(fd_, before) != 0) fail("{}: {}, and half a line stays", path_.string(), write_error(error));
    fail("{}: cannot append: {}", path_.string(), write_error(error));
  }
}

void LineAppender::sync() {
  if (::fsync(fd_) != 0) fail("{}: cannot sync: {}", path_.string(), write_error(errno));
}

FolderLock::FolderLock(const std::filesystem::path& folder) {
  make_folder(folder);
  const auto path = folder / ".lock";
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) cannot_write(path, "cannot lock", errno);
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    ::close(fd_);
    user_error("{}: another run is using this folder; wait for it or choose another --out", folder.string());
  }
}

FolderLock::~FolderLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace hymba
