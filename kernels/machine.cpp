#include "kernels/machine.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <numeric>
#include <vector>

#include "kernels/bench.h"
#include "kernels/gemv/op.h"
#include "kernels/isa.h"

namespace hymba::kernels::bench {
namespace {

double seconds_of(const std::function<void()>& f) {
  const auto begin = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// work / the least time of a run, for about `seconds`; the machine may be shared, so the best run counts.
double best_rate(double seconds, double work, const std::function<void()>& f) {
  f();
  double best = 1e30, spent = 0;
  for (int i = 0; i < 3 || (spent < seconds && i < 1000); ++i) {
    const double t = seconds_of(f);
    best = std::min(best, t), spent += t;
  }
  return work / best;
}

// f(thread, threads) on every thread at once.
void on_all_threads(const std::function<void(std::int64_t, std::int64_t)>& f) {
  const std::int64_t threads = at::get_num_threads();
  at::parallel_for(0, threads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) f(i, threads);
  });
}

}  // namespace

Limits measure_limits(double seconds) {
  prepare_isa();
  const double each = seconds / 6, threads = at::get_num_threads();
  const auto lanes = static_cast<double>(float_lanes());
  Limits limits;
  constexpr std::int64_t kRounds = 200000, kExpRounds = 200, kFloats = std::int64_t{1} << 25;
  std::vector<float> sink(1024 * static_cast<std::size_t>(threads), 0.5f);
  limits.fma = best_rate(each, threads * kRounds * kFmaFlopsPerRound * lanes, [&] {
    on_all_threads([&](std::int64_t i, std::int64_t) { fma_loop(kRounds, sink.data() + 1024 * i); });
  });
  const at::Tensor cache = at::empty({static_cast<std::int64_t>(threads) + 1, 2 * kExpFloats}, at::kFloat);
  cache.fill_(0.3);
  limits.exp = best_rate(each, threads * kExpRounds * kExpFloats, [&] {
    on_all_threads(
        [&](std::int64_t i, std::int64_t) { exp_loop(kExpRounds, cache.data_ptr<float>() + 2 * kExpFloats * i); });
  });
  const at::Tensor a = random({1024, 1024}), b = random({1024, 1024});
  limits.sgemm = best_rate(each, 2.0 * 1024 * 1024 * 1024, [&] { at::mm(a, b); });
  const at::Tensor big = at::empty({3, kFloats / 2}, at::kFloat);
  big.fill_(0.5);
  float* p = big.data_ptr<float>();
  const auto share = [](std::int64_t i, std::int64_t n, std::int64_t count) { return count * i / n / 64 * 64; };
  std::vector<float> sums(static_cast<std::size_t>(threads));
  limits.read = best_rate(each, 4.0 * kFloats, [&] {
    on_all_threads([&](std::int64_t i, std::int64_t n) {
      const std::int64_t from = share(i, n, kFloats);
      sums[i] = read_loop(p + from, share(i + 1, n, kFloats) - from);
    });
  });
  limits.triad = best_rate(each, 12.0 * kFloats / 2, [&] {
    on_all_threads([&](std::int64_t i, std::int64_t n) {
      const std::int64_t from = share(i, n, kFloats / 2), count = share(i + 1, n, kFloats / 2) - from;
      triad_loop(p + from, p + kFloats / 2 + from, p + kFloats + from, count);
    });
  });
  const at::Tensor weight = big.view({-1}).narrow(0, 0, kFloats).view({kFloats / 2048, 2048});
  const at::Tensor x = random({1, 2048}), y = at::empty({1, kFloats / 2048}, at::kFloat);
  limits.gemv = best_rate(each, 4.0 * kFloats, [&] { gemv_out(y, x, weight); });
  return limits;
}

}  // namespace hymba::kernels::bench
