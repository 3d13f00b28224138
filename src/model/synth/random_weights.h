// Random matrices as model files store them, a chunk at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

namespace krserve::synth {

// Takes the next bytes of a tensor.
using Sink = std::function<void(const void* data, uint64_t bytes)>;

// SplitMix64: fast, and the same on every machine.
class RandomBits {
 public:
  // Each name gives its own stream.
  RandomBits(uint64_t seed, std::string_view name);
  uint64_t next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

 private:
  uint64_t state_;
};

// `count` bf16 values, uniform with this mean and standard deviation.
void random_bf16(RandomBits random, uint64_t count, double mean, double deviation,
                 const Sink& sink);

// `words` u32 words of packed integers, every bit random.
void random_words(RandomBits random, uint64_t words, const Sink& sink);

// bf16 scales (or, with `biases`, the biases that belong to them: the same stream) of `groups`
// groups such that the weights have mean 0 and this deviation; scales vary by +-25 % over groups.
void random_scales(RandomBits random, uint64_t groups, uint32_t bits, double deviation, bool biases,
                   const Sink& sink);

}  // namespace krserve::synth
