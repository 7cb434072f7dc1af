// The public function of a kernel that is compiled once per instruction set: include after Highway, use in the HWY_ONCE
// part, in the namespace that holds HWY_NAMESPACE.
#pragma once

#include <hwy/highway.h>

#include <cstdint>

// Defines function(a, begin, end), tasks [begin, end) of `a`, as the kernel of the instruction set in use.
#define HYMBA_DISPATCH_TASKS(function, kernel, Args)                                                                  \
  HWY_EXPORT(kernel);                                                                                                 \
  void function(const Args& a, std::int64_t begin, std::int64_t end) { HWY_DYNAMIC_DISPATCH(kernel)(a, begin, end); } \
  static_assert(true)  // takes the semicolon
