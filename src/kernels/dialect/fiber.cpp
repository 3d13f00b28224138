#include "kernels/dialect/fiber.h"

#include <cstdint>
#include <cstring>

#if defined(__SANITIZE_ADDRESS__)
#define KR_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define KR_TSAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KR_ASAN 1
#elif __has_feature(thread_sanitizer)
#define KR_TSAN 1
#endif
#endif
#ifdef KR_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#ifdef KR_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__APPLE__)
#define KR_SWITCH_SYMBOL "_kr_simt_switch"
#else
#define KR_SWITCH_SYMBOL "kr_simt_switch"
#endif

// Saves the registers a call preserves and the stack pointer at *save, then continues at `to`.
extern "C" void kr_simt_switch(void** save, void* to);

#if defined(__x86_64__)
asm(".text\n.p2align 4\n.globl " KR_SWITCH_SYMBOL "\n" KR_SWITCH_SYMBOL
    ":\n"
    "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
    "  movq %rsp, (%rdi)\n  movq %rsi, %rsp\n"
    "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
    "  ret\n");
#elif defined(__aarch64__)
asm(".text\n.p2align 4\n.globl " KR_SWITCH_SYMBOL "\n" KR_SWITCH_SYMBOL
    ":\n"
    "  sub sp, sp, #160\n"
    "  stp x19, x20, [sp, #0]\n  stp x21, x22, [sp, #16]\n  stp x23, x24, [sp, #32]\n"
    "  stp x25, x26, [sp, #48]\n  stp x27, x28, [sp, #64]\n  stp x29, x30, [sp, #80]\n"
    "  stp d8, d9, [sp, #96]\n  stp d10, d11, [sp, #112]\n  stp d12, d13, [sp, #128]\n"
    "  stp d14, d15, [sp, #144]\n"
    "  mov x9, sp\n  str x9, [x0]\n  mov sp, x1\n"
    "  ldp x19, x20, [sp, #0]\n  ldp x21, x22, [sp, #16]\n  ldp x23, x24, [sp, #32]\n"
    "  ldp x25, x26, [sp, #48]\n  ldp x27, x28, [sp, #64]\n  ldp x29, x30, [sp, #80]\n"
    "  ldp d8, d9, [sp, #96]\n  ldp d10, d11, [sp, #112]\n  ldp d12, d13, [sp, #128]\n"
    "  ldp d14, d15, [sp, #144]\n"
    "  add sp, sp, #160\n  ret\n");
#else
#error "the SIMT emulator has no context switch for this processor"
#endif

namespace krserve::kernels::simt {

namespace {

// At the far end of every stack, before the spare bytes.
constexpr uint64_t kGuard = 0x5afe57acc0ffee11;
constexpr size_t kAllBytes = Fibers::kSpareBytes + Fibers::kStackBytes;

void set_word(std::byte* at, uintptr_t value) {
  std::memcpy(at, &value, sizeof(value));
}

// The stack pointer of a fiber that will begin in entry().
void* first_frame(std::byte* stack, void (*entry)()) {
  const auto base = reinterpret_cast<uintptr_t>(stack);
  const uintptr_t top = (base + kAllBytes) / 16 * 16;
  const auto address = reinterpret_cast<uintptr_t>(entry);
#if defined(__x86_64__)
  std::byte* frame = stack + (top - base) - 64;  // six registers, entry, a return address of 0
  std::memset(frame, 0, 64);
  set_word(frame + 48, address);
#else
  std::byte* frame = stack + (top - base) - 160;
  std::memset(frame, 0, 160);
  set_word(frame + 88, address);  // x30
#endif
  return frame;
}

}  // namespace

Fibers::~Fibers() {
#ifdef KR_TSAN
  for (const Fiber& fiber : fibers_) {
    if (fiber.tsan != nullptr) __tsan_destroy_fiber(fiber.tsan);
  }
#endif
}

void Fibers::reserve(size_t count) {
  while (fibers_.size() < count) {
    fibers_.emplace_back().stack.reset(new std::byte[kAllBytes]);
  }
}

void Fibers::start(size_t index, void (*entry)()) {
  Fiber& fiber = fibers_[index];
#ifdef KR_ASAN
  // A fiber that was given up leaves its frames' red zones behind.
  ASAN_UNPOISON_MEMORY_REGION(fiber.stack.get(), kAllBytes);
#endif
#ifdef KR_TSAN
  if (fiber.tsan == nullptr) fiber.tsan = __tsan_create_fiber(0);
#endif
  fiber.fake_stack = nullptr;
  std::memcpy(fiber.stack.get() + kSpareBytes, &kGuard, sizeof(kGuard));
  fiber.pointer = first_frame(fiber.stack.get(), entry);
}

void Fibers::resume(size_t index) {
  current_ = index;
  Fiber& fiber = fibers_[index];
#ifdef KR_ASAN
  __sanitizer_start_switch_fiber(&scheduler_fake_stack_, fiber.stack.get(), kAllBytes);
#endif
#ifdef KR_TSAN
  scheduler_tsan_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(fiber.tsan, 0);
#endif
  kr_simt_switch(&scheduler_, fiber.pointer);
#ifdef KR_ASAN
  __sanitizer_finish_switch_fiber(scheduler_fake_stack_, nullptr, nullptr);
#endif
}

KR_FIBER_BASE void Fibers::suspend() {
  Fiber& fiber = fibers_[current_];
#ifdef KR_ASAN
  __sanitizer_start_switch_fiber(&fiber.fake_stack, scheduler_stack_, scheduler_stack_bytes_);
#endif
#ifdef KR_TSAN
  __tsan_switch_to_fiber(scheduler_tsan_, 0);
#endif
  kr_simt_switch(&fiber.pointer, scheduler_);
  entered();
}

KR_FIBER_BASE void Fibers::entered() {
#ifdef KR_ASAN
  __sanitizer_finish_switch_fiber(fibers_[current_].fake_stack, &scheduler_stack_,
                                  &scheduler_stack_bytes_);
#endif
}

bool Fibers::stack_intact(size_t index) const {
  return std::memcmp(fibers_[index].stack.get() + kSpareBytes, &kGuard, sizeof(kGuard)) == 0;
}

}  // namespace krserve::kernels::simt
