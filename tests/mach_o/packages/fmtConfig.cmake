include_guard(DIRECTORY)
add_library(fmt::fmt INTERFACE IMPORTED)
target_include_directories(fmt::fmt SYSTEM INTERFACE ${CMAKE_OSX_SYSROOT}/packages/include)
target_compile_definitions(fmt::fmt INTERFACE FMT_HEADER_ONLY)
