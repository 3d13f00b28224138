# Helpers that give every target of ours the same warnings, sanitizers and include root.

add_library(krserve_flags INTERFACE)
set(kr_warnings -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual)
set(kr_nvcc_warnings "")
if(KRSERVE_WERROR)
  list(APPEND kr_warnings -Werror)
  set(kr_nvcc_warnings --Werror=all-warnings)
endif()
# nvcc's own warnings, and of the host compiler's those that the code it generates does not trip.
target_compile_options(krserve_flags INTERFACE
  "$<$<NOT:$<COMPILE_LANGUAGE:CUDA>>:${kr_warnings}>"
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>>:-Wno-psabi>
  "$<$<COMPILE_LANGUAGE:CUDA>:${kr_nvcc_warnings}>" $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall>)
target_include_directories(krserve_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
if(KRSERVE_SANITIZE)
  set(kr_sanitize
    -fsanitize=${KRSERVE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_compile_options(krserve_flags INTERFACE
    "$<$<NOT:$<COMPILE_LANGUAGE:CUDA>>:${kr_sanitize}>")
  target_link_options(krserve_flags INTERFACE -fsanitize=${KRSERVE_SANITIZE})
endif()

# kr_add_library(NAME name SOURCES a.cpp ... LIBS public dependencies ...)
function(kr_add_library)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;LIBS" ${ARGN})
  add_library(${ARG_NAME} STATIC ${ARG_SOURCES})
  target_link_libraries(${ARG_NAME} PUBLIC krserve_flags ${ARG_LIBS})
  kr_precompiled(${ARG_NAME})
endfunction()

# Without optimization these headers are most of what a source takes to compile. Builds that users run leave
# KRSERVE_PRECOMPILED off, and so find the include that is missing.
set(KR_PRECOMPILED_HEADERS "")
if(KRSERVE_PRECOMPILED)
  set(KR_PRECOMPILED_HEADERS
    <algorithm> <chrono> <filesystem> <functional> <map> <memory> <mutex> <optional> <span> <string> <thread> <vector>
    <fmt/format.h> <fmt/ranges.h> <nlohmann/json.hpp>)
endif()
function(kr_precompiled target)
  if(NOT KRSERVE_PRECOMPILED)
    return()
  endif()
  if(NOT TARGET krserve_precompiled)
    add_library(krserve_precompiled OBJECT ${CMAKE_SOURCE_DIR}/cmake/precompiled.cpp)
    target_link_libraries(krserve_precompiled PRIVATE
      krserve_flags fmt::fmt spdlog::spdlog nlohmann_json::nlohmann_json Threads::Threads)
    kr_precompile(krserve_precompiled ${KR_PRECOMPILED_HEADERS})
  endif()
  target_precompile_headers(${target} REUSE_FROM krserve_precompiled)
endfunction()

# kr_precompile(target header ...): a target of its own, whose only source is cmake/precompiled.cpp.
function(kr_precompile target)
  target_precompile_headers(${target} PRIVATE ${ARGN})
  # Or clang refuses one that comes from ccache: the list of headers is newer.
  target_compile_options(${target} PRIVATE
    $<$<CXX_COMPILER_ID:Clang,AppleClang>:SHELL:-Xclang -fno-pch-timestamp>)
endfunction()

# What the test programs share. -O1: half of -O3's time to compile, and nothing is timed here.
function(kr_test_flags target)
  target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_compile_definitions(${target} PRIVATE KR_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  target_compile_options(${target} PRIVATE $<$<AND:$<CONFIG:Release>,$<COMPILE_LANGUAGE:CXX>>:-O1>)
endfunction()

# kr_add_test_objects(NAME name SOURCES a.cpp ... LIBS ...): tests that several programs link.
function(kr_add_test_objects)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;LIBS" ${ARGN})
  add_library(${ARG_NAME} OBJECT ${ARG_SOURCES})
  kr_test_flags(${ARG_NAME})
  target_link_libraries(${ARG_NAME} PUBLIC ${ARG_LIBS} GTest::gmock)
endfunction()

# kr_add_test(NAME name SOURCES a.cpp ... LIBS ... [LABELS ...] [SECONDS n] [IN_ALL_PRESETS]): one GoogleTest program,
# one ctest entry. Those that take long say how long, and start first. IN_ALL_PRESETS: no precompiled header, which is
# a preset's own, so that ccache can take the objects from another.
# Label "cuda": runs on the device that KRSERVE_TEST_DEVICE names (benchmarks/gpu/run.sh picks by it).
function(kr_add_test)
  cmake_parse_arguments(ARG "IN_ALL_PRESETS" "NAME;SECONDS" "SOURCES;LIBS;LABELS" ${ARGN})
  add_executable(${ARG_NAME} ${ARG_SOURCES})
  kr_test_flags(${ARG_NAME})
  if(NOT ARG_IN_ALL_PRESETS)
    target_precompile_headers(${ARG_NAME} REUSE_FROM krserve_googletest)
  endif()
  target_link_libraries(${ARG_NAME} PRIVATE ${ARG_LIBS} GTest::gmock GTest::gtest_main)
  if(KR_METAL_SIM AND "cuda" IN_LIST ARG_LABELS)
    target_sources(${ARG_NAME} PRIVATE ${CMAKE_SOURCE_DIR}/tests/metal/check_violations.cpp)
    target_link_libraries(${ARG_NAME} PRIVATE krserve_metal_model)
  endif()
  add_test(NAME ${ARG_NAME} COMMAND ${ARG_NAME})
  set_tests_properties(${ARG_NAME} PROPERTIES TIMEOUT 600 LABELS "${ARG_LABELS}")
  if(ARG_SECONDS)
    set_tests_properties(${ARG_NAME} PROPERTIES COST ${ARG_SECONDS})
  endif()
endfunction()
