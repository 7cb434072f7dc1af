#include "fake_gpu.h"

#include <ATen/EmptyTensor.h>
#include <ATen/core/Tensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <execinfo.h>
#include <signal.h>
#include <sys/mman.h>
#include <torch/library.h>
#include <unistd.h>

#include <bit>
#include <map>
#include <mutex>

#include "base/error.h"
#include "fake_kernels.h"
#include "kernels/cuda/launches.h"

namespace hymba::testing {
namespace {

constexpr auto kDevice = c10::DeviceType::PrivateUse1;
constexpr std::size_t kArena = std::size_t{1} << 32, kHugePage = std::size_t{1} << 21;
const c10::Device kGpu(kDevice, 0);

// The device's memory: the host may touch it only while an Unlocked lives.
class Arena {
 public:
  static Arena& get() {
    static auto* arena = new Arena;  // tensors in statics outlive everything
    return *arena;
  }
  void* take(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    const std::size_t size = std::bit_ceil(std::max<std::size_t>(bytes, 512));  // few sizes: blocks are used again
    auto found = free_.find(size);
    if (found != free_.end() && !found->second.empty()) {
      void* p = found->second.back();
      found->second.pop_back();
      return p;
    }
    if (used_ + size > kArena) fail("the fake GPU's memory is full");
    void* p = base_ + used_;
    sizes_[p] = size;
    used_ += size;
    return p;
  }
  void give_back(void* p) {
    const std::lock_guard lock(mutex_);
    free_[sizes_.at(p)].push_back(p);
  }
  void protect(int change) {
    const std::lock_guard lock(mutex_);
    const int before = unlocked_;
    unlocked_ += change;
    if ((before == 0) == (unlocked_ == 0)) return;
    if (::mprotect(base_, kArena, unlocked_ > 0 ? PROT_READ | PROT_WRITE : PROT_NONE) != 0) fail("mprotect");
  }
  bool holds(const void* p) const { return p >= base_ && p < base_ + kArena; }
  char* base() const { return base_; }

 private:
  Arena()
      : base_(static_cast<char*>(
            ::mmap(nullptr, kArena + kHugePage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {
    if (base_ == MAP_FAILED) fail("mmap of the fake GPU's memory");
    base_ += kHugePage - reinterpret_cast<std::uintptr_t>(base_) % kHugePage;
    ::madvise(base_, kArena, MADV_HUGEPAGE);  // mprotect() takes as long as there are pages
  }
  char* base_;
  std::size_t used_ = 0;
  int unlocked_ = 0;
  std::mutex mutex_;
  std::map<void*, std::size_t> sizes_;
  std::map<std::size_t, std::vector<void*>> free_;
};

struct Unlocked {
  Unlocked() { Arena::get().protect(1); }
  ~Unlocked() { Arena::get().protect(-1); }
};

struct Memory final : c10::Allocator {
  c10::DataPtr allocate(std::size_t bytes) override {
    void* p = Arena::get().take(bytes);
    return {p, p, [](void* q) { Arena::get().give_back(q); }, kGpu};
  }
  c10::DeleterFnPtr raw_deleter() const override {
    return [](void* q) { Arena::get().give_back(q); };
  }
  void copy_data(void* to, const void* from, std::size_t count) const override {
    const Unlocked unlocked;
    std::memcpy(to, from, count);
  }
};
Memory memory;

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return kDevice; }
  c10::Device exchangeDevice(c10::Device) const override { return kGpu; }
  c10::Device getDevice() const override { return kGpu; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const override { return c10::Stream(c10::Stream::DEFAULT, kGpu); }
  c10::Stream getNewStream(c10::Device, int) const override { return c10::Stream(c10::Stream::DEFAULT, kGpu); }
  c10::Stream exchangeStream(c10::Stream) const override { return c10::Stream(c10::Stream::DEFAULT, kGpu); }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
};

// A CPU tensor on the same memory: only to be used while an Unlocked lives.
at::Tensor as_host(const at::Tensor& t) {
  if (t.is_cpu()) return t;
  return at::from_blob(const_cast<void*>(t.const_data_ptr()), t.sizes(), t.strides(), t.scalar_type());
}

at::Tensor empty(c10::IntArrayRef size, std::optional<c10::ScalarType> type, std::optional<c10::Layout>,
                 std::optional<c10::Device>, std::optional<bool>, std::optional<c10::MemoryFormat> format) {
  constexpr c10::DispatchKeySet keys(c10::DispatchKey::PrivateUse1);
  const at::Tensor t = at::detail::empty_generic(size, &memory, keys, c10::dtype_or_default(type), format);
  const Unlocked unlocked;  // an output that is not written shows
  std::memset(t.storage().mutable_data(), 0xff, t.storage().nbytes());
  return t;
}

at::Tensor empty_strided(c10::IntArrayRef size, c10::IntArrayRef stride, std::optional<c10::ScalarType> type,
                         std::optional<c10::Layout>, std::optional<c10::Device>, std::optional<bool>) {
  constexpr c10::DispatchKeySet keys(c10::DispatchKey::PrivateUse1);
  return at::detail::empty_strided_generic(size, stride, &memory, keys, c10::dtype_or_default(type));
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  const Unlocked unlocked;
  as_host(to).copy_(as_host(from));
  return to;
}

at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
  if (!to.sizes().equals(from.sizes())) {
    require(to.numel() == 0, "the fake GPU does not resize outputs");
    const at::Tensor fresh = empty(from.sizes(), to.scalar_type(), {}, {}, {}, {});
    to.unsafeGetTensorImpl()->set_storage_keep_dtype(fresh.storage());
    to.unsafeGetTensorImpl()->set_sizes_contiguous(from.sizes());
  }
  return copy_from(from, to, false);
}

void fallback(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  at::native::cpu_fallback(op, stack);
}

// Where the host touches the device's memory: a stack, then the end.
void report(int, siginfo_t* info, void*) {
  if (Arena::get().holds(info->si_addr)) {
    constexpr char kText[] = "the host touched the fake GPU's memory:\n";
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, kText, sizeof kText - 1);
    void* frames[64];
    ::backtrace_symbols_fd(frames, ::backtrace(frames, 64), STDERR_FILENO);
  }
  ::signal(SIGSEGV, SIG_DFL);
  ::raise(SIGSEGV);
}

template <class F>
struct Unlocking;
// The same launch with the memory unlocked. One wrapper a launch: the table holds plain functions.
template <class... A>
struct Unlocking<const char* (*)(A...)> {
  template <auto kLaunch>
  static const char* call(A... args) {
    const Unlocked unlocked;
    return kLaunch(args...);
  }
};

template <auto kLaunch>
constexpr auto unlocking() {
  return &Unlocking<decltype(kLaunch)>::template call<kLaunch>;
}

kernels::Launches table() {
  using namespace kernels;  // NOLINT
  Launches t;
  t.device = kDevice;
  t.stream = [](int) -> void* { return nullptr; };
  t.synchronize = [] {};
  t.memory = [](bool) { return DeviceMemory{std::int64_t{1} << 31, std::int64_t{1} << 32, 0}; };
  t.fma_rate = [] { return 1e12; };
  t.scan_forward = unlocking<&scan::cuda_forward>(), t.scan_backward = unlocking<&scan::cuda_backward>();
  t.scan_step = unlocking<&scan::cuda_step>();
  t.conv_forward = unlocking<&conv::cuda_forward>(), t.conv_backward = unlocking<&conv::cuda_backward>();
  t.conv_step = unlocking<&conv::cuda_step>();
  t.attention_forward = unlocking<&window_attention_detail::cuda_forward>();
  t.attention_backward = unlocking<&window_attention_detail::cuda_backward>();
  t.decode = unlocking<&decode_detail::cuda_run>(), t.append = unlocking<&decode_detail::cuda_append>();
  t.ssd_forward = unlocking<&ssd_detail::cuda_forward>(), t.ssd_backward = unlocking<&ssd_detail::cuda_backward>();
  t.ssd_step = unlocking<&ssd_detail::cuda_step>();
  t.norm_forward = unlocking<&norm::cuda_forward>(), t.norm_backward = unlocking<&norm::cuda_backward>();
  t.norm_forward_out = unlocking<&norm::cuda_forward_out>();
  t.gate_forward = unlocking<&gate::cuda_forward>(), t.gate_backward = unlocking<&gate::cuda_backward>();
  t.rope = unlocking<&rope_detail::cuda_run>();
  return t;
}

}  // namespace

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", empty);
  m.impl("empty_strided", empty_strided);
  m.impl("as_strided", at::native::as_strided_tensorimpl);
  m.impl("view", at::native::view);
  m.impl("unfold", at::native::unfold);
  m.impl("_reshape_alias", at::native::_reshape_alias);
  m.impl("_copy_from", copy_from);
  m.impl("_copy_from_and_resize", copy_from_and_resize);
}
TORCH_LIBRARY_IMPL(_, PrivateUse1, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>()); }

c10::Device fake_gpu() {
  static const kernels::Launches launches = [] {
    static Hooks hooks;
    c10::register_privateuse1_backend("fakegpu");
    at::RegisterPrivateUse1HooksInterface(&hooks);
    c10::SetAllocator(kDevice, &memory);
    register_memory(Arena::get().base(), kArena);
    struct sigaction action {};
    action.sa_sigaction = report;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    ::sigaction(SIGSEGV, &action, nullptr);
    return table();
  }();
  kernels::set_device_launches(&launches);
  return kGpu;
}

}  // namespace hymba::testing
