# Cross-compiles for macOS on Linux: clang and lld, Apple's libc headers, stubs for the libraries.
# What it makes can be linked, not run: it answers "does this build on a Mac".

set(CMAKE_SYSTEM_NAME Darwin)
set(CMAKE_SYSTEM_PROCESSOR arm64)

get_filename_component(kr_root ${CMAKE_CURRENT_LIST_DIR}/../.. ABSOLUTE)
set(kr_llvm /usr/lib/llvm-19)
set(kr_remedy "scripts/setup.sh installs it")
foreach(tool bin/clang bin/clang++ bin/ld64.lld bin/llvm-ar include/c++/v1/__config)
  if(NOT EXISTS ${kr_llvm}/${tool})
    message(FATAL_ERROR "${kr_llvm}/${tool} is missing: ${kr_remedy}")
  endif()
endforeach()
# A Python package that carries Apple's own libc headers and the list of symbols of libSystem.
file(GLOB kr_zig ${kr_root}/.venv/lib/python3*/site-packages/ziglang/lib/libc)
if(NOT IS_DIRECTORY "${kr_zig}/include/any-darwin-any")
  message(FATAL_ERROR "the Python package ziglang is missing in .venv: ${kr_remedy}")
endif()

# The oldest system that krserve runs on: libc++ then refuses what that system's library lacks.
set(CMAKE_OSX_DEPLOYMENT_TARGET 14.0)
set(CMAKE_OSX_ARCHITECTURES arm64)
set(CMAKE_OSX_SYSROOT ${kr_root}/build/mach-o-sysroot)

function(kr_link from to)
  get_filename_component(folder ${to} DIRECTORY)
  file(MAKE_DIRECTORY ${folder})
  file(CREATE_LINK ${from} ${to} SYMBOLIC)
endfunction()

# What clang reads the SDK's version from.
file(WRITE ${CMAKE_OSX_SYSROOT}/SDKSettings.json
  "{\"Version\": \"26.4\", \"MaximumDeploymentTarget\": \"26.4.99\"}\n")
kr_link(${kr_zig}/include/any-darwin-any ${CMAKE_OSX_SYSROOT}/usr/include)
function(kr_stub name install_name symbols)
  file(CONFIGURE OUTPUT ${CMAKE_OSX_SYSROOT}/usr/lib/${name} CONTENT "--- !tapi-tbd
tbd-version: 4
targets: [ arm64-macos ]
install-name: '${install_name}'
exports:
  - targets: [ arm64-macos ]
    symbols: [ ${symbols} ]
...
" @ONLY)
endfunction()

# Apple lists arm64e alone: its linker takes that list for arm64 too, lld does not.
file(READ ${kr_zig}/darwin/libSystem.tbd kr_system)
string(REPLACE arm64e- arm64- kr_system "${kr_system}")
foreach(library System m)
  file(CONFIGURE OUTPUT ${CMAKE_OSX_SYSROOT}/usr/lib/lib${library}.tbd CONTENT "${kr_system}" @ONLY)
endforeach()
# libc++ has the same symbols everywhere, but for those that tell of a type that differs.
execute_process(
  COMMAND ${kr_llvm}/bin/llvm-nm -D --defined-only --just-symbol-name
    ${kr_llvm}/lib/libc++.so.1 ${kr_llvm}/lib/libc++abi.so.1
  OUTPUT_VARIABLE kr_symbols COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "\n_[A-Za-z0-9_]+" kr_symbols "${kr_symbols}")
list(JOIN kr_symbols ", _" kr_symbols)
string(REPLACE "\n" "" kr_symbols "${kr_symbols}")
kr_stub(libc++.tbd /usr/lib/libc++.1.dylib
  "_${kr_symbols}, __ZNSt3__120__libcpp_atomic_waitEPVKvx")
kr_link(${CMAKE_CURRENT_LIST_DIR}/stubs/libobjc.tbd ${CMAKE_OSX_SYSROOT}/usr/lib/libobjc.tbd)
foreach(framework CoreGraphics Foundation Metal)
  kr_link(${CMAKE_CURRENT_LIST_DIR}/stubs/${framework}.tbd
    ${CMAKE_OSX_SYSROOT}/System/Library/Frameworks/${framework}.framework/${framework}.tbd)
endforeach()
# Only these of the Linux machine's headers: the others are of its own libc.
foreach(library boost fmt spdlog nlohmann yaml-cpp CLI gtest gmock)
  kr_link(/usr/include/${library} ${CMAKE_OSX_SYSROOT}/packages/include/${library})
endforeach()

foreach(language C CXX)
  set(CMAKE_${language}_COMPILER_TARGET arm64-apple-macosx${CMAKE_OSX_DEPLOYMENT_TARGET})
endforeach()
set(CMAKE_C_COMPILER ${kr_llvm}/bin/clang)
set(CMAKE_CXX_COMPILER ${kr_llvm}/bin/clang++)
foreach(tool AR RANLIB STRIP NM OBJDUMP OTOOL INSTALL_NAME_TOOL)
  string(TOLOWER ${tool} name)
  string(REPLACE _ - name ${name})
  set(CMAKE_${tool} ${kr_llvm}/bin/llvm-${name})
endforeach()
set(CMAKE_CXX_FLAGS_INIT "-nostdinc++ -isystem ${CMAKE_CURRENT_LIST_DIR}/include \
-isystem ${kr_llvm}/include/c++/v1")
set(CMAKE_EXE_LINKER_FLAGS_INIT -fuse-ld=lld)

set(CMAKE_FIND_ROOT_PATH ${CMAKE_OSX_SYSROOT})
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE NEVER)
set(CMAKE_PREFIX_PATH ${CMAKE_CURRENT_LIST_DIR}/packages)
set(CMAKE_FIND_USE_CMAKE_SYSTEM_PATH OFF)
set(KRSERVE_CRATES_LIBRARY ${CMAKE_CURRENT_LIST_DIR}/stubs/libkrcrates.tbd CACHE FILEPATH "")
