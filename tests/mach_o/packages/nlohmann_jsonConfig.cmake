include_guard(DIRECTORY)
add_library(nlohmann_json::nlohmann_json INTERFACE IMPORTED)
target_include_directories(nlohmann_json::nlohmann_json SYSTEM INTERFACE
  ${CMAKE_OSX_SYSROOT}/packages/include)
