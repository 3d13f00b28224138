# Decides whether the Metal back end is built (KR_METAL), and on what it runs: Apple's frameworks, or
# with KRSERVE_METAL_SIM the model of Metal in tests/metal (KR_METAL_SIM), for wherever there is no Mac.

set(kr_metal_default OFF)
if(APPLE)
  set(kr_metal_default ON)
endif()
option(KRSERVE_METAL "Build the Metal back end (macOS)" ${kr_metal_default})
option(KRSERVE_METAL_SIM "Build the Metal back end on a model of Metal (Linux; for tests)" OFF)

set(KR_METAL ${KRSERVE_METAL})
set(KR_METAL_SIM ${KRSERVE_METAL_SIM})
if(KR_METAL_SIM)
  if(APPLE OR NOT KRSERVE_TESTS)
    message(FATAL_ERROR "KRSERVE_METAL_SIM=ON is for Linux and needs KRSERVE_TESTS=ON: "
      "the model of Metal is part of the tests")
  endif()
  set(KR_METAL ON)
elseif(KR_METAL AND NOT APPLE)
  message(FATAL_ERROR "KRSERVE_METAL=ON needs macOS; KRSERVE_METAL_SIM=ON runs it on a model of Metal")
endif()
