include_guard(DIRECTORY)
add_library(yaml-cpp::yaml-cpp INTERFACE IMPORTED)
target_include_directories(yaml-cpp::yaml-cpp SYSTEM INTERFACE
  ${CMAKE_OSX_SYSROOT}/packages/include)
target_link_libraries(yaml-cpp::yaml-cpp INTERFACE
  ${CMAKE_CURRENT_LIST_DIR}/../stubs/libyaml-cpp.tbd)
