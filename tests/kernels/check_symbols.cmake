# Fails when a file compiled for an instruction set defines or needs a symbol that another file
# could share: anything outside its own namespace but memcpy, memset and Scratch::reserve.
foreach(object ${OBJECTS})
  if(NOT object MATCHES "/tuned/cpu/([a-z0-9]+)\\.cpp")
    continue()
  endif()
  set(isa ${CMAKE_MATCH_1})
  execute_process(COMMAND ${NM} -C ${object} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]+" symbols "${symbols}")
  foreach(symbol ${symbols})
    if(symbol MATCHES " [VWuU] " AND NOT symbol MATCHES
       "krserve::kernels::${isa}::|krserve::kernels::Scratch::reserve| _?mem(cpy|set|move)|_GLOBAL_OFFSET_TABLE_|__stack_chk_fail")
      message(SEND_ERROR "${isa}: shared symbol: ${symbol}")
    endif()
  endforeach()
  message(STATUS "${isa}: no shared symbols")
endforeach()
