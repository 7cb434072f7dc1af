// What the emulator remembers about each 4-byte word of a block's shared memory: whether it was written, and by whom it
// was last written and read, so that unwritten and unordered accesses show.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace hymba::kernels::cuda::emulator {

// Where a thread stands: barriers of the block and synchronisations of its warp that it has passed.
struct Clock {
  int thread = -1;
  std::uint32_t block = 0, warp = 0;
};

class SharedShadow {
 public:
  void reset(std::size_t bytes) {
    data_.assign(bytes, 0);
    words_.assign((bytes + 3) / 4, Word());
  }
  void grow(std::size_t bytes) {
    data_.resize(bytes, 0);
    words_.resize((bytes + 3) / 4);
  }
  std::size_t size() const { return data_.size(); }

  // The error, or "".
  std::string read(std::int64_t offset, int bytes, void* to, const Clock& now) {
    for (std::int64_t w = offset / 4; w <= (offset + bytes - 1) / 4; ++w) {
      Word& word = words_[w];
      if (word.in_flight) return "shared memory read before the cp.async into it was waited for";
      if (!word.written) return "shared memory read before it was written";
      if (unordered(word.writer, now)) return "race: read of shared memory that " + name(word.writer) + " wrote";
      note_reader(word, now);
    }
    std::memcpy(to, &data_[offset], static_cast<std::size_t>(bytes));
    return "";
  }

  std::string write(std::int64_t offset, int bytes, const void* from, const Clock& now) {
    std::string error = claim(offset, bytes, now, false);
    if (error.empty()) std::memcpy(&data_[offset], from, static_cast<std::size_t>(bytes));
    return error;
  }

  // Marks words as written by `now`; in flight: not readable by anybody until the copy lands.
  std::string claim(std::int64_t offset, int bytes, const Clock& now, bool in_flight) {
    for (std::int64_t w = offset / 4; w <= (offset + bytes - 1) / 4; ++w) {
      Word& word = words_[w];
      if (word.in_flight && unordered(word.writer, now)) return "race: write where a cp.async is under way";
      if (word.written && unordered(word.writer, now)) {
        return "race: write to shared memory that " + name(word.writer) + " wrote";
      }
      for (const Clock& reader : word.readers) {
        if (unordered(reader, now)) return "race: write to shared memory that " + name(reader) + " read";
      }
      word = Word();
      word.written = true, word.in_flight = in_flight, word.writer = now;
    }
    return "";
  }

 private:
  struct Word {
    bool written = false, in_flight = false;
    Clock writer, readers[2];  // the last reader, and the last of another warp in the same interval
  };

  static std::string name(const Clock& c) { return "thread " + std::to_string(c.thread); }

  // Whether nothing orders an access at `then` before one at `now`.
  static bool unordered(const Clock& then, const Clock& now) {
    if (then.thread < 0 || then.thread == now.thread || then.block != now.block) return false;
    return then.thread / 32 != now.thread / 32 || then.warp == now.warp;
  }

  // Keeps what a later writer must be ordered after: prefers readers that only a block barrier orders.
  static void note_reader(Word& word, const Clock& now) {
    Clock& last = word.readers[0];
    if (last.thread >= 0 && last.block == now.block && last.thread / 32 != now.thread / 32) word.readers[1] = last;
    last = now;
  }

  std::vector<char> data_;
  std::vector<Word> words_;
};

}  // namespace hymba::kernels::cuda::emulator
