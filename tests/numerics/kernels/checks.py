"""The assembly round a kernel under test, linked into its blob: it looks at what a kernel must keep."""

from __future__ import annotations

CONTROL_WORD = 0x9FC0  # MXCSR as a plan sets it: denormals flushed, all exceptions masked, round to nearest
SENTINELS = tuple(0x5A00_1111_2222_3333 + index for index in range(6))  # in rbx, rbp, r12, r13, r14, r15
STATE = 128

REPORT = 100
"""The file descriptor the handler of crashes writes to."""

_REGISTERS = ("rbx", "rbp", "r12", "r13", "r14", "r15")

_CHECK = f"""
.text
.globl strop_check
.p2align 4
strop_check:
{"".join(f"push %{name};" for name in _REGISTERS)}
push %rdx
stmxcsr 64(%rdx)
ldmxcsr 72(%rdx)
{"".join(f"movabs ${value:#x}, %{name};" for name, value in zip(_REGISTERS, SENTINELS, strict=True))}
mov %rdi, %rax
mov %rsi, %rdi
call *%rax
mov (%rsp), %rdx
{"".join(f"mov %{name}, {8 * index}(%rdx);" for index, name in enumerate(_REGISTERS))}
stmxcsr 48(%rdx)
fnstcw 52(%rdx)
pushfq
pop %rax
mov %rax, 56(%rdx)
cld
ldmxcsr 64(%rdx)
pop %rdx
{"".join(f"pop %{name};" for name in reversed(_REGISTERS))}
ret
.globl strop_handler
.p2align 4
strop_handler:
sub $64, %rsp
movl $0xffffffff, 4(%rsp)
movslq %edi, %rdi
mov %rdi, 8(%rsp)
mov 16(%rsi), %rax
mov %rax, 16(%rsp)
mov 168(%rdx), %rax
mov %rax, 24(%rsp)
mov 192(%rdx), %rax
mov %rax, 32(%rsp)
mov ${REPORT}, %edi
lea 4(%rsp), %rsi
mov $36, %edx
mov $1, %eax
syscall
mov $70, %edi
mov $231, %eax
syscall
"""

CHECKS = 'target triple = "x86_64-unknown-linux-gnu"\n' + "".join(
    f'module asm "{line.strip()}"\n' for line in _CHECK.replace(";", "\n").splitlines() if line.strip()
)
"""A module of LLVM IR with two functions:

strop_check(function, record, state) calls function(record) and notes in `state` six registers, MXCSR, the x87 control
word and the flags, as the function left them; strop_handler(signal, its information, context) writes the signal, the
address, the instruction and the page fault's error code to REPORT and ends the process.
"""
