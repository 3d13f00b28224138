// The source of the targets that precompile headers: kr_precompile() in cmake/KrTargets.cmake.
