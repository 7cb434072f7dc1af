# An imported target of our own for LibTorch (decision: docs/decisions.md). The wheel's TorchConfig.cmake insists on a
# CUDA toolkit, and its include folder shadows the system's fmt; -idirafter puts it behind the system's headers.
# Takes the layout of the PyPI wheel (torch/lib, torch/include) and that of a plain LibTorch (lib, include).
if(EXISTS "${LIBTORCH_ROOT}/torch/lib/libtorch_cpu.so")
  set(_torch "${LIBTORCH_ROOT}/torch")
elseif(EXISTS "${LIBTORCH_ROOT}/lib/libtorch_cpu.so")
  set(_torch "${LIBTORCH_ROOT}")
else()
  message(FATAL_ERROR "No LibTorch under '${LIBTORCH_ROOT}': ./hymba installs it, or pass -DLIBTORCH_ROOT=FOLDER "
                      "(a folder with lib/libtorch_cpu.so and include/).")
endif()

find_package(OpenMP REQUIRED COMPONENTS CXX)
add_library(hymba_torch INTERFACE)
target_compile_options(hymba_torch INTERFACE
  "SHELL:-idirafter ${_torch}/include" "SHELL:-idirafter ${_torch}/include/torch/csrc/api/include" ${OpenMP_CXX_FLAGS})
target_link_libraries(hymba_torch INTERFACE "${_torch}/lib/libtorch_cpu.so" "${_torch}/lib/libc10.so")
file(GLOB _torch_gomp "${_torch}/lib/libgomp*.so*")
if(_torch_gomp)  # the wheel's own OpenMP runtime: one in the process, not two
  list(GET _torch_gomp 0 _torch_gomp)
  target_link_libraries(hymba_torch INTERFACE "${_torch_gomp}")
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")  # clang's OpenMP calls need its own runtime (package libomp-dev)
  target_link_libraries(hymba_torch INTERFACE OpenMP::OpenMP_CXX)
endif()
target_link_options(hymba_torch INTERFACE "-Wl,-rpath,${_torch}/lib"
  "-Wl,-rpath-link,${_torch}/lib:${LIBTORCH_ROOT}/nvidia/cu13/lib")
find_program(MOLD_PROGRAM mold)
if(MOLD_PROGRAM AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 12.1)
  # mold 1.10 can misplace RELRO beside a small .tbss: the program would not start.
  target_link_options(hymba_torch INTERFACE -fuse-ld=mold -Wl,-z,norelro)
endif()
