// The source of the target that precompiles headers; see cmake/KrTargets.cmake.
