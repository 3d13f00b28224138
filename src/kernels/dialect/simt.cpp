#include "kernels/dialect/simt.h"

#include <algorithm>
#include <vector>

#include "kernels/dialect/fiber.h"
#include "kernels/dialect/simt_memory.h"

namespace krserve::kernels {

namespace simt {
namespace {

constexpr uint32_t kSimdLanes = 32;
constexpr uint32_t kMatrixDim = 8;
constexpr uint32_t kMatrixElements = kMatrixDim * kMatrixDim;

enum class State : uint8_t { kReady, kAtBarrier, kAtSimd, kDone };

struct Thread {
  KrThread self;
  State state;
  SimdOp op;
  uint32_t operand;
  uint64_t value;
  Site site;
};

// Splitmix64: small, and the same on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  uint32_t below(size_t bound) { return static_cast<uint32_t>(next() % bound); }

 private:
  uint64_t state_;
};

std::string text(Site site) {
  const std::string file = site.file;
  const size_t slash = file.rfind('/');
  return (slash == std::string::npos ? file : file.substr(slash + 1)) + ":" +
         std::to_string(site.line);
}

// What a lane gives to a multiplication of matrices.
struct MatrixOperands {
  kr_matrix8x8* sum;
  const kr_matrix8x8* a;
  const kr_matrix8x8* b;
};

// Where the elements of an 8 x 8 matrix, by row, lie among the lanes' shares.
class MatrixLayout {
 public:
  explicit MatrixLayout(Random random) {
    for (uint32_t i = 0; i < kMatrixElements; ++i) places_[i] = i;
    for (uint32_t i = kMatrixElements; i > 1; --i) {
      std::swap(places_[i - 1], places_[random.below(i)]);
    }
    for (uint32_t i = 0; i < kMatrixElements; ++i) elements_[places_[i]] = i;
  }
  uint32_t lane(uint32_t element) const { return places_[element] / kShare; }
  uint32_t index(uint32_t element) const { return places_[element] % kShare; }
  uint32_t element(uint32_t lane, uint32_t index) const { return elements_[lane * kShare + index]; }

  static constexpr uint32_t kShare = kMatrixElements / kSimdLanes;

 private:
  uint32_t places_[kMatrixElements];
  uint32_t elements_[kMatrixElements];
};

// One threadgroup at a time. Reused by an OS thread's launches, for its stacks.
class Machine {
 public:
  void launch(const GpuLaunch& launch, uint64_t seed);

  // On a fiber:
  void run_thread();
  void* shared_memory(const char* name, size_t bytes);
  void wait(State state, Site site);
  uint64_t simd_op(SimdOp op, uint64_t value, uint32_t operand, Site site);
  // Index into a matrix in memory of an element of the current lane's share.
  size_t matrix_offset(uint32_t index, uint32_t stride, bool transposed) const;

 private:
  void run_group();
  bool advance(uint32_t simd);
  void resolve(Thread* lanes);
  void multiply_add(const Thread* lanes) const;
  void require_one_matrix(const Thread* lanes) const;
  void release_barrier();
  [[noreturn]] void fail(SimtFault fault, const std::string& what) const;

  const SimtKernel* kernel_ = nullptr;
  const DialectParams* params_ = nullptr;
  Random random_{0};
  MatrixLayout layout_{Random(0)};
  Fibers fibers_;
  std::vector<Thread> threads_;
  SharedMemory shared_;
  std::vector<uint32_t> runnable_;  // simdgroups
  uint32_t current_ = 0;
  bool shared_exhausted_ = false;
};

// Never destroyed before its fibers: thread-local and owned by the OS thread.
Machine& machine() {
  thread_local Machine instance;
  return instance;
}

KR_FIBER_BASE void fiber_entry() {
  machine().run_thread();
}

void Machine::fail(SimtFault fault, const std::string& what) const {
  throw SimtError(fault, std::string("[simt.") + kernel_->name + "] " + what);
}

KR_FIBER_BASE void Machine::run_thread() {
  fibers_.entered();
  kernel_->run(*params_, threads_[current_].self);
  wait(State::kDone, {"", 0});
}

KR_FIBER_BASE void Machine::wait(State state, Site site) {
  threads_[current_].state = state;
  threads_[current_].site = site;
  fibers_.suspend();
}

uint64_t Machine::simd_op(SimdOp op, uint64_t value, uint32_t operand, Site site) {
  Thread& thread = threads_[current_];
  thread.op = op;
  thread.value = value;
  thread.operand = operand;
  wait(State::kAtSimd, site);
  return thread.value;
}

size_t Machine::matrix_offset(uint32_t index, uint32_t stride, bool transposed) const {
  const uint32_t element = layout_.element(current_ % kSimdLanes, index);
  const size_t row = element / kMatrixDim, column = element % kMatrixDim;
  return transposed ? column * stride + row : row * stride + column;
}

void* Machine::shared_memory(const char* name, size_t bytes) {
  void* memory = shared_.find_or_add(name, bytes);
  if (memory == nullptr) {
    shared_exhausted_ = true;
    for (;;) wait(State::kDone, {name, 0});  // the scheduler gives the launch up
  }
  return memory;
}

template <class T, class Combine>
T reduced(const Thread* lanes, Combine combine) {
  T values[kSimdLanes];
  for (uint32_t i = 0; i < kSimdLanes; ++i) values[i] = bits_as<T>(lanes[i].value);
  // As a butterfly of kr_shuffle_xor adds.
  for (uint32_t half = kSimdLanes / 2; half > 0; half /= 2) {
    for (uint32_t i = 0; i < half; ++i) values[i] = combine(values[i], values[i + half]);
  }
  return values[0];
}

// One fma per element of k, in order.
void Machine::multiply_add(const Thread* lanes) const {
  const auto operands = [&](uint32_t element) -> const MatrixOperands& {
    return *reinterpret_cast<const MatrixOperands*>(lanes[layout_.lane(element)].value);
  };
  float a[kMatrixElements], b[kMatrixElements];
  for (uint32_t i = 0; i < kMatrixElements; ++i) {
    a[i] = operands(i).a->of_emulator(layout_.index(i));
    b[i] = operands(i).b->of_emulator(layout_.index(i));
  }
  for (uint32_t i = 0; i < kMatrixElements; ++i) {
    float& sum = operands(i).sum->of_emulator(layout_.index(i));
    for (uint32_t k = 0; k < kMatrixDim; ++k) {
      sum = std::fma(a[i / kMatrixDim * kMatrixDim + k], b[k * kMatrixDim + i % kMatrixDim], sum);
    }
  }
}

// Of a load, store or fill.
void Machine::require_one_matrix(const Thread* lanes) const {
  for (uint32_t i = 1; i < kSimdLanes; ++i) {
    if (lanes[i].value == lanes[0].value && lanes[i].operand == lanes[0].operand) continue;
    fail(SimtFault::kSimdDivergence,
         "lanes name different matrices at " + text(lanes[0].site) + "; it must be one");
  }
}

// The lanes of a simdgroup are all at the same SIMD operation.
void Machine::resolve(Thread* lanes) {
  uint64_t in[kSimdLanes];
  for (uint32_t i = 0; i < kSimdLanes; ++i) in[i] = lanes[i].value;
  const auto spread = [&](auto result) {
    for (uint32_t i = 0; i < kSimdLanes; ++i) lanes[i].value = bits_as<uint64_t>(result);
  };
  const auto add = [](auto a, auto b) { return a + b; };
  const auto larger = [](auto a, auto b) { return std::max(a, b); };
  switch (lanes[0].op) {
    case SimdOp::kBarrier:
      break;
    case SimdOp::kShuffleXor:
      for (uint32_t i = 0; i < kSimdLanes; ++i) {
        lanes[i].value = in[(i ^ lanes[i].operand) % kSimdLanes];
      }
      break;
    case SimdOp::kShuffleUp:
      for (uint32_t i = lanes[0].operand; i < kSimdLanes; ++i) {
        lanes[i].value = in[i - lanes[0].operand];
      }
      break;
    case SimdOp::kSumF32:
      return spread(reduced<float>(lanes, add));
    case SimdOp::kMaxF32:
      return spread(reduced<float>(lanes, [](float a, float b) { return std::fmax(a, b); }));
    case SimdOp::kSumU32:
      return spread(reduced<uint32_t>(lanes, add));
    case SimdOp::kMaxU32:
      return spread(reduced<uint32_t>(lanes, larger));
    case SimdOp::kMinU32:
      return spread(
          reduced<uint32_t>(lanes, [](uint32_t a, uint32_t b) { return std::min(a, b); }));
    case SimdOp::kSumU64:
      return spread(reduced<uint64_t>(lanes, add));
    case SimdOp::kMatrixFill:
    case SimdOp::kMatrixLoad:
    case SimdOp::kMatrixStore:
      return require_one_matrix(lanes);
    case SimdOp::kMatrixMultiplyAdd:
      return multiply_add(lanes);
  }
}

// Runs a simdgroup to its next meeting; false when it can go no further by itself.
bool Machine::advance(uint32_t simd) {
  Thread* lanes = threads_.data() + simd * kSimdLanes;
  const uint32_t order = random_.below(kSimdLanes);
  for (uint32_t i = 0; i < kSimdLanes; ++i) {
    current_ = simd * kSimdLanes + (i ^ order);
    if (threads_[current_].state == State::kReady) fibers_.resume(current_);
    if (shared_exhausted_) {
      fail(SimtFault::kSharedLimit, std::string("threadgroup array ") +
                                        threads_[current_].site.file + " does not fit into " +
                                        std::to_string(kMaxSharedBytes) +
                                        " bytes, the smallest device's");
    }
  }
  const auto at_simd = static_cast<uint32_t>(std::count_if(
      lanes, lanes + kSimdLanes, [](const Thread& t) { return t.state == State::kAtSimd; }));
  if (at_simd == 0) return false;
  const Thread& first = *std::find_if(lanes, lanes + kSimdLanes,
                                      [](const Thread& t) { return t.state == State::kAtSimd; });
  if (at_simd != kSimdLanes) {
    fail(SimtFault::kSimdDivergence, std::to_string(at_simd) +
                                         " of 32 lanes reach the operation at " + text(first.site) +
                                         "; all must");
  }
  for (uint32_t i = 1; i < kSimdLanes; ++i) {
    if (lanes[i].op != first.op || lanes[i].site.line != first.site.line) {
      fail(SimtFault::kSimdDivergence, "lanes are at different operations, " + text(first.site) +
                                           " and " + text(lanes[i].site));
    }
  }
  resolve(lanes);
  for (uint32_t i = 0; i < kSimdLanes; ++i) lanes[i].state = State::kReady;
  return true;
}

// No simdgroup can go on: all are at one barrier, or all have returned.
void Machine::release_barrier() {
  const Thread* waiting = nullptr;
  uint32_t done = 0;
  for (const Thread& thread : threads_) {
    if (thread.state == State::kDone) {
      ++done;
      continue;
    }
    if (waiting == nullptr) waiting = &thread;
    if (thread.site.line != waiting->site.line) {
      fail(SimtFault::kBarrierDivergence, "threads wait at different barriers, " +
                                              text(waiting->site) + " and " + text(thread.site));
    }
  }
  if (waiting == nullptr) return;
  if (done > 0) {
    fail(SimtFault::kBarrierDivergence,
         std::to_string(done) + " of " + std::to_string(threads_.size()) +
             " threads returned before the barrier at " + text(waiting->site));
  }
  for (Thread& thread : threads_) thread.state = State::kReady;
  for (uint32_t s = 0; s < threads_.size() / kSimdLanes; ++s) runnable_.push_back(s);
}

void Machine::run_group() {
  shared_.clear();
  for (size_t i = 0; i < threads_.size(); ++i) {
    fibers_.start(i, fiber_entry);
    threads_[i].state = State::kReady;
  }
  runnable_.clear();
  for (uint32_t s = 0; s < threads_.size() / kSimdLanes; ++s) runnable_.push_back(s);
  while (!runnable_.empty()) {
    uint32_t& pick = runnable_[random_.below(runnable_.size())];
    if (!advance(pick)) {
      pick = runnable_.back();
      runnable_.pop_back();
    }
    if (runnable_.empty()) release_barrier();
  }
  if (const char* array = shared_.overrun()) {
    fail(SimtFault::kSharedOverrun,
         std::string("something was written outside threadgroup array ") + array);
  }
  for (size_t i = 0; i < threads_.size(); ++i) {
    if (!fibers_.stack_intact(i)) {
      fail(SimtFault::kStackOverflow,
           "a thread needs more than " + std::to_string(Fibers::kStackBytes) + " bytes of stack");
    }
  }
}

void Machine::launch(const GpuLaunch& launch, uint64_t seed) {
  kernel_ = static_cast<const SimtKernel*>(launch.kernel);
  const uint32_t count = launch.block.x;
  if (launch.params_bytes != sizeof(DialectParams) || launch.block.y != 1 || launch.block.z != 1 ||
      count == 0 || count % kSimdLanes != 0 || count > kernel_->max_threads) {
    fail(SimtFault::kBadLaunch, std::to_string(count) +
                                    " threads; needs whole simdgroups, at most " +
                                    std::to_string(kernel_->max_threads) + ", and DialectParams");
  }
  DialectParams params;
  std::memcpy(&params, launch.params, sizeof(params));
  params_ = &params;
  random_ = Random(seed);
  layout_ = MatrixLayout(Random(~seed));
  shared_exhausted_ = false;
  fibers_.reserve(count);
  threads_.assign(count, {});

  const Dim3& grid = launch.grid;
  std::vector<uint32_t> groups(size_t{grid.x} * grid.y * grid.z);
  for (uint32_t i = 0; i < groups.size(); ++i) groups[i] = i;
  for (size_t i = groups.size(); i > 1; --i) std::swap(groups[i - 1], groups[random_.below(i)]);
  for (const uint32_t group : groups) {
    for (uint32_t i = 0; i < count; ++i) {
      threads_[i].self = {group % grid.x,
                          group / grid.x % grid.y,
                          group / grid.x / grid.y,
                          grid.x,
                          grid.y,
                          grid.z,
                          i,
                          count,
                          i % kSimdLanes,
                          i / kSimdLanes,
                          count / kSimdLanes};
    }
    run_group();
  }
}

}  // namespace

void* shared_memory(const char* name, size_t bytes) {
  return machine().shared_memory(name, bytes);
}

void barrier(Site site) {
  machine().wait(State::kAtBarrier, site);
}

uint64_t simd_op(SimdOp op, uint64_t value, uint32_t operand, Site site) {
  return machine().simd_op(op, value, operand, site);
}

void matrix_fill(kr_matrix8x8& matrix, float value, Site site) {
  for (uint32_t i = 0; i < MatrixLayout::kShare; ++i) matrix.of_emulator(i) = value;
  machine().simd_op(SimdOp::kMatrixFill, bits_as<uint64_t>(value), 0, site);
}

// A lane reads its share when it comes and writes it when it goes, so that a missing barrier of the
// simdgroup shows.
void matrix_load(kr_matrix8x8& matrix, const float* from, uint32_t stride, bool transposed,
                 Site site) {
  for (uint32_t i = 0; i < MatrixLayout::kShare; ++i) {
    matrix.of_emulator(i) = from[machine().matrix_offset(i, stride, transposed)];
  }
  machine().simd_op(SimdOp::kMatrixLoad, bits_as<uint64_t>(from), stride * 2 + (transposed ? 1 : 0),
                    site);
}

void matrix_store(const kr_matrix8x8& matrix, float* to, uint32_t stride, Site site) {
  machine().simd_op(SimdOp::kMatrixStore, bits_as<uint64_t>(to), stride, site);
  for (uint32_t i = 0; i < MatrixLayout::kShare; ++i) {
    to[machine().matrix_offset(i, stride, false)] = matrix.of_emulator(i);
  }
}

void matrix_multiply_add(kr_matrix8x8& sum, const kr_matrix8x8& a, const kr_matrix8x8& b,
                         Site site) {
  const MatrixOperands operands{&sum, &a, &b};
  machine().simd_op(SimdOp::kMatrixMultiplyAdd, bits_as<uint64_t>(&operands), 0, site);
}

float half_to_f32(uint16_t half) {
  const uint32_t magnitude = half & 0x7fffu;
  // Moves the exponent's bias from 15 to 127; exact for subnormals too.
  const auto scaled = bits_as<uint32_t>(bits_as<float>(magnitude << 13) * 0x1p112f);
  const uint32_t special = magnitude >= 0x7c00u ? 0x7f800000u : 0;
  return bits_as<float>(scaled | special | (half & 0x8000u) << 16);
}

// After F. Giesen, float_to_half_fast3_rtne (public domain).
uint16_t f32_to_half(float value) {
  const auto bits = bits_as<uint32_t>(value);
  const uint32_t sign = bits >> 16 & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 143u << 23) return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude < 113u << 23) {
    const auto tiny = bits_as<uint32_t>(bits_as<float>(magnitude) + 0.5f) - bits_as<uint32_t>(0.5f);
    return static_cast<uint16_t>(sign | tiny);
  }
  const uint32_t odd = magnitude >> 13 & 1u;
  return static_cast<uint16_t>(sign | (magnitude - (112u << 23) + 0xfffu + odd) >> 13);
}

uint16_t f32_to_bfloat(float value) {
  const auto bits = bits_as<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

}  // namespace simt

void simt_launch(const GpuLaunch& launch, uint64_t seed) {
  simt::machine().launch(launch, seed);
}

}  // namespace krserve::kernels
