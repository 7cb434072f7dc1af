# libhymba_cuda.so: every cuda.cu by nvcc (no CUDA language of CMake: nothing is probed at configure time), and the torch
# glue by the C++ compiler. For A100 (sm_80), H100 and H200 (sm_90), B200 (sm_100) and, as PTX, what comes later.
set(HYMBA_CUDA_ARCHITECTURES "80;90;100" CACHE STRING "Architectures of the CUDA kernels; the last one also as PTX")
set(_nvcc_flags -std=c++20 -O3 -Xcompiler -fPIC -I${CMAKE_SOURCE_DIR} -I${CMAKE_SOURCE_DIR}/src)
foreach(arch ${HYMBA_CUDA_ARCHITECTURES})
  list(APPEND _nvcc_flags -gencode arch=compute_${arch},code=sm_${arch})
endforeach()
list(GET HYMBA_CUDA_ARCHITECTURES -1 _newest)
list(APPEND _nvcc_flags -gencode arch=compute_${_newest},code=compute_${_newest})
get_filename_component(_toolkit "${NVCC_PROGRAM}" REALPATH)
get_filename_component(_toolkit "${_toolkit}" DIRECTORY)
get_filename_component(_toolkit "${_toolkit}" DIRECTORY)

set(_objects)
foreach(op selective_scan causal_conv1d window_attention decode_attention ssd rms_norm swiglu rope)
  set(_source ${CMAKE_CURRENT_SOURCE_DIR}/../${op}/cuda.cu)
  set(_object ${CMAKE_CURRENT_BINARY_DIR}/${op}.cuda.o)
  add_custom_command(OUTPUT ${_object}
    COMMAND ${NVCC_PROGRAM} ${_nvcc_flags} -MD -MF ${_object}.d -c ${_source} -o ${_object}
    DEPENDS ${_source} DEPFILE ${_object}.d COMMENT "nvcc ${op}" VERBATIM)
  list(APPEND _objects ${_object})
endforeach()

add_library(hymba_cuda SHARED devices.cpp torch_scan.cpp torch_attention.cpp ${CMAKE_SOURCE_DIR}/src/base/error.cpp ${_objects})
if(NOT HYMBA_CUDA)
  set_target_properties(hymba_cuda PROPERTIES EXCLUDE_FROM_ALL TRUE)
endif()
set_source_files_properties(${_objects} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
target_include_directories(hymba_cuda PRIVATE "${CMAKE_SOURCE_DIR}" "${CMAKE_SOURCE_DIR}/src")
target_include_directories(hymba_cuda SYSTEM PRIVATE "${_toolkit}/include")
target_link_libraries(hymba_cuda PRIVATE fmt::fmt nlohmann_json::nlohmann_json hymba_torch "${_torch_cuda}/lib/libc10_cuda.so")
# One CUDA runtime in the process: that of LibTorch, where it has one of its own.
if(EXISTS "${LIBTORCH_ROOT}/nvidia/cu13/lib/libcudart.so.13")
  target_link_libraries(hymba_cuda PRIVATE "${LIBTORCH_ROOT}/nvidia/cu13/lib/libcudart.so.13")
  target_link_options(hymba_cuda PRIVATE "-Wl,-rpath,${LIBTORCH_ROOT}/nvidia/cu13/lib")
else()
  target_link_libraries(hymba_cuda PRIVATE "${_toolkit}/lib64/libcudart.so")
endif()
hymba_warnings(hymba_cuda)
