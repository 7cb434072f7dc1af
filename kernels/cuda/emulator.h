// Runs CUDA kernels on the CPU, one block at a time, to prove them where no GPU is: each thread is a fibre, fibres
// change at barriers and warp collectives in an order drawn from a seed, and what a GPU lets pass is an error here:
//   global memory outside the buffers that were named; shared memory outside its array, read before it was written, or
//   touched by two threads without a barrier between (one a writer); cp.async data used before its wait; barriers and
//   collectives that not all of their threads reach, or at different lines; lanes that read from lanes outside the
//   mask; vector accesses that are not aligned.
// Single-threaded: one kernel at a time in a process.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#define HYMBA_DEVICE inline
#define HYMBA_HOST_DEVICE inline
#define HYMBA_KERNEL(threads, blocks) inline void
#define __restrict__
#define __device__
#define __host__
#define __forceinline__ inline

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

namespace hymba::kernels::cuda {

using Stream = void*;

namespace emulator {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Counters {
  std::int64_t blocks = 0, barriers = 0, collectives = 0, mma = 0, cp_async = 0;
};
Counters& counters();

// Global memory that kernels may touch, while it lives.
class Buffers {
 public:
  Buffers() = default;
  Buffers(const Buffers&) = delete;
  ~Buffers();
  void add(const void* data, std::size_t bytes);
  template <class T>
  T* add(std::vector<T>& v) {
    add(v.data(), v.size() * sizeof(T));
    return v.data();
  }

 private:
  std::vector<const void*> added_;
};

struct Range {
  const char *begin = nullptr, *end = nullptr;
};
Range buffer_of(const void* p);  // empty: in no buffer

// The seed of the thread order of launches from here on.
void set_seed(std::uint64_t seed);
void run(dim3 grid, int threads, int shared_bytes, const std::function<void()>& kernel);

[[noreturn]] void fail(const std::string& what);
struct Index {
  unsigned x = 0, y = 0, z = 0;
};
struct Place {
  Index thread, block;
  dim3 threads, grid;
};
extern Place place;  // of the fibre that runs
inline Index thread_index() { return place.thread; }
inline Index block_index() { return place.block; }
inline dim3 block_size() { return place.threads; }
inline dim3 grid_size() { return place.grid; }

// Shared memory: offsets into the block's pool.
void shared_read(std::int64_t offset, int bytes, void* to);
void shared_write(std::int64_t offset, int bytes, const void* from);
std::int64_t pool_bytes();
std::int64_t static_array(int line, int bytes);  // the offset of the array declared at a line
void async_copy(std::int64_t offset, int bytes, const void* from, bool valid);
void async_commit();
void async_wait(int groups);

void sync_threads(int line);
void sync_warp(unsigned mask, int line);

enum class Shuffle { kUp, kDown, kXor, kIndex };
std::uint64_t shuffle(Shuffle kind, unsigned mask, std::uint64_t bits, int operand, int width, int line);
unsigned ballot(unsigned mask, bool predicate, int line);
void mma(float* d, const float* a, const float* b, bool three = false);

template <class T>
T shuffle_value(Shuffle kind, int line, unsigned mask, T value, int operand, int width = 32) {
  static_assert(sizeof(T) <= 8);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = shuffle(kind, mask, bits, operand, width, line);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace emulator

// A pointer into global memory that knows its buffer.
template <class T>
class Global {
 public:
  Global() = default;
  Global(T* p) : p_(p), range_(p ? emulator::buffer_of(p) : emulator::Range{}) {}  // NOLINT: as a pointer
  Global(std::nullptr_t) {}                                                        // NOLINT
  template <class U, class = std::enable_if_t<std::is_same_v<const U, T> && !std::is_const_v<U>>>
  Global(const Global<U>& other) : p_(other.raw()), range_(other.range()) {}  // NOLINT

  T& operator[](std::int64_t i) const { return *check(i, 1, 1); }
  T& operator*() const { return *check(0, 1, 1); }
  Global operator+(std::int64_t i) const {
    Global g = *this;
    g.p_ = reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(p_) + static_cast<std::uintptr_t>(i) * sizeof(T));
    return g;
  }
  Global& operator+=(std::int64_t i) { return *this = *this + i; }
  explicit operator bool() const { return p_ != nullptr; }
  bool operator==(std::nullptr_t) const { return p_ == nullptr; }
  T* raw() const { return p_; }
  emulator::Range range() const { return range_; }

  // `count` elements from i on, the first at a multiple of `align` bytes.
  T* check(std::int64_t i, int count, int align) const {
    if (!range_.begin) emulator::fail(p_ ? "global memory outside every buffer" : "a null pointer is read or written");
    const auto at = reinterpret_cast<std::uintptr_t>(p_) + static_cast<std::uintptr_t>(i) * sizeof(T);
    const auto begin = reinterpret_cast<std::uintptr_t>(range_.begin),
               end = reinterpret_cast<std::uintptr_t>(range_.end);
    if (at < begin || at + count * sizeof(T) > end) {
      emulator::fail("global memory out of bounds: byte " + std::to_string(static_cast<std::int64_t>(at - begin)) +
                     " of a buffer of " + std::to_string(end - begin));
    }
    if (at % static_cast<std::uintptr_t>(align) != 0) emulator::fail("a vector access is not aligned");
    return reinterpret_cast<T*>(at);
  }

 private:
  T* p_ = nullptr;
  emulator::Range range_;
};

// A pointer into the block's shared memory that knows its array.
template <class T>
class Shared {
 public:
  class Reference {
   public:
    explicit Reference(std::int64_t offset) : offset_(offset) {}
    operator T() const {  // NOLINT: reads as a T
      T value;
      emulator::shared_read(offset_, sizeof(T), &value);
      return value;
    }
    T operator=(T value) const {  // NOLINT
      emulator::shared_write(offset_, sizeof(T), &value);
      return value;
    }
    T operator=(const Reference& other) const { return *this = static_cast<T>(other); }  // NOLINT
    T operator+=(T value) const { return *this = static_cast<T>(*this) + value; }
    T operator*=(T value) const { return *this = static_cast<T>(*this) * value; }

   private:
    std::int64_t offset_;
  };

  Shared() = default;
  Shared(std::int64_t offset, std::int64_t begin, std::int64_t end) : offset_(offset), begin_(begin), end_(end) {}
  Reference operator[](std::int64_t i) const { return Reference(check(i, sizeof(T), 1)); }
  Reference operator*() const { return (*this)[0]; }
  Shared operator+(std::int64_t i) const { return {offset_ + i * static_cast<std::int64_t>(sizeof(T)), begin_, end_}; }
  Shared& operator+=(std::int64_t i) { return *this = *this + i; }
  std::int64_t offset() const { return offset_; }
  std::int64_t end() const { return end_; }

  std::int64_t check(std::int64_t i, int bytes, int align) const {
    const std::int64_t at = offset_ + i * static_cast<std::int64_t>(sizeof(T));
    if (at < begin_ || at + bytes > end_) {
      emulator::fail("shared memory out of bounds: byte " + std::to_string(at - begin_) + " of an array of " +
                     std::to_string(end_ - begin_));
    }
    if (at % align != 0) emulator::fail("a vector access is not aligned");
    return at;
  }

 private:
  std::int64_t offset_ = 0, begin_ = 0, end_ = 0;
};

inline Shared<char> shared_pool() { return {0, 0, emulator::pool_bytes()}; }

template <class T>
Shared<T> carve(Shared<char>& pool, int count) {
  const std::int64_t begin = pool.offset(), bytes = static_cast<std::int64_t>(sizeof(T)) * count;
  if (begin + bytes > pool.end()) emulator::fail("the launch gives too little shared memory");
  pool += (bytes + 15) / 16 * 16;
  return {begin, begin, begin + bytes};
}

template <class T>
Shared<T> static_shared(int line, int bytes) {
  const std::int64_t begin = emulator::static_array(line, bytes);
  return {begin, begin, begin + bytes};
}

template <class T>
float4 load4(const Global<T>& p) {
  float4 v;
  std::memcpy(&v, p.check(0, 4, 16), sizeof v);
  return v;
}
inline void store4(const Global<float>& p, float4 v) { std::memcpy(p.check(0, 4, 16), &v, sizeof v); }
inline float4 load4(const Shared<float>& p) {
  float4 v;
  emulator::shared_read(p.check(0, 16, 16), 16, &v);
  return v;
}
inline void store4(const Shared<float>& p, float4 v) { emulator::shared_write(p.check(0, 16, 16), 16, &v); }
template <class T>
uint4 load16(const Global<T>& p) {
  uint4 v;
  std::memcpy(&v, p.check(0, 16 / sizeof(T), 16), sizeof v);
  return v;
}

template <int Bytes, class T>
void cp_async(const Shared<float>& to, const Global<T>& from, bool valid) {
  emulator::async_copy(to.check(0, Bytes, Bytes), Bytes, valid ? from.check(0, Bytes / 4, Bytes) : nullptr, valid);
}
inline void cp_async_commit() { emulator::async_commit(); }
template <int Groups>
void cp_async_wait() {
  emulator::async_wait(Groups);
}

inline float float_of_bits(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
inline float float_of_half(unsigned bits) {
  const int exponent = static_cast<int>(bits >> 10 & 31u);
  const auto mantissa = static_cast<float>(bits & 1023u);
  float x = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024.0f + mantissa, exponent - 25);
  if (exponent == 31) x = mantissa == 0 ? INFINITY : NAN;
  return bits & 0x8000u ? -x : x;
}
inline std::uint16_t half_of_float(float x) {
  const auto sign = static_cast<std::uint16_t>(std::signbit(x) ? 0x8000u : 0);
  const float size = std::fabs(x);
  if (std::isnan(x)) return sign | 0x7e00u;
  if (size >= 65520.0f) return sign | 0x7c00u;
  if (size < 0x1p-14f) return static_cast<std::uint16_t>(sign | static_cast<unsigned>(std::nearbyint(size * 0x1p24f)));
  const int exponent = std::ilogb(size);  // a mantissa that rounds up to 2048 carries into the exponent
  const auto mantissa = static_cast<unsigned>(std::nearbyint(std::ldexp(size, 10 - exponent)));
  return static_cast<std::uint16_t>(sign | ((static_cast<unsigned>(exponent + 15) << 10) + mantissa - 1024));
}
inline std::uint16_t bfloat16_of_float(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if (std::isnan(x)) return 0x7fffu;
  return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
inline float to_tf32(float x) {  // round to nearest, ties away from zero
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7f800000u) != 0x7f800000u) bits = (bits + 0x1000u) & ~0x1fffu;
  std::memcpy(&x, &bits, sizeof bits);
  return x;
}
inline void mma_tf32(float (&d)[4], const float (&a)[4], const float (&b)[2]) { emulator::mma(d, a, b); }
inline float exp2_approx(float x) { return x < -126.0f ? 0.0f : exp2f(x); }
inline float divide_approx(float x, float y) { return x / y; }

template <class... P, class... A>
const char* launch(void (*kernel)(P...), dim3 grid, int threads, int shared_bytes, Stream, const A&... args) {
  emulator::run(grid, threads, shared_bytes, [&] { kernel(args...); });
  return nullptr;
}

}  // namespace hymba::kernels::cuda

#define HYMBA_STATIC_SHARED(type, name, count)      \
  const ::hymba::kernels::cuda::Shared<type> name = \
      ::hymba::kernels::cuda::static_shared<type>(__LINE__, static_cast<int>(sizeof(type)) * (count))
#define HYMBA_EMU ::hymba::kernels::cuda::emulator
#define threadIdx (HYMBA_EMU::thread_index())
#define blockIdx (HYMBA_EMU::block_index())
#define blockDim (HYMBA_EMU::block_size())
#define gridDim (HYMBA_EMU::grid_size())
#define __syncthreads() HYMBA_EMU::sync_threads(__LINE__)
#define __syncwarp() HYMBA_EMU::sync_warp(0xffffffffu, __LINE__)
#define __shfl_up_sync(...) HYMBA_EMU::shuffle_value(HYMBA_EMU::Shuffle::kUp, __LINE__, __VA_ARGS__)
#define __shfl_down_sync(...) HYMBA_EMU::shuffle_value(HYMBA_EMU::Shuffle::kDown, __LINE__, __VA_ARGS__)
#define __shfl_xor_sync(...) HYMBA_EMU::shuffle_value(HYMBA_EMU::Shuffle::kXor, __LINE__, __VA_ARGS__)
#define __shfl_sync(...) HYMBA_EMU::shuffle_value(HYMBA_EMU::Shuffle::kIndex, __LINE__, __VA_ARGS__)
#define __ballot_sync(mask, p) HYMBA_EMU::ballot(mask, p, __LINE__)
#define __any_sync(mask, p) (HYMBA_EMU::ballot(mask, p, __LINE__) != 0)
#define __all_sync(mask, p) (HYMBA_EMU::ballot(mask, p, __LINE__) == (mask))
