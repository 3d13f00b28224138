# Debian's package is the source: every project compiles its own.
include_guard(DIRECTORY)
set(kr_gtest /usr/src/googletest)
add_library(kr_gtest STATIC
  ${kr_gtest}/googletest/src/gtest-all.cc ${kr_gtest}/googletest/src/gtest_main.cc
  ${kr_gtest}/googlemock/src/gmock-all.cc)
target_include_directories(kr_gtest SYSTEM
  PUBLIC ${CMAKE_OSX_SYSROOT}/packages/include
  PRIVATE ${kr_gtest}/googletest ${kr_gtest}/googlemock)
foreach(part gtest gtest_main gmock)
  add_library(GTest::${part} ALIAS kr_gtest)
endforeach()
