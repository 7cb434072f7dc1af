// Lanes run over the inputs. A block of rows meets up to four vectors of the batch at once, so that a register's load
// of the weight feeds several sums; further vectors find the block's rows in the first caches.
#include "kernels/targets.h"
//
#include <algorithm>

#include "kernels/gemv/kernel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemv/cpu.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h, which includes this file once an instruction set.
#include <hwy/highway.h>

#include "kernels/dispatch.h"
#include "kernels/dot_products-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels::gemv_detail {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using namespace kernels::HWY_NAMESPACE;  // NOLINT

// Output rows [first, last) for kCols rows of the batch from b on; kRows rows of the weight at a time.
template <int kCols, class T>
HWY_INLINE void rows_times_batch(const Args& a, std::int64_t first, std::int64_t last, std::int64_t b) {
  constexpr int kRows = static_cast<int>(kLanes) / kCols;
  const T* weight = static_cast<const T*>(a.weight);
  for (std::int64_t o = first; o < last; o += kRows) {
    const std::int64_t rows = std::min<std::int64_t>(kRows, last - o);
    HWY_ALIGN float sums[kLanes];
    hn::Store(dot_products<kRows, kCols>(weight + o * a.weight_stride, a.weight_stride, rows, a.x + b * a.x_stride,
                                         a.x_stride, a.inputs),
              FloatTag(), sums);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < kCols; ++c) {
        float* y = a.y + (b + c) * a.y_stride + o + r;
        *y = a.add ? *y + sums[r * kCols + c] : sums[r * kCols + c];
      }
    }
  }
}

template <class T>
void run_range(const Args& a, std::int64_t begin, std::int64_t end) {
  const std::int64_t last = std::min(end * kTaskRows, a.outputs);
  for (std::int64_t o = begin * kTaskRows; o < last; o += kLanes) {
    const std::int64_t stop = std::min(o + static_cast<std::int64_t>(kLanes), last);
    std::int64_t b = 0;
    for (; b + 4 <= a.batch; b += 4) rows_times_batch<4, T>(a, o, stop, b);
    if (b + 2 <= a.batch) rows_times_batch<2, T>(a, o, stop, b), b += 2;
    if (b < a.batch) rows_times_batch<1, T>(a, o, stop, b);
  }
}

void run_tasks(const Args& a, std::int64_t begin, std::int64_t end) {
  with_storage(a.storage, [&]<class T>(const T*) { run_range<T>(a, begin, end); });
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::gemv_detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hymba::kernels::gemv_detail {

HYMBA_DISPATCH_TASKS(run, run_tasks, Args);

}  // namespace hymba::kernels::gemv_detail
#endif  // HWY_ONCE
