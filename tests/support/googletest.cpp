// The source of the target that precompiles GoogleTest; see tests/CMakeLists.txt.
