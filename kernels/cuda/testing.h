// What the tests of the CUDA kernels on the emulator share: arrays that the emulator knows, and comparison with the
// double reference.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/cuda/emulator.h"

namespace hymba::kernels::cuda::testing {

// Float arrays in the emulator's global memory, each with its twin in double for the reference.
class Arrays {
 public:
  explicit Arrays(const std::string& name) : rng_(7, name) {}

  // `rows` rows of `width` random numbers, `gap` NaNs behind each, as in a slice of a wider projection.
  float* random(std::int64_t rows, std::int64_t width, double scale = 1, double shift = 0, std::int64_t gap = 0) {
    std::vector<float>& v = fresh(rows * (width + gap));
    for (std::int64_t i = 0; i < rows * width; ++i) {
      v[i / width * (width + gap) + i % width] = static_cast<float>(scale * rng_.normal() + shift);
    }
    return publish(v);
  }
  // Outputs: NaN until written.
  float* empty(std::int64_t size) { return publish(fresh(size)); }
  template <class F>
  float* map(float* p, const F& f) {
    for (float& x : array(p)) x = f(x);
    return p;
  }

  // The same numbers in double, at the same strides.
  double* twin(const float* p) {
    if (!p) return nullptr;
    const std::vector<float>& v = array(p);
    return doubles_.emplace_back(v.begin(), v.end()).data();
  }
  double* zeros(std::int64_t size) { return doubles_.emplace_back(std::max<std::int64_t>(size, 1), 0.0).data(); }
  std::int64_t size(const float* p) { return static_cast<std::int64_t>(array(p).size()); }

 private:
  std::vector<float>& fresh(std::int64_t size) {
    return floats_.emplace_back(size, std::numeric_limits<float>::quiet_NaN());
  }
  float* publish(std::vector<float>& v) {
    v.reserve(1);  // a pointer also where there is nothing
    memory_.add(v);
    return v.data();
  }
  std::vector<float>& array(const float* p) {
    return *std::find_if(floats_.begin(), floats_.end(), [&](const auto& v) { return v.data() == p; });
  }

  Rng rng_;
  std::deque<std::vector<float>> floats_;
  std::deque<std::vector<double>> doubles_;
  emulator::Buffers memory_;
};

// |actual - expected| <= tolerance * max(floor, max |expected|) for all `size` elements, and `actual` is finite.
inline void expect_close(const std::string& what, const float* actual, const double* expected, std::int64_t size,
                         double tolerance = 1e-5, double floor = 1e-3) {
  double error = 0, largest = 0;
  for (std::int64_t i = 0; i < size; ++i) {
    ASSERT_TRUE(std::isfinite(actual[i])) << what << " [" << i << "] of " << size << " is not finite";
    error = std::max(error, std::abs(actual[i] - expected[i]));
    largest = std::max(largest, std::abs(expected[i]));
  }
  EXPECT_LE(error, tolerance * std::max(floor, largest)) << what << ", largest value " << largest;
}

inline void expect_equal(const std::string& what, const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a, b) << what;
}

inline void expect_accepted(const char* error) { ASSERT_EQ(error, nullptr) << error; }

}  // namespace hymba::kernels::cuda::testing
