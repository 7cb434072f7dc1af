#include "base/memory.h"

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>

#include "base/error.h"
#include "base/text.h"

namespace hymba {
namespace {

std::int64_t number_in(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word.empty() || word == "max" ? -1 : std::atoll(word.c_str());
}

}  // namespace

void settle_memory() {
  setenv("THP_MEM_ALLOC_ENABLE", "1", /*overwrite=*/0);
#ifdef __GLIBC__
  constexpr int kLargest = 256 << 20;  // bytes; a larger block is mapped by itself, and given back once it is free
  mallopt(M_MMAP_THRESHOLD, kLargest);
  mallopt(M_TRIM_THRESHOLD, 4 * kLargest);
#endif
}

std::int64_t available_memory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
  std::int64_t available = -1;
  std::ifstream meminfo("/proc/meminfo");
  for (std::string line; std::getline(meminfo, line);) {
    if (starts_with(line, "MemAvailable:")) available = std::atoll(line.substr(13).c_str()) * 1024;
  }
  const std::int64_t limit = number_in("/sys/fs/cgroup/memory.max"), used = number_in("/sys/fs/cgroup/memory.current");
  if (limit >= 0 && used >= 0) available = available < 0 ? limit - used : std::min(available, limit - used);
  if (available < 0) fail("cannot read how much memory is free");
  return available;
}

std::int64_t peak_rss() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (starts_with(line, "VmHWM:")) return std::atoll(line.substr(6).c_str()) * 1024;
  }
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024L;
}

void reset_peak_rss() { std::ofstream("/proc/self/clear_refs") << "5"; }

std::int64_t current_rss() {
  std::ifstream file("/proc/self/statm");
  std::int64_t all = 0, resident = 0;
  file >> all >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

}  // namespace hymba
