#include "kernels/targets.h"
//
#include <hwy/highway.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>

#include "base/error.h"
#include "base/text.h"
#include "kernels/isa.h"

namespace hymba::kernels {
namespace {

struct Level {
  const char* name;
  std::int64_t target;
};

constexpr Level kLevels[] = {
#if HWY_ARCH_X86
    {"baseline", HWY_SSE4}, {"avx2", HWY_AVX2}, {"avx512", HWY_AVX3}
#else
    {"baseline", HWY_STATIC_TARGET}
#endif
};

// What the processor has, whatever a test has forced.
std::int64_t machine_targets() {
  static const std::int64_t targets = hwy::SupportedTargets();
  return targets & (HWY_TARGETS);
}

std::string& active() {
  static std::string level;
  return level;
}

}  // namespace

std::vector<std::string> present_isas() {
  std::vector<std::string> names;
  for (const auto& level : kLevels) {
    if (machine_targets() & level.target) names.push_back(level.name);
  }
  return names;
}

void force_isa(const std::string& wanted, const char* asked_by) {
  const auto present = present_isas();
  require(!present.empty(), "this processor lacks SSE4.2, the least that the kernels need");
  const std::string& name = wanted.empty() ? present.back() : wanted;
  require(std::find(present.begin(), present.end(), name) != present.end(),
          "{}: expected one of {} (the levels present on this machine), found '{}'", asked_by, join(present, ", "), name);
  for (const auto& level : kLevels) {
    if (level.name == name) hwy::SetSupportedTargetsForTest(level.target);
  }
#if HWY_MAJOR == 0  // Ubuntu 22.04
  hwy::GetChosenTarget().Update();
#else
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
#endif
  active() = name;
}

void prepare_isa() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (!active().empty()) return;  // a test has forced a level before the first kernel
    const char* wanted = std::getenv("HYMBA_ISA");
    force_isa(wanted ? wanted : "");
  });
}

std::string active_isa() {
  prepare_isa();
  return active();
}

bool multiplies_bf16() {
#if defined(__x86_64__)
  static const bool present = __builtin_cpu_supports("avx512bf16") != 0;
  return present && active_isa() == "avx512";
#else
  return false;
#endif
}

}  // namespace hymba::kernels
