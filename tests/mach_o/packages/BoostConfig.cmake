include_guard(DIRECTORY)
add_library(Boost::headers INTERFACE IMPORTED)
target_include_directories(Boost::headers SYSTEM INTERFACE
  ${CMAKE_OSX_SYSROOT}/packages/include)
