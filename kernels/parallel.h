// Threads for the kernels: cpu.cpp files are free of threads and take a range of tasks; this spreads the range.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "kernels/isa.h"

namespace hymba::kernels {

// Runs f(begin, end) over [0, tasks), each task once, on torch's threads, one for every `grain` tasks at most; a free thread
// takes the next piece of up to `grain` tasks, an eighth of its share, so that all end at about the same time.
// Which thread runs a task must not matter to the result: that is what makes every kernel here deterministic.
template <class F>
void parallel_tasks(std::int64_t tasks, std::int64_t grain, const F& f) {
  prepare_isa();
  if (tasks <= 0) return;
  grain = std::max<std::int64_t>(grain, 1);
  const std::int64_t threads = std::min<std::int64_t>(at::get_num_threads(), (tasks + grain - 1) / grain);
  if (threads <= 1 || at::in_parallel_region()) {
    f(std::int64_t{0}, tasks);
    return;
  }
  const std::int64_t piece = std::clamp<std::int64_t>(tasks / (threads * 8), 1, grain), pieces = (tasks + piece - 1) / piece;
  std::atomic<std::int64_t> next{0};
  at::parallel_for(0, threads, 1, [&](std::int64_t, std::int64_t) {
    for (std::int64_t i = next.fetch_add(1); i < pieces; i = next.fetch_add(1)) {
      f(i * piece, std::min(tasks, (i + 1) * piece));
    }
  });
}

template <class F>
void parallel_tasks(std::int64_t tasks, const F& f) {
  parallel_tasks(tasks, 1, f);
}

// Tasks a piece, where one task takes `nanoseconds`: waking a thread for less than 10 microseconds does not pay.
inline std::int64_t grain_for(double nanoseconds) {
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(10000 / std::max(nanoseconds, 1.0)));
}

}  // namespace hymba::kernels
