include_guard(DIRECTORY)
add_library(CLI11::CLI11 INTERFACE IMPORTED)
target_include_directories(CLI11::CLI11 SYSTEM INTERFACE ${CMAKE_OSX_SYSROOT}/packages/include)
