// Runs a fuzz target without libFuzzer: every file of a corpus folder, then seeded random inputs.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr int kRandomInputs = 500;
constexpr size_t kLongest = 2000;

int run_corpus(const std::filesystem::path& folder) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream in(entry.path(), std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    ++files;
  }
  return files;
}

}  // namespace

// fuzzer CORPUS_FOLDER [INPUTS]
int main(int argc, char** argv) {
  const int files = argc > 1 ? run_corpus(argv[1]) : 0;
  if (argc > 1 && files == 0) {
    std::fprintf(stderr, "no file in %s\n", argv[1]);
    return 1;
  }
  const int inputs = argc > 2 ? std::atoi(argv[2]) : kRandomInputs;
  for (int i = 0; i < inputs; ++i) {
    std::mt19937 random(static_cast<uint32_t>(i));
    std::vector<uint8_t> bytes(random() % kLongest);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  std::printf("%d files and %d random inputs\n", files, inputs);
  return 0;
}
