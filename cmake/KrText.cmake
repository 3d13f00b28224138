# Builds crates/krtext (Rust) with cargo and offers it as the static library target krserve_krtext.

# Linked into whatever has it: a cross build, or a machine without cargo.
set(KRSERVE_KRTEXT "" CACHE FILEPATH "A built library of crates/krtext; empty: cargo builds it")
get_filename_component(kr_crate ${CMAKE_CURRENT_LIST_DIR}/../crates/krtext ABSOLUTE)
if(KRSERVE_KRTEXT)
  find_package(Threads REQUIRED)
  add_library(krserve_krtext INTERFACE)
  target_include_directories(krserve_krtext INTERFACE ${kr_crate}/include)
  target_link_libraries(krserve_krtext INTERFACE
    ${KRSERVE_KRTEXT} Threads::Threads ${CMAKE_DL_LIBS} m)
  return()
endif()

find_program(KRSERVE_CARGO cargo HINTS $ENV{CARGO_HOME}/bin $ENV{HOME}/.cargo/bin)
if(NOT KRSERVE_CARGO)
  message(FATAL_ERROR
    "cargo was not found; the tokenizer crate (crates/krtext) needs cargo and rustc 1.85 or newer. "
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
  CACHE PATH "Where cargo builds crates/krtext")

set(kr_crate_sources
  Cargo.toml Cargo.lock
  src/detokenizer.rs src/ffi.rs src/lib.rs src/python.rs src/template.rs src/tokenizer.rs)
list(TRANSFORM kr_crate_sources PREPEND ${kr_crate}/)
set(kr_crate_library ${CMAKE_BINARY_DIR}/lib/${CMAKE_STATIC_LIBRARY_PREFIX}krtext.a)
set(kr_cargo_environment CARGO_TARGET_DIR=${KRSERVE_CARGO_TARGET_DIR})
if(APPLE AND CMAKE_OSX_DEPLOYMENT_TARGET)
  list(APPEND kr_cargo_environment MACOSX_DEPLOYMENT_TARGET=${CMAKE_OSX_DEPLOYMENT_TARGET})
endif()

# Copied out of the target folder: cargo leaves an up-to-date library's time stamp alone, and make
# and ninja would run it again each time.
add_custom_command(
  OUTPUT ${kr_crate_library}
  COMMAND ${CMAKE_COMMAND} -E env ${kr_cargo_environment}
    ${KRSERVE_CARGO} build --release --locked --manifest-path ${kr_crate}/Cargo.toml
  COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/lib
  COMMAND ${CMAKE_COMMAND} -E copy
    ${KRSERVE_CARGO_TARGET_DIR}/release/${CMAKE_STATIC_LIBRARY_PREFIX}krtext.a ${kr_crate_library}
  COMMAND ${CMAKE_COMMAND} -E touch ${kr_crate_library}
  DEPENDS ${kr_crate_sources}
  COMMENT "Building crates/krtext with cargo"
  USES_TERMINAL
  VERBATIM)
add_custom_target(krserve_krtext_build DEPENDS ${kr_crate_library})

add_library(krserve_krtext STATIC IMPORTED GLOBAL)
add_dependencies(krserve_krtext krserve_krtext_build)
set_target_properties(krserve_krtext PROPERTIES
  IMPORTED_LOCATION ${kr_crate_library}
  INTERFACE_INCLUDE_DIRECTORIES ${kr_crate}/include)
find_package(Threads REQUIRED)
target_link_libraries(krserve_krtext INTERFACE Threads::Threads ${CMAKE_DL_LIBS} m)
