"""A loop of instructions in a bare virtual CPU: run as a program of its own, so that it can be killed.

Prints the nanoseconds that one instruction takes: about 1 where the processor runs the guest,
thousands where the host's KVM emulates it. Standard library only; no import of ours.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
import time

LOOP = 30_000  # instructions

# include/uapi/linux/kvm.h
CREATE_VM, CREATE_VCPU, RUN = 0xAE01, 0xAE41, 0xAE80
GET_VCPU_MMAP_SIZE, SET_USER_MEMORY = 0xAE04, 0x4020AE46
GET_SREGS, SET_SREGS, SET_REGS = 0x8138AE83, 0x4138AE84, 0x4090AE82
EXIT_HLT = 5
PAGE, ENTRY = 4096, 0x1000


def nanoseconds() -> float:
    """Runs the loop in real mode; nanoseconds an instruction. Raises OSError, or RuntimeError if it went astray."""
    kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    vm = fcntl.ioctl(kvm, CREATE_VM, 0)
    # mov ecx, LOOP / 2; 1: dec ecx; jnz 1b; hlt  (two instructions a round)
    code = b"\x66\xb9" + struct.pack("<I", LOOP // 2) + b"\x66\x49\x75\xfc\xf4"
    memory = mmap.mmap(-1, PAGE)
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fcntl.ioctl(vm, SET_USER_MEMORY, struct.pack("<IIQQQ", 0, 0, ENTRY, PAGE, address))
    cpu = fcntl.ioctl(vm, CREATE_VCPU, 0)
    run = mmap.mmap(cpu, fcntl.ioctl(kvm, GET_VCPU_MMAP_SIZE, 0))
    special = bytearray(312)  # struct kvm_sregs
    fcntl.ioctl(cpu, GET_SREGS, special)
    special[0:8] = bytes(8)  # cs.base
    special[12:14] = bytes(2)  # cs.selector
    fcntl.ioctl(cpu, SET_SREGS, bytes(special))
    registers = [0] * 18  # struct kvm_regs
    registers[16], registers[17] = ENTRY, 2  # rip, rflags
    fcntl.ioctl(cpu, SET_REGS, struct.pack("<18Q", *registers))
    begin = time.perf_counter_ns()
    fcntl.ioctl(cpu, RUN, 0)
    taken = time.perf_counter_ns() - begin
    reason = struct.unpack_from("<I", run, 8)[0]
    if reason != EXIT_HLT:
        raise RuntimeError(f"the virtual CPU stopped for reason {reason}")
    return taken / LOOP


if __name__ == "__main__":
    print(nanoseconds())
