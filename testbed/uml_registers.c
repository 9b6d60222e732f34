/* A ptrace(2) for user-mode Linux on a CPU with a large register state. Loaded by LD_PRELOAD (testbed/uml.py).
 *
 * User-mode Linux 6.1 restores registers with PTRACE_SETREGSET and a buffer of 2,696 bytes. The host accepts a buffer
 * of its whole XSAVE area only (xstateregs_set in arch/x86/kernel/fpu/regset.c): 11,008 bytes on a CPU with AMX. The
 * call fails with EFAULT, and the kernel panics in put_fp_registers. Here what the buffer lacks is taken from the
 * process itself, where it is in its initial state.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif
enum { WHOLE_BYTES = 64 * 1024 };

long ptrace(enum __ptrace_request request, ...)
{
    static long (*libc_ptrace)(enum __ptrace_request, ...);
    static char whole[WHOLE_BYTES] __attribute__((aligned(64)));
    va_list arguments;
    va_start(arguments, request);
    pid_t pid = va_arg(arguments, pid_t);
    void *address = va_arg(arguments, void *);
    void *data = va_arg(arguments, void *);
    va_end(arguments);

    if (!libc_ptrace)
        libc_ptrace = (long (*)(enum __ptrace_request, ...))dlsym(RTLD_NEXT, "ptrace");
    if (request != PTRACE_SETREGSET || address != (void *)NT_X86_XSTATE)
        return libc_ptrace(request, pid, address, data);

    struct iovec *given = data, filled = {whole, WHOLE_BYTES};
    if (libc_ptrace(PTRACE_GETREGSET, pid, address, &filled) < 0 || filled.iov_len <= given->iov_len)
        return libc_ptrace(request, pid, address, data);
    memcpy(whole, given->iov_base, given->iov_len);
    return libc_ptrace(request, pid, address, &filled);
}
