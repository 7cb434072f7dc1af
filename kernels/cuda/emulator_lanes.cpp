#include "kernels/cuda/emulator_lanes.h"

#include <algorithm>
#include <string>

#include "kernels/cuda/emulator.h"

namespace hymba::kernels::cuda::emulator {
namespace {

// The lane that a shuffle reads; -1: its own value.
int source_lane(Kind kind, int lane, int operand, int width) {
  const int segment = lane / width * width;
  int from = lane;
  if (kind == Kind::kUp) from = lane - operand < segment ? -1 : lane - operand;
  if (kind == Kind::kDown) from = lane + operand >= segment + width ? -1 : lane + operand;
  if (kind == Kind::kXor) from = (lane ^ operand) >= segment + width ? -1 : lane ^ operand;
  if (kind == Kind::kIndex) from = segment + (operand & (width - 1));
  return from;
}

void finish_shuffle(const Gathering& g, Lane* const* lanes) {
  std::uint64_t values[32];
  for (int lane = 0; lane < 32; ++lane) values[lane] = (g.mask >> lane & 1) ? lanes[lane]->value : 0;
  for (int lane = 0; lane < 32; ++lane) {
    if (!(g.mask >> lane & 1)) continue;
    const int from = source_lane(g.kind, lane, lanes[lane]->operand, lanes[lane]->width);
    if (from < 0) continue;
    if (!(g.mask >> from & 1)) {
      fail("a shuffle at line " + std::to_string(g.line) + ": lane " + std::to_string(lane) + " reads lane " +
           std::to_string(from) + ", which is not in the mask");
    }
    lanes[lane]->value = values[from];
  }
}

float tf32_bits(float x) {  // the tensor core ignores the low bits
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  bits &= ~0x1fffu;
  std::memcpy(&x, &bits, sizeof bits);
  return x;
}

// D += A B for the fragments that start at these offsets in each lane's arrays.
void add_product(Lane* const* lanes, int a_offset, int b_offset, float (&d)[16][8]) {
  float a[16][8], b[8][8];
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) a[g + i % 2 * 8][t + i / 2 * 4] = tf32_bits(lanes[lane]->a[a_offset + i]);
    for (int i = 0; i < 2; ++i) b[t + i * 4][g] = tf32_bits(lanes[lane]->b[b_offset + i]);
  }
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < 8; ++k) {
      for (int column = 0; column < 8; ++column) d[row][column] += a[row][k] * b[k][column];
    }
  }
}

// With three products a and b hold the high parts, then the low ones.
void finish_mma(Lane* const* lanes, bool three) {
  float d[16][8];
  const auto exchange = [&](bool out) {
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < 4; ++i) {
        float& element = d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
        (out ? lanes[lane]->d[i] : element) = out ? element : lanes[lane]->d[i];
      }
    }
  };
  exchange(false);
  if (three) {
    add_product(lanes, 4, 0, d);
    add_product(lanes, 0, 2, d);
  }
  add_product(lanes, 0, 0, d);
  exchange(true);
}

}  // namespace

void finish(const Gathering& g, Lane* const* lanes) {
  if (g.kind == Kind::kMma || g.kind == Kind::kMma3) return finish_mma(lanes, g.kind == Kind::kMma3);
  if (g.kind == Kind::kBallot) {
    unsigned votes = 0;
    for (int lane = 0; lane < 32; ++lane) votes |= (g.mask >> lane & 1) && lanes[lane]->value ? 1u << lane : 0u;
    for (int lane = 0; lane < 32; ++lane) {
      if (g.mask >> lane & 1) lanes[lane]->value = votes;
    }
  } else if (g.kind == Kind::kSync) {
    std::uint32_t clock = 0;
    for (int lane = 0; lane < 32; ++lane) {
      if (g.mask >> lane & 1) clock = std::max(clock, lanes[lane]->warp_clock);
    }
    for (int lane = 0; lane < 32; ++lane) {
      if (g.mask >> lane & 1) lanes[lane]->warp_clock = clock + 1;
    }
  } else {
    finish_shuffle(g, lanes);
  }
}

}  // namespace hymba::kernels::cuda::emulator
