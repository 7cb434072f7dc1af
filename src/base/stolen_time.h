// What a virtual machine loses to its neighbours: a measurement that does not look takes it for its own.
#pragma once

#include <algorithm>
#include <string>

#include "base/log.h"

namespace hymba {

// Seconds since boot, summed over the processors, in which the hypervisor ran something else while a thread here wanted to run: "steal"
// of /proc/stat, in steps of 10 ms. 0 where the system does not say.
double stolen_seconds();
// The same from the text of /proc/stat.
double stolen_seconds_of(const std::string& stat);

// What a run returned, how long it took, and the time that was stolen from each of its threads meanwhile.
struct QuietRun {
  double value = 0, seconds = 0, stolen = 0;
};

// Calls f, which returns a number and keeps `threads` threads busy, again while the hypervisor takes more than kMostStolen of its time:
// neighbours come for seconds (seen: a third of the time, whenever 12 GB had been freed). The least disturbed of kQuietTries calls at most.
constexpr int kQuietTries = 4;
constexpr double kMostStolen = 0.02;
template <class F>
QuietRun quiet_run(int threads, const F& f) {
  constexpr double kTick = 0.01;  // seconds; below a tick the count has no meaning
  QuietRun best;
  for (int i = 0; i < kQuietTries; ++i) {
    const double before = stolen_seconds();
    const Stopwatch watch;
    QuietRun run;
    run.value = f();
    run.seconds = watch.seconds();
    run.stolen = (stolen_seconds() - before) / threads;
    if (i == 0 || run.stolen / run.seconds < best.stolen / best.seconds) best = run;
    if (best.stolen <= std::max(kMostStolen * best.seconds, kTick)) break;
  }
  return best;
}

}  // namespace hymba
