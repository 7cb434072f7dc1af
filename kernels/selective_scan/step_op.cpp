// The decoding step of op.h: checks, then step.cpp.
#include <ATen/ops/empty.h>

#include "kernels/check.h"
#include "kernels/cuda/launches.h"
#include "kernels/parallel.h"
#include "kernels/selective_scan/kernel.h"
#include "kernels/selective_scan/op.h"

namespace hymba::kernels {
namespace {

constexpr const char* kOp = "selective_state_update";

struct Step {
  const at::Tensor &y, &h, &u, &dt, &A, &B, &C, &D, &z, &dt_bias;
};

scan::Shape check(const Step& x, bool softplus) {
  check_leading(kOp, "u_BE", x.u, 2);
  const Kind type = kind_of(x.u);
  const std::int64_t B = x.u.size(0), E = x.u.size(1);
  require(x.A.defined() && x.A.dim() == 2 && x.A.size(1) >= 1, "[{}] A_EN: expected [{}, N] with N >= 1, got {}", kOp,
          E, describe(x.A));
  const std::int64_t N = x.A.size(1);
  check_tensor(kOp, "A_EN", x.A, type, {E, N});
  check_tensor(kOp, "h_BEN", x.h, type, {B, E, N});
  check_tensor(kOp, "y_BE", x.y, type, {B, E});
  check_tensor(kOp, "dt_BE", x.dt, type, {B, E});
  require(x.B.defined() && (x.B.dim() == 2 || x.B.dim() == 3), "[{}] B_BN: expected [{}, {}] or [B, G, N], got {}", kOp,
          B, N, describe(x.B));
  const bool grouped = x.B.dim() == 3;
  const std::int64_t G = grouped ? x.B.size(1) : 1;
  require(G >= 1 && E % G == 0, "[{}] B_BN: expected a number of groups that divides {} channels, got {}", kOp, E, G);
  const auto rows = grouped ? std::vector{B, G, N} : std::vector{B, N};
  check_tensor(kOp, "B_BN", x.B, type, rows);
  check_tensor(kOp, "C_BN", x.C, type, rows);
  check_optional(kOp, "D_E", x.D, type, {E});
  check_optional(kOp, "z_BE", x.z, type, {B, E});
  check_optional(kOp, "dt_bias_E", x.dt_bias, type, {E});
  require(x.h.is_contiguous() && x.A.is_contiguous(), "[{}] h_BEN, A_EN: expected contiguous tensors", kOp);
  const auto dense = [](const at::Tensor& t) {  // the axes behind the first lie without gaps
    std::int64_t stride = 1;
    for (std::int64_t i = t.defined() ? t.dim() - 1 : 0; i > 0; --i) {
      if (t.size(i) > 1 && t.stride(i) != stride) return false;
      stride *= t.size(i);
    }
    return true;
  };
  for (const at::Tensor* t : {&x.y, &x.u, &x.dt, &x.B, &x.C, &x.z}) {
    require(dense(*t), "[{}] y, u, dt, B, C, z: expected dense rows, got strides of {}", kOp, describe(*t));
  }
  for (const at::Tensor* t : {&x.D, &x.dt_bias}) {
    require(!t->defined() || t->is_contiguous(), "[{}] D_E, dt_bias_E: expected contiguous tensors", kOp);
  }
  return {B, 1, E, N, G, softplus};
}

template <class T>
Rows<T> row_of(const at::Tensor& t) {
  return t.defined() ? Rows<T>{t.data_ptr<std::remove_const_t<T>>(), t.stride(0), 0} : Rows<T>{};
}

template <class T>
const T* pointer(const at::Tensor& t) {
  return t.defined() ? t.const_data_ptr<T>() : nullptr;
}

template <class T>
scan::Inputs<T> inputs(const Step& x) {
  return {row_of<const T>(x.u), row_of<const T>(x.dt), row_of<const T>(x.z),
          row_of<const T>(x.B), row_of<const T>(x.C),  pointer<T>(x.A),
          pointer<T>(x.D),      pointer<T>(x.dt_bias), pointer<T>(x.h)};
}

}  // namespace

void selective_state_update_out(const at::Tensor& y, const at::Tensor& h, const at::Tensor& u, const at::Tensor& dt,
                                const at::Tensor& A, const at::Tensor& B, const at::Tensor& C, const at::Tensor& D,
                                const at::Tensor& z, const at::Tensor& dt_bias, SelectiveScanOptions options) {
  const Step x{y, h, u, dt, A, B, C, D, z, dt_bias};
  const scan::Shape shape = check(x, options.softplus);
  if (u.scalar_type() == at::kDouble) {
    scan::forward_reference(shape, inputs<double>(x), {row_of<double>(y), h.data_ptr<double>(), nullptr});
    return;
  }
  const auto in = inputs<float>(x);
  const scan::Outputs<float> out{row_of<float>(y), h.data_ptr<float>(), nullptr};
  if (on_device(u)) return launch(kOp, u, device_launches()->scan_step, shape, in, out);
  parallel_tasks(scan::step_tasks(shape), grain_for(0.5 * static_cast<double>(scan::kStepBlock * shape.states)),
                 [&](std::int64_t begin, std::int64_t end) { scan::step(shape, in, out, begin, end); });
}

at::Tensor selective_state_update(const at::Tensor& h, const at::Tensor& u, const at::Tensor& dt, const at::Tensor& A,
                                  const at::Tensor& B, const at::Tensor& C, const at::Tensor& D, const at::Tensor& z,
                                  const at::Tensor& dt_bias, SelectiveScanOptions options) {
  check_leading(kOp, "u_BE", u, 2);
  const at::Tensor y = at::empty(u.sizes(), u.options());
  const auto dense = [](const at::Tensor& t) {
    return t.defined() && t.dim() > 1 ? with_dense_rows(t, t.dim() - 1) : contiguous_or_undefined(t);
  };
  selective_state_update_out(y, h, dense(u), dense(dt), contiguous_or_undefined(A), dense(B), dense(C), dense(D),
                             dense(z), dense(dt_bias), options);
  return y;
}

}  // namespace hymba::kernels
