// The CUDA kernels of the decoding step's attention on the block emulator, against plain loops in double.
#include "kernels/decode_attention/cuda.cu"

#include "kernels/cuda/testing.h"

namespace hymba::kernels::decode_detail {
namespace {

using cuda::testing::Arrays;
using cuda::testing::expect_accepted;
using cuda::testing::expect_close;

struct Case {
  std::int64_t B, S, H, K, P, V, window, prefix;
  std::vector<std::int64_t> lengths;
  CacheType type = CacheType::kFloat;
  std::int64_t gap = 0;
};

// float32 to 16 bits by cutting; too small for a normal float16: 0.
std::uint16_t narrow(float x, CacheType type) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, 4);
  if (type == CacheType::kBfloat16) return static_cast<std::uint16_t>(bits >> 16);
  const std::uint32_t sign = bits >> 16 & 0x8000u, exponent = bits >> 23 & 255u;
  if (exponent < 113) return static_cast<std::uint16_t>(sign);
  return static_cast<std::uint16_t>(sign | (exponent - 112) << 10 | (bits >> 13 & 1023u));
}

struct Cache {
  std::vector<float> wide;            // what the cache holds, widened
  std::vector<std::uint16_t> narrow;  // in 16 bits, if so
};

Cache make_cache(const float* from, std::int64_t size, CacheType type) {
  Cache c{{from, from + size}, {}};
  if (type == CacheType::kFloat) return c;
  for (float& x : c.wide) {
    const std::uint16_t bits = narrow(x, type);
    c.narrow.push_back(bits);
    x = type == CacheType::kBfloat16 ? cuda::float_of_bits(static_cast<unsigned>(bits) << 16)
                                     : cuda::float_of_half(bits);
  }
  return c;
}

// The definition: position t lives in slot t, or in slot prefix + (t - prefix) % (S - prefix).
std::vector<double> expected(const Case& c, const float* q, const Cache& k, const Cache& v, double scale) {
  std::vector<double> out(c.B * c.H * c.V, 0.0);
  for (std::int64_t b = 0; b < c.B; ++b) {
    for (std::int64_t h = 0; h < c.H; ++h) {
      std::vector<double> scores;
      std::vector<std::int64_t> rows;
      const std::int64_t at = c.lengths[b] - 1;
      for (std::int64_t t = 0; t <= at; ++t) {
        if (t >= c.prefix && c.window >= 0 && at - t >= c.window) continue;
        const std::int64_t slot = t < c.prefix ? t : c.prefix + (t - c.prefix) % (c.S - c.prefix);
        rows.push_back((b * c.S + slot) * c.K + h / (c.H / c.K));
        double dot = 0;
        for (std::int64_t i = 0; i < c.P; ++i) {
          dot += static_cast<double>(q[(b * c.H + h) * c.P + i]) * k.wide[rows.back() * (c.P + c.gap) + i];
        }
        scores.push_back(scale * dot);
      }
      double top = -1e300, sum = 0;
      for (const double s : scores) top = std::max(top, s);
      for (const double s : scores) sum += std::exp(s - top);
      for (std::size_t j = 0; j < rows.size(); ++j) {
        for (std::int64_t i = 0; i < c.V; ++i) {
          out[(b * c.H + h) * c.V + i] += std::exp(scores[j] - top) / sum * v.wide[rows[j] * c.V + i];
        }
      }
    }
  }
  return out;
}

void check(const Case& c) {
  Arrays m("decode");
  CudaArgs a;
  a.B = c.B, a.S = c.S, a.H = c.H, a.K = c.K, a.P = c.P, a.V = c.V, a.window = c.window, a.prefix = c.prefix;
  a.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(c.P))), a.type = c.type;
  a.q = m.random(c.B * c.H, c.P), a.q_batch = c.H * c.P, a.q_head = c.P;
  const std::int64_t rows = c.B * c.S * c.K;
  Cache k = make_cache(m.random(rows, c.P, 1, 0, c.gap), rows * (c.P + c.gap), c.type);
  Cache v = make_cache(m.random(rows, c.V), rows * c.V, c.type);
  cuda::emulator::Buffers memory;
  memory.add(k.wide), memory.add(k.narrow), memory.add(v.wide), memory.add(v.narrow);
  memory.add(c.lengths.data(), 8 * c.lengths.size());
  const bool is_float = c.type == CacheType::kFloat;
  a.k = is_float ? static_cast<const void*>(k.wide.data()) : k.narrow.data();
  a.v = is_float ? static_cast<const void*>(v.wide.data()) : v.narrow.data();
  a.k_head = c.P + c.gap, a.k_slot = c.K * a.k_head, a.k_batch = c.S * a.k_slot;
  a.v_head = c.V, a.v_slot = c.K * c.V, a.v_batch = c.S * a.v_slot;
  a.lengths = c.lengths.data(), a.out = m.empty(c.B * c.H * c.V);
  expect_accepted(cuda_run(a, m.empty(cuda_workspace_floats(a)), nullptr));
  const auto e = expected(c, a.q, k, v, a.scale);
  expect_close("S" + std::to_string(c.S) + " P" + std::to_string(c.P), a.out, e.data(),
               static_cast<std::int64_t>(e.size()));
}

TEST(CudaDecodeAttention, MatchesTheDefinitionInEveryStorage) {
  for (const CacheType type : {CacheType::kFloat, CacheType::kBfloat16, CacheType::kHalf}) {
    check({2, 40, 4, 2, 8, 16, 20, 5, {33, 7}, type});
    check({3, 24, 5, 1, 64, 130, 16, 4, {1, 100, 24}, type});  // around the ring; groups of 5; two slices of v
    check({1, 70, 6, 6, 33, 3, -1, 0, {70}, type});            // rows that are not 16-byte aligned
    check({2, 20, 2, 1, 16, 8, 10, 4, {0, 3}, type});          // an idle sequence; within the prefix
    check({1, 50, 2, 1, 16, 8, 20, 4, {50}, type, 3});         // rows apart
  }
}

TEST(CudaDecodeAttention, SplitsOfLongCachesAreMerged) {
  check({1, 1100, 4, 2, 16, 32, 1024, 60, {5000}});
  check({1, 600, 1, 1, 8, 8, -1, 0, {599}});
  check({2, 600, 2, 1, 8, 8, -1, 0, {40, 300}});  // splits without keys
}

// Positions in the prefix, before and behind the ring's first round, and none at all.
TEST(CudaDecodeAttention, AppendPutsEachSequencesRowIntoItsSlot) {
  const std::vector<std::int64_t> lengths = {3, 7, 25, 0}, slots = {2, 6, 4 + (24 - 4) % 6, -1};
  for (const CacheType type : {CacheType::kFloat, CacheType::kBfloat16, CacheType::kHalf}) {
    Arrays m("append");
    AppendArgs a;
    a.B = 4, a.S = 10, a.K = 2, a.P = 3, a.V = 5, a.prefix = 4, a.ring = true, a.type = type;
    a.k_in = m.random(a.B, 6, 1, 0, 2), a.k_in_batch = 8, a.k_in_head = 3;
    a.v_in = m.random(a.B, 10), a.v_in_batch = 10, a.v_in_head = 5;
    const bool wide = type == CacheType::kFloat;
    std::vector<float> k_wide(240, -1), v_wide(400, -1);
    std::vector<std::uint16_t> k_narrow(240, 7), v_narrow(400, 7);
    cuda::emulator::Buffers memory;
    memory.add(k_wide), memory.add(v_wide), memory.add(k_narrow), memory.add(v_narrow);
    memory.add(lengths.data(), 8 * lengths.size());
    a.k = wide ? static_cast<void*>(k_wide.data()) : k_narrow.data();
    a.v = wide ? static_cast<void*>(v_wide.data()) : v_narrow.data();
    a.k_head = 3, a.k_slot = 6, a.k_batch = 60, a.v_head = 5, a.v_slot = 10, a.v_batch = 100;
    a.lengths = lengths.data();
    expect_accepted(cuda_append(a, nullptr));
    const auto stored = [&](float x) {
      return type == CacheType::kHalf ? cuda::half_of_float(x) : cuda::bfloat16_of_float(x);
    };
    // `row` numbers a slot, ten slots a sequence; a sequence's new row is at in + b * in_batch.
    const auto expect_rows = [&](const float* in, std::int64_t in_batch, std::int64_t row,
                                 const std::vector<float>& full, const std::vector<std::uint16_t>& half) {
      for (std::int64_t i = 0; i < static_cast<std::int64_t>(full.size()); ++i) {
        const std::int64_t b = i / (10 * row);
        const bool written = i / row % 10 == slots[b];
        const float x = written ? in[b * in_batch + i % row] : -1;
        EXPECT_EQ(full[i], wide ? x : -1) << i;
        EXPECT_EQ(half[i], !wide && written ? stored(x) : 7) << i;
      }
    };
    expect_rows(a.k_in, 8, 6, k_wide, k_narrow);
    expect_rows(a.v_in, 10, 10, v_wide, v_narrow);
  }
}

TEST(CudaDecodeAttention, SixteenBitsAreRoundedToNearestEven) {
  const std::pair<float, int> halves[] = {
      {1.0f, 0x3c00},           {-2.5f, 0xc100}, {1 + 0x1p-11f, 0x3c00}, {1 + 3 * 0x1p-11f, 0x3c02},
      {2047.9f / 1024, 0x4000}, {0x1p-24f, 1},   {70000.0f, 0x7c00},     {0x1p-15f, 0x200}};
  for (const auto& [x, bits] : halves) EXPECT_EQ(cuda::half_of_float(x), bits) << x;
  const std::pair<float, int> bfloats[] = {{1.0f, 0x3f80}, {1 + 0x1p-8f, 0x3f80}, {1 + 3 * 0x1p-8f, 0x3f82}};
  for (const auto& [x, bits] : bfloats) EXPECT_EQ(cuda::bfloat16_of_float(x), bits) << x;
}

}  // namespace
}  // namespace hymba::kernels::decode_detail
