# Decides whether the CUDA back end is built (KR_CUDA), and gives it its compiler's flags and the
# target krserve_cudart: the runtime's headers and library. The driver's library is not linked.

set(KRSERVE_CUDA AUTO CACHE STRING "Build the CUDA back end: AUTO (if an nvcc is found), ON or OFF")
set_property(CACHE KRSERVE_CUDA PROPERTY STRINGS AUTO ON OFF)
set(KRSERVE_CUDA_ARCHITECTURES "80;89;90a;100" CACHE STRING
  "GPUs to build kernels for; those that the compiler does not know are left out")

set(KR_CUDA OFF)
if(NOT KRSERVE_CUDA STREQUAL "OFF")
  find_program(KRSERVE_NVCC nvcc
    HINTS ENV CUDA_PATH ENV CUDA_HOME /usr/local/cuda /opt/cuda PATH_SUFFIXES bin)
  if(CMAKE_CUDA_COMPILER)
    set(kr_nvcc ${CMAKE_CUDA_COMPILER})
  elseif(DEFINED ENV{CUDACXX})
    set(kr_nvcc $ENV{CUDACXX})
  elseif(KRSERVE_NVCC)
    set(kr_nvcc ${KRSERVE_NVCC})
  elseif(KRSERVE_CUDA STREQUAL "AUTO")
    message(STATUS "CUDA back end: not built, no nvcc found (KRSERVE_CUDA=AUTO)")
    return()
  else()
    message(FATAL_ERROR "KRSERVE_CUDA=ON needs nvcc of the CUDA toolkit 12.4 or newer; "
      "-DCMAKE_CUDA_COMPILER=/path/to/nvcc says where it is")
  endif()
else()
  return()
endif()

execute_process(COMMAND ${kr_nvcc} --version OUTPUT_VARIABLE kr_nvcc_version)
string(REGEX MATCH "V([0-9]+\\.[0-9]+\\.[0-9]+)" kr_nvcc_version "${kr_nvcc_version}")
set(kr_nvcc_version "${CMAKE_MATCH_1}")
if(kr_nvcc_version VERSION_LESS 12.4)
  if(KRSERVE_CUDA STREQUAL "AUTO")
    message(STATUS "CUDA back end: not built, ${kr_nvcc} is '${kr_nvcc_version}' and not 12.4")
    return()
  endif()
  message(FATAL_ERROR "${kr_nvcc} is version '${kr_nvcc_version}'; 12.4 or newer is needed")
endif()

# Our own -gencode options, and below C++20: what CMake knows is older than the compilers.
execute_process(COMMAND ${kr_nvcc} --list-gpu-arch OUTPUT_VARIABLE kr_nvcc_knows)
set(kr_cuda_options "")
set(KR_CUDA_BUILT "")
foreach(arch IN LISTS KRSERVE_CUDA_ARCHITECTURES)
  string(REGEX REPLACE "[^0-9]" "" kr_arch_number ${arch})
  if(kr_nvcc_knows MATCHES "compute_${kr_arch_number}[^0-9]")
    string(APPEND kr_cuda_options " -gencode=arch=compute_${arch},code=sm_${arch}")
    list(APPEND KR_CUDA_BUILT ${arch})
  endif()
endforeach()
if(NOT KR_CUDA_BUILT)
  message(FATAL_ERROR "${kr_nvcc} knows none of KRSERVE_CUDA_ARCHITECTURES "
    "'${KRSERVE_CUDA_ARCHITECTURES}'; it knows: ${kr_nvcc_knows}")
endif()

get_filename_component(kr_nvcc_real ${kr_nvcc} REALPATH)
get_filename_component(kr_cuda_root ${kr_nvcc_real} DIRECTORY)
get_filename_component(kr_cuda_root ${kr_cuda_root} DIRECTORY)
set(kr_cuda_target targets/${CMAKE_SYSTEM_PROCESSOR}-linux)
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64")
  set(kr_cuda_target targets/sbsa-linux)
endif()
find_path(KRSERVE_CUDA_INCLUDE cuda_runtime_api.h
  HINTS ${kr_cuda_root} PATH_SUFFIXES include ${kr_cuda_target}/include)
# libcudart.so.13: the only name that a Python package has.
find_library(KRSERVE_CUDART NAMES cudart_static cudart libcudart.so.13 libcudart.so.12
  HINTS ${kr_cuda_root} PATH_SUFFIXES lib64 lib ${kr_cuda_target}/lib)
if(NOT KRSERVE_CUDA_INCLUDE OR NOT KRSERVE_CUDART)
  message(FATAL_ERROR "${kr_nvcc} was found, cuda_runtime_api.h or libcudart beside it was not; "
    "set KRSERVE_CUDA_INCLUDE and KRSERVE_CUDART, or -DKRSERVE_CUDA=OFF")
endif()
# CMake's trial programs; nvcc looks in lib64 alone.
get_filename_component(kr_cudart_folder ${KRSERVE_CUDART} DIRECTORY)
set(ENV{LIBRARY_PATH} "${kr_cudart_folder}:$ENV{LIBRARY_PATH}")

set(CMAKE_CUDA_COMPILER ${kr_nvcc})
set(CMAKE_CUDA_ARCHITECTURES OFF)
set(CMAKE_CUDA_RUNTIME_LIBRARY None)
if(NOT CMAKE_CUDA_HOST_COMPILER)
  set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER})
endif()
enable_language(CUDA)
string(APPEND CMAKE_CUDA_FLAGS "${kr_cuda_options}")
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
endif()

find_package(Threads REQUIRED)
add_library(krserve_cudart INTERFACE)
target_include_directories(krserve_cudart SYSTEM INTERFACE ${KRSERVE_CUDA_INCLUDE})
target_link_libraries(krserve_cudart INTERFACE ${KRSERVE_CUDART} Threads::Threads ${CMAKE_DL_LIBS} rt)

set(KR_CUDA ON)
message(STATUS "CUDA back end: built with nvcc ${kr_nvcc_version} for ${KR_CUDA_BUILT}, "
  "${KRSERVE_CUDART}")
