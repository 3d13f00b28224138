# Joins FILE and the local includes below ROOT to one text that needs no include path, for Metal's
# compiler at run time; LEAVE_OUT names includes of other compilers.
#   cmake -DROOT=... -DFILE=... -DLEAVE_OUT=... -DTEXT=x.metal -DSOURCE=x.cpp -DDEPFILE=x.d -P ...
# SOURCE holds the same text for C++, a string per stretch of a file: compilers need not take long ones.

cmake_minimum_required(VERSION 3.25)

function(kr_count_lines text result)
  string(REGEX MATCHALL "\n" lines "${text}")
  list(LENGTH lines count)
  set(${result} ${count} PARENT_SCOPE)
endfunction()

function(kr_emit path line text)
  if(text STREQUAL "")
    return()
  endif()
  set(text "#line ${line} \"${path}\"\n${text}")
  set_property(GLOBAL APPEND_STRING PROPERTY kr_text "${text}")
  set_property(GLOBAL APPEND_STRING PROPERTY kr_strings "    R\"msl(${text})msl\",\n")
endfunction()

# Each file comes once, where it is first included.
function(kr_flatten path)
  set_property(GLOBAL APPEND PROPERTY kr_files ${path})
  file(READ "${ROOT}/${path}" rest)
  # Not for a main file, which the text is.
  string(REPLACE "#pragma once\n" "\n" rest "${rest}")
  # Metal before 4 is C++14, which has no namespace a::b.
  set(name "[a-z_]+")
  string(REGEX REPLACE "\nnamespace (${name})::(${name})::(${name}) {"
    "\nnamespace \\1 { namespace \\2 { namespace \\3 {" rest "${rest}")
  string(REGEX REPLACE "\nnamespace (${name})::(${name}) {" "\nnamespace \\1 { namespace \\2 {"
    rest "${rest}")
  string(REGEX REPLACE "\n}(  // namespace ${name}::${name}::${name}\n)" "\n}}}\\1" rest "${rest}")
  string(REGEX REPLACE "\n}(  // namespace ${name}::${name}\n)" "\n}}\\1" rest "${rest}")
  set(line 1)
  while(rest MATCHES "#include \"([^\"\n]+)\"\n")
    set(include ${CMAKE_MATCH_1})
    set(directive "${CMAKE_MATCH_0}")
    string(FIND "${rest}" "${directive}" at)
    string(LENGTH "${directive}" length)
    math(EXPR end "${at} + ${length}")
    string(SUBSTRING "${rest}" 0 ${at} head)
    string(SUBSTRING "${rest}" ${end} -1 rest)
    kr_emit(${path} ${line} "${head}")
    kr_count_lines("${head}" lines)
    math(EXPR line "${line} + ${lines} + 1")
    get_property(seen GLOBAL PROPERTY kr_files)
    if(NOT include IN_LIST seen AND NOT include IN_LIST LEAVE_OUT)
      kr_flatten(${include})
    endif()
  endwhile()
  kr_emit(${path} ${line} "${rest}")
endfunction()

kr_flatten(${FILE})
get_property(text GLOBAL PROPERTY kr_text)
get_property(strings GLOBAL PROPERTY kr_strings)
get_property(files GLOBAL PROPERTY kr_files)
file(WRITE "${TEXT}" "${text}")
file(WRITE "${SOURCE}" "#include \"kernels/entry/metal_text.h\"

namespace krserve::kernels::metal {

std::span<const std::string_view> library_pieces() {
  static constexpr std::string_view kPieces[] = {
${strings}  };
  return kPieces;
}

}  // namespace krserve::kernels::metal
")
list(TRANSFORM files PREPEND "${ROOT}/")
list(JOIN files " " files)
file(WRITE "${DEPFILE}" "${SOURCE}: ${files}\n")
