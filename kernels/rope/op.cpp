#include "kernels/rope/op.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/from_blob.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <map>
#include <memory>
#include <mutex>

#include "kernels/check.h"
#include "kernels/cuda/launches.h"
#include "kernels/outputs.h"
#include "kernels/parallel.h"
#include "kernels/rope/kernel.h"
#include "kernels/widen.h"

namespace hymba::kernels {
namespace {

using rope_detail::Args;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using Table = std::shared_ptr<const std::vector<float>>;

constexpr const char* kOp = "rope";
constexpr std::int64_t kMostCachedFloats = std::int64_t{1} << 23;  // 32 MB: beyond, a call computes its own rows
constexpr std::size_t kMostTables = 32;

// Rows [first, first + count) of the table: cos, then sin, [count][2][P/2], from double arithmetic.
std::vector<float> make_rows(const std::vector<double>& inv_freq, std::int64_t first, std::int64_t count) {
  const std::int64_t half = static_cast<std::int64_t>(inv_freq.size());
  std::vector<float> rows(2 * half * count);
  for (std::int64_t l = 0; l < count; ++l) {
    for (std::int64_t j = 0; j < half; ++j) {
      const double angle = static_cast<double>(first + l) * inv_freq[j];
      rows[2 * half * l + j] = static_cast<float>(std::cos(angle));
      rows[2 * half * l + half + j] = static_cast<float>(std::sin(angle));
    }
  }
  return rows;
}

// A table that holds rows [pos0, pos0 + L) and the offset of row pos0 in it. Tables are shared by all calls of the same
// frequencies and grow by doubling; a caller keeps the one it got.
std::pair<Table, std::int64_t> table_for(const std::vector<double>& inv_freq, std::int64_t pos0, std::int64_t L) {
  static std::mutex mutex;
  static std::map<std::vector<double>, Table> tables;
  const std::int64_t width = 2 * static_cast<std::int64_t>(inv_freq.size()), end = pos0 + L;
  if (end > kMostCachedFloats / width) return {std::make_shared<std::vector<float>>(make_rows(inv_freq, pos0, L)), 0};
  const std::lock_guard<std::mutex> lock(mutex);
  if (tables.size() >= kMostTables && !tables.count(inv_freq)) tables.clear();
  Table& table = tables[inv_freq];
  const std::int64_t have = table ? static_cast<std::int64_t>(table->size()) / width : 0;
  if (have < end) {
    std::vector<float> grown = table ? *table : std::vector<float>();
    const auto more = make_rows(inv_freq, have, std::max<std::int64_t>({end, 2 * have, 256}) - have);
    grown.insert(grown.end(), more.begin(), more.end());
    table = std::make_shared<std::vector<float>>(std::move(grown));
  }
  return {table, pos0 * width};
}

at::Tensor to_device(std::vector<float> rows, std::int64_t width, const at::Device& device) {
  const auto count = static_cast<std::int64_t>(rows.size()) / width;
  return at::from_blob(rows.data(), {count, width}, at::kFloat).to(device);
}

// Rows [first, first + count) of the table on a device. Copied there once, and again where it has grown.
at::Tensor device_rows(const at::Device& device, const std::vector<double>& inv_freq, std::int64_t first,
                       std::int64_t count) {
  static std::mutex mutex;
  // Never destroyed: the device's allocator may be gone before the program's statics are.
  static auto& tables = *new std::map<std::pair<std::string, std::vector<double>>, at::Tensor>;
  const std::int64_t width = 2 * static_cast<std::int64_t>(inv_freq.size()), end = first + count;
  if (end > kMostCachedFloats / width) return to_device(make_rows(inv_freq, first, count), width, device);
  const std::lock_guard<std::mutex> lock(mutex);
  if (tables.size() >= kMostTables) tables.clear();
  at::Tensor& table = tables[{device.str(), inv_freq}];
  if (!table.defined() || table.size(0) < end) {
    const std::int64_t grown = std::max<std::int64_t>({end, table.defined() ? 2 * table.size(0) : 0, 256});
    table = to_device(make_rows(inv_freq, 0, grown), width, device);
  }
  return table.narrow(0, first, count);
}

void run_device(const Args<float>& a, const at::Tensor& x, const std::vector<double>& inv_freq) {
  const at::Tensor rows = device_rows(x.device(), inv_freq, a.pos0, a.L);
  launch(kOp, x, device_launches()->rope, a, rows.const_data_ptr<float>(), static_cast<const std::int64_t*>(nullptr));
}

void run(const Args<double>& a, const at::Tensor&, const std::vector<double>& inv_freq) {
  rope_detail::reference(a, inv_freq.data());
}

void run(const Args<float>& a, const at::Tensor& x, const std::vector<double>& inv_freq) {
  if (on_device(x)) return run_device(a, x, inv_freq);
  const auto [table, offset] = table_for(inv_freq, a.pos0, a.L);
  const float* rows = table->data() + offset;
  const std::int64_t grain = std::max<std::int64_t>(1, 16384 / (a.H * a.P));  // rows of 64 kB
  parallel_tasks(a.B * a.L, grain,
                 [&](std::int64_t begin, std::int64_t end) { rope_detail::cpu(a, rows, begin, end); });
}

at::Tensor rotate(const at::Tensor& x_in, std::int64_t pos0, const std::vector<double>& inv_freq, bool inverse) {
  const at::Tensor x = with_dense_rows(x_in);
  at::Tensor out = empty_output(x.sizes(), x.options());
  if (x.numel() == 0) return out;
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), kOp, [&] {
    Args<scalar_t> a{x.size(0), x.size(1), x.size(2), x.size(3), pos0};
    a.x = x.const_data_ptr<scalar_t>(), a.out = out.data_ptr<scalar_t>();
    a.sb = x.stride(0), a.sl = x.stride(1), a.sh = x.stride(2);
    a.inverse = inverse;
    run(a, x, inv_freq);
  });
  return out;
}

class Rope : public torch::autograd::Function<Rope> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, std::int64_t pos0,
                            const std::vector<double>& inv_freq) {
    context->saved_data["pos0"] = pos0;
    context->saved_data["inv_freq"] = inv_freq;
    return rotate(x, pos0, inv_freq, false);
  }

  // A rotation is orthogonal: its gradient is the rotation back.
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    if (!gradients[0].defined()) return {at::Tensor(), at::Tensor(), at::Tensor()};
    const auto inv_freq = context->saved_data["inv_freq"].toDoubleVector();
    return {rotate(gradients[0], context->saved_data["pos0"].toInt(), inv_freq, true), at::Tensor(), at::Tensor()};
  }
};

void check(const at::Tensor& x, std::int64_t pos0) {
  check_leading(kOp, "x_BLHP", x, 4);
  require(x.size(3) >= 2 && x.size(3) % 2 == 0, "[{}] x_BLHP: expected an even P, got {}", kOp, describe(x));
  require(pos0 >= 0, "[{}] pos0: expected >= 0, got {}", kOp, pos0);
}

at::Tensor apply(const at::Tensor& x, std::int64_t pos0, const std::vector<double>& inv_freq) {
  return needs_gradient({&x}) ? Rope::apply(x, pos0, inv_freq) : rotate(x, pos0, inv_freq, false);
}

}  // namespace

at::Tensor rope(const at::Tensor& x_BLHP, std::int64_t pos0, double base) {
  if (is_bfloat16(x_BLHP)) return narrow(rope(widen(x_BLHP), pos0, base));
  check(x_BLHP, pos0);
  require(base > 0 && std::isfinite(base), "[{}] base: expected a finite number > 0, got {}", kOp, base);
  return apply(x_BLHP, pos0, rope_frequencies(base, x_BLHP.size(3)));
}

at::Tensor rope(const at::Tensor& x_BLHP, std::int64_t pos0, const std::vector<double>& inv_freq) {
  if (is_bfloat16(x_BLHP)) return narrow(rope(widen(x_BLHP), pos0, inv_freq));
  check(x_BLHP, pos0);
  const std::int64_t half = x_BLHP.size(3) / 2;
  require(static_cast<std::int64_t>(inv_freq.size()) == half, "[{}] inv_freq: expected {} values, got {}", kOp, half,
          inv_freq.size());
  return apply(x_BLHP, pos0, inv_freq);
}

std::vector<double> rope_frequencies(double base, std::int64_t dim) {
  std::vector<double> inv_freq(dim / 2);
  for (std::int64_t j = 0; j < dim / 2; ++j) inv_freq[j] = std::pow(base, -2.0 * static_cast<double>(j) / dim);
  return inv_freq;
}

void rope_step_out(const at::Tensor& out, const at::Tensor& x, const at::Tensor& lengths,
                   const std::vector<double>& inv_freq, std::int64_t most) {
  const std::int64_t B = x.dim() == 3 ? x.size(0) : 0, H = x.dim() == 3 ? x.size(1) : 0;
  const Kind kind(at::kFloat, x.device());
  check_tensor(kOp, "x_BHP", x, kind, {B, H, 2 * static_cast<std::int64_t>(inv_freq.size())});
  check_tensor(kOp, "out_BHP", out, kind, {B, H, x.size(2)});
  require(out.is_contiguous() && x.stride(2) == 1 && (H == 1 || x.stride(1) == x.size(2)),
          "[{}] out_BHP, x_BHP: expected dense heads", kOp);
  require(lengths.scalar_type() == at::kLong && lengths.device() == x.device() && lengths.dim() == 1 && lengths.size(0) == B && lengths.is_contiguous(),
          "[{}] lengths_B: expected int64 [{}], got {}", kOp, B, describe(lengths));
  const std::int64_t* length = lengths.const_data_ptr<std::int64_t>();
  if (on_device(x)) {
    const at::Tensor table = device_rows(x.device(), inv_freq, 0, most);
    Args<float> a{1, B, H, x.size(2), 0};  // sequences as rows
    a.x = x.const_data_ptr<float>(), a.out = out.data_ptr<float>(), a.sl = x.stride(0), a.sh = x.size(2);
    return launch(kOp, x, device_launches()->rope, a, table.const_data_ptr<float>(), length);
  }
  for (std::int64_t b = 0; b < B; ++b) {
    const std::int64_t at = std::max<std::int64_t>(length[b] - 1, 0);
    const auto [table, offset] = table_for(inv_freq, at, 1);
    Args<float> a{1, 1, H, x.size(2), at};
    a.x = x.const_data_ptr<float>() + b * x.stride(0), a.out = out.data_ptr<float>() + b * out.stride(0);
    a.sb = x.stride(0), a.sl = x.stride(0), a.sh = x.size(2);
    rope_detail::cpu(a, table->data() + offset, 0, 1);
  }
}

}  // namespace hymba::kernels
