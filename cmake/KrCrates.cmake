# Builds the Rust crates of crates/ with cargo and offers them as one static library, krserve_crates
# (crates/krcrates; two Rust static libraries in one program would clash).

# Linked into whatever has it: a cross build, or a machine without cargo.
set(KRSERVE_CRATES_LIBRARY "" CACHE FILEPATH "A built library of crates/krcrates; empty: cargo builds it")
get_filename_component(kr_crates ${CMAKE_CURRENT_LIST_DIR}/../crates ABSOLUTE)
set(kr_crates_includes ${kr_crates}/krtext/include ${kr_crates}/krhub/include)
if(KRSERVE_CRATES_LIBRARY)
  find_package(Threads REQUIRED)
  add_library(krserve_crates INTERFACE)
  target_include_directories(krserve_crates INTERFACE ${kr_crates_includes})
  target_link_libraries(krserve_crates INTERFACE
    ${KRSERVE_CRATES_LIBRARY} Threads::Threads ${CMAKE_DL_LIBS} m)
  return()
endif()

find_program(KRSERVE_CARGO cargo HINTS $ENV{CARGO_HOME}/bin $ENV{HOME}/.cargo/bin)
if(NOT KRSERVE_CARGO)
  message(FATAL_ERROR
    "cargo was not found; the crates (crates/: tokenizer, model hub) need cargo and rustc 1.85 or newer. "
    "Debian 12: apt install cargo-web rustc-web; macOS: brew install rust; or rustup. "
    "Point -DKRSERVE_CARGO=/path/to/cargo at another one, or configure with "
    "-DKRSERVE_SERVER=OFF -DKRSERVE_CRATES=OFF to build without it.")
endif()
execute_process(COMMAND ${KRSERVE_CARGO} --version
  OUTPUT_VARIABLE kr_cargo_version ERROR_VARIABLE kr_cargo_error RESULT_VARIABLE kr_cargo_status)
string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" kr_cargo_version "${kr_cargo_version}")
if(NOT kr_cargo_status EQUAL 0 OR kr_cargo_version VERSION_LESS 1.85)
  message(FATAL_ERROR
    "${KRSERVE_CARGO} is version '${kr_cargo_version}'; 1.85 or newer is needed ${kr_cargo_error}. "
    "Debian 12: apt install cargo-web rustc-web (its cargo package is too old); macOS: brew "
    "install rust; or rustup update. Remove KRSERVE_CARGO from the CMake cache to search again.")
endif()

# Presets may share one folder to compile the dependencies once.
set(KRSERVE_CARGO_TARGET_DIR ${CMAKE_BINARY_DIR}/cargo
  CACHE PATH "Where cargo builds crates/")

set(kr_crate_sources
  Cargo.toml Cargo.lock krcrates/Cargo.toml krcrates/src/lib.rs krtext/Cargo.toml krhub/Cargo.toml)
foreach(name detokenizer ffi lib python template tokenizer)
  list(APPEND kr_crate_sources krtext/src/${name}.rs)
endforeach()
foreach(name cache download fetch ffi http lib repository settings)
  list(APPEND kr_crate_sources krhub/src/${name}.rs)
endforeach()
list(TRANSFORM kr_crate_sources PREPEND ${kr_crates}/)
set(kr_crate_library ${CMAKE_BINARY_DIR}/lib/${CMAKE_STATIC_LIBRARY_PREFIX}krcrates.a)
# Whatever CC a preset or a Python build sets: cargo would compile ring again for each. TARGET_CC, which
# the crates know too, names another compiler.
set(kr_cargo_environment --unset=CC --unset=CXX CARGO_TARGET_DIR=${KRSERVE_CARGO_TARGET_DIR})
if(APPLE AND CMAKE_OSX_DEPLOYMENT_TARGET)
  list(APPEND kr_cargo_environment MACOSX_DEPLOYMENT_TARGET=${CMAKE_OSX_DEPLOYMENT_TARGET})
endif()

# Copied out of the target folder: cargo leaves an up-to-date library's time stamp alone, and make
# and ninja would run it again each time.
add_custom_command(
  OUTPUT ${kr_crate_library}
  COMMAND ${CMAKE_COMMAND} -E env ${kr_cargo_environment}
    ${KRSERVE_CARGO} build --release --locked -p krcrates
    --manifest-path ${kr_crates}/Cargo.toml
  COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/lib
  COMMAND ${CMAKE_COMMAND} -E copy
    ${KRSERVE_CARGO_TARGET_DIR}/release/${CMAKE_STATIC_LIBRARY_PREFIX}krcrates.a ${kr_crate_library}
  COMMAND ${CMAKE_COMMAND} -E touch ${kr_crate_library}
  DEPENDS ${kr_crate_sources}
  COMMENT "Building crates/ with cargo"
  USES_TERMINAL
  VERBATIM)
add_custom_target(krserve_crates_build DEPENDS ${kr_crate_library})

add_library(krserve_crates STATIC IMPORTED GLOBAL)
add_dependencies(krserve_crates krserve_crates_build)
set_target_properties(krserve_crates PROPERTIES
  IMPORTED_LOCATION ${kr_crate_library}
  INTERFACE_INCLUDE_DIRECTORIES "${kr_crates_includes}")
find_package(Threads REQUIRED)
target_link_libraries(krserve_crates INTERFACE Threads::Threads ${CMAKE_DL_LIBS} m)
