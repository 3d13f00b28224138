// objc_msgSend for ELF on x86-64 and AArch64, and the blocks runtime: the machine's side of the
// fake.
#include "metal/fake/objc_abi.h"

#include <cstdlib>
#include <cstring>

// Saves what may hold arguments, finds the method, and jumps to it with all as it was: so it serves
// every signature whose result is not returned in memory through a hidden first argument (AArch64's
// x8 is kept too).
#if defined(__x86_64__)
asm(R"(
.text
.globl objc_msgSend
.type objc_msgSend, @function
objc_msgSend:
.cfi_startproc
  push %rbp
.cfi_def_cfa_offset 16
.cfi_offset 6, -16
  mov %rsp, %rbp
.cfi_def_cfa_register 6
  sub $176, %rsp
  mov %rdi, 0(%rsp)
  mov %rsi, 8(%rsp)
  mov %rdx, 16(%rsp)
  mov %rcx, 24(%rsp)
  mov %r8, 32(%rsp)
  mov %r9, 40(%rsp)
  movups %xmm0, 48(%rsp)
  movups %xmm1, 64(%rsp)
  movups %xmm2, 80(%rsp)
  movups %xmm3, 96(%rsp)
  movups %xmm4, 112(%rsp)
  movups %xmm5, 128(%rsp)
  movups %xmm6, 144(%rsp)
  movups %xmm7, 160(%rsp)
  call kr_fake_objc_lookup@PLT
  mov %rax, %r11
  mov 0(%rsp), %rdi
  mov 8(%rsp), %rsi
  mov 16(%rsp), %rdx
  mov 24(%rsp), %rcx
  mov 32(%rsp), %r8
  mov 40(%rsp), %r9
  movups 48(%rsp), %xmm0
  movups 64(%rsp), %xmm1
  movups 80(%rsp), %xmm2
  movups 96(%rsp), %xmm3
  movups 112(%rsp), %xmm4
  movups 128(%rsp), %xmm5
  movups 144(%rsp), %xmm6
  movups 160(%rsp), %xmm7
  leave
.cfi_def_cfa 7, 8
  jmp *%r11
.cfi_endproc
.size objc_msgSend, .-objc_msgSend
)");
#elif defined(__aarch64__)
asm(R"(
.text
.globl objc_msgSend
.type objc_msgSend, %function
objc_msgSend:
.cfi_startproc
  stp x29, x30, [sp, #-224]!
.cfi_def_cfa_offset 224
.cfi_offset 29, -224
.cfi_offset 30, -216
  mov x29, sp
  stp x0, x1, [sp, #16]
  stp x2, x3, [sp, #32]
  stp x4, x5, [sp, #48]
  stp x6, x7, [sp, #64]
  str x8, [sp, #80]
  stp q0, q1, [sp, #96]
  stp q2, q3, [sp, #128]
  stp q4, q5, [sp, #160]
  stp q6, q7, [sp, #192]
  bl kr_fake_objc_lookup
  mov x17, x0
  ldp x0, x1, [sp, #16]
  ldp x2, x3, [sp, #32]
  ldp x4, x5, [sp, #48]
  ldp x6, x7, [sp, #64]
  ldr x8, [sp, #80]
  ldp q0, q1, [sp, #96]
  ldp q2, q3, [sp, #128]
  ldp q4, q5, [sp, #160]
  ldp q6, q7, [sp, #192]
  ldp x29, x30, [sp], #224
.cfi_restore 30
.cfi_restore 29
.cfi_def_cfa_offset 0
  br x17
.cfi_endproc
.size objc_msgSend, .-objc_msgSend
)");
#else
#error "objc_msgSend is written for x86-64 and AArch64"
#endif

extern "C" {
void* _NSConcreteStackBlock[32];
void* _NSConcreteMallocBlock[32];
}

namespace krserve::fake_metal {
namespace {

constexpr int kHasCopyDispose = 1 << 25;

RawBlock* copy_block(const RawBlock* from) {
  auto* const to = static_cast<RawBlock*>(std::malloc(from->descriptor->bytes));
  std::memcpy(static_cast<void*>(to), from, from->descriptor->bytes);
  to->isa = &_NSConcreteMallocBlock;
  if (from->flags & kHasCopyDispose) from->descriptor->copy(to, from);
  return to;
}

void free_block(RawBlock* block) {
  if (block->flags & kHasCopyDispose) block->descriptor->dispose(block);
  std::free(block);
}

}  // namespace

std::shared_ptr<RawBlock> keep_block(const RawBlock* block) {
  return block ? std::shared_ptr<RawBlock>(copy_block(block), free_block) : nullptr;
}

}  // namespace krserve::fake_metal
