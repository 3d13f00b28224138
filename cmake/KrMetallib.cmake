# Compiles the Metal kernels when krserve is built, where Xcode's Metal compiler is: krserve.metallib
# beside the program, for metal_device.library. Without it krserve compiles their text when it opens the device.

set(KRSERVE_METALLIB AUTO CACHE STRING
  "Compile the Metal kernels into krserve.metallib: AUTO (if the compiler is found), ON or OFF")
set_property(CACHE KRSERVE_METALLIB PROPERTY STRINGS AUTO ON OFF)
# The version that krserve asks for from macOS 15 on (kHandOverLanguage in metal_kernels.h).
set(KRSERVE_METALLIB_STD metal3.2 CACHE STRING "Language of krserve.metallib")
set(KRSERVE_METALLIB_MACOS 15.0 CACHE STRING "Oldest macOS that loads krserve.metallib")

# kr_add_metallib(TEXT kernels.metal OUTPUT krserve.metallib [AFTER the target that writes TEXT])
function(kr_add_metallib)
  cmake_parse_arguments(ARG "" "TEXT;OUTPUT;AFTER" "" ${ARGN})
  if(KRSERVE_METALLIB STREQUAL "OFF")
    return()
  endif()
  find_program(KRSERVE_XCRUN xcrun)
  set(status "no xcrun")
  set(error "")
  if(KRSERVE_XCRUN)
    execute_process(COMMAND ${KRSERVE_XCRUN} -sdk macosx metal --version
      RESULT_VARIABLE status OUTPUT_QUIET ERROR_VARIABLE error)
  endif()
  if(NOT status EQUAL 0)
    set(remedy "Xcode has the compiler; from Xcode 26 on: xcodebuild -downloadComponent MetalToolchain")
    if(KRSERVE_METALLIB STREQUAL "AUTO")
      message(STATUS "krserve.metallib: not built, no Metal compiler found (${remedy})")
      return()
    endif()
    message(FATAL_ERROR "KRSERVE_METALLIB=ON, and xcrun -sdk macosx metal does not run. ${remedy}\n"
      "${error}")
  endif()
  # The math of the kernels' text at run time: NaNs count, and a sum has the order that is written.
  add_custom_command(
    OUTPUT ${ARG_OUTPUT}
    COMMAND ${KRSERVE_XCRUN} -sdk macosx metal -std=${KRSERVE_METALLIB_STD}
      -mmacosx-version-min=${KRSERVE_METALLIB_MACOS}
      -fmetal-math-mode=safe -fmetal-math-fp32-functions=precise
      -o ${ARG_OUTPUT} ${ARG_TEXT}
    DEPENDS ${ARG_TEXT} ${ARG_AFTER}
    COMMENT "Compiling the Metal kernels with xcrun"
    VERBATIM)
  add_custom_target(krserve_metallib ALL DEPENDS ${ARG_OUTPUT})
endfunction()
