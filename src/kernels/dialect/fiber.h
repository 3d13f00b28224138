// Fibers for the SIMT emulator: stacks of their own, switched on one OS thread.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

// Of functions that a fiber never leaves, or not before it is started again: ThreadSanitizer would
// count calls without returns.
#define KR_FIBER_BASE __attribute__((no_sanitize("thread")))

namespace krserve::kernels::simt {

// A number of fibers, each with a stack that is kept for the next start.
class Fibers {
 public:
  static constexpr size_t kStackBytes = 64 * 1024;
  // Behind the end of a stack, so that using too much shows instead of breaking something else.
  static constexpr size_t kSpareBytes = 16 * 1024;

  Fibers() = default;
  Fibers(const Fibers&) = delete;
  Fibers& operator=(const Fibers&) = delete;
  ~Fibers();

  // At least `count` fibers; invalidates those that run.
  void reserve(size_t count);
  size_t size() const { return fibers_.size(); }
  // The fiber will call entry() when it is first resumed; entry must end in suspend().
  void start(size_t index, void (*entry)());
  // Runs the fiber until it calls suspend().
  void resume(size_t index);
  // Called on a fiber: back to who resumed it.
  void suspend();
  // Called on a fiber before anything else.
  void entered();
  // False when the fiber has used its whole stack.
  bool stack_intact(size_t index) const;

 private:
  struct Fiber {
    std::unique_ptr<std::byte[]> stack;
    void* pointer = nullptr;  // stack pointer while suspended
    [[maybe_unused]] void* fake_stack = nullptr;
    [[maybe_unused]] void* tsan = nullptr;
  };

  std::vector<Fiber> fibers_;
  size_t current_ = 0;
  void* scheduler_ = nullptr;
  // For the sanitizers, which want to know of every switch.
  [[maybe_unused]] void* scheduler_fake_stack_ = nullptr;
  [[maybe_unused]] const void* scheduler_stack_ = nullptr;
  [[maybe_unused]] size_t scheduler_stack_bytes_ = 0;
  [[maybe_unused]] void* scheduler_tsan_ = nullptr;
};

}  // namespace krserve::kernels::simt
