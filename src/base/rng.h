// Seeded random numbers that are the same on every platform (std::*_distribution is not).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace hymba {

// 64-bit FNV-1a: cache keys and config hashes, not security.
std::uint64_t hash64(std::string_view bytes, std::uint64_t seed = 0xcbf29ce484222325ULL);

// xoshiro256** (Blackman and Vigna 2018), seeded by splitmix64. State is four words: save it to resume bit for bit.
class Rng {
 public:
  using State = std::array<std::uint64_t, 4>;

  explicit Rng(std::uint64_t seed = 0);
  // An independent stream of the same seed, named: Rng(7, "world.facts").
  Rng(std::uint64_t seed, std::string_view stream);

  std::uint64_t next();
  // Uniform in [0, n), n > 0, without modulo bias.
  std::uint64_t below(std::uint64_t n);
  // Uniform in [0, 1).
  double uniform();
  double normal();
  bool chance(double p) { return uniform() < p; }

  template <class T>
  void shuffle(std::vector<T>& v) {
    for (std::size_t i = v.size(); i > 1; --i) std::swap(v[i - 1], v[below(i)]);
  }
  template <class T>
  const T& pick(const std::vector<T>& v) {
    return v[below(v.size())];
  }
  // k different indices of [0, n), in random order.
  std::vector<std::size_t> sample(std::size_t n, std::size_t k);

  const State& state() const { return state_; }
  void set_state(const State& s) { state_ = s; }

 private:
  State state_{};
};

}  // namespace hymba
