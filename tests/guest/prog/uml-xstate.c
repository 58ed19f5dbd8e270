/* SPDX-License-Identifier: BSD-3-Clause
 * Preloaded into linux.uml: lets its 6.1 kernel run on processors with AMX.
 *
 * That kernel saves a guest process's vector registers in a buffer of 2696 bytes (up to AVX-512 and
 * PKRU) and restores them with PTRACE_SETREGSET of that length. The host takes only its full
 * length: where the processor has AMX tiles, 11008 bytes, the call fails with EFAULT and the
 * guest's init dies of SIGSEGV. No guest process can use tiles, since the guest kernel cannot
 * permit them, so their initial state is the right one: hand the host a long enough buffer with
 * zeros behind. */
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

/* The header of the XSAVE area: which components are not in their initial state. */
#define XSTATE_BV_OFFSET 512
/* Components that fit in 2696 bytes: x87, SSE, AVX, MPX, AVX-512, PKRU. */
#define XSTATE_KEPT 0x2ffull

static long (*next_ptrace)(enum __ptrace_request, ...);

/* Longer than any processor's area: the host uses as much as it needs. Static, because the kernel's
 * stacks are small; the guest kernel traces from one thread only. */
static char area[64 * 1024] __attribute__((aligned(64)));

__attribute__((constructor)) static void find_ptrace(void)
{
    void *p = dlsym(RTLD_NEXT, "ptrace");

    memcpy(&next_ptrace, &p, sizeof(p));
}

static long set_xstate(long pid, const struct iovec *given)
{
    struct iovec iov = {.iov_base = area, .iov_len = sizeof(area)};
    uint64_t bv;

    memcpy(area, given->iov_base, given->iov_len);
    memcpy(&bv, area + XSTATE_BV_OFFSET, sizeof(bv));
    bv &= XSTATE_KEPT;
    memcpy(area + XSTATE_BV_OFFSET, &bv, sizeof(bv));
    return next_ptrace(PTRACE_SETREGSET, pid, (void *)NT_X86_XSTATE, &iov);
}

long ptrace(enum __ptrace_request request, ...)
{
    va_list ap;
    long pid;
    void *addr, *data;

    va_start(ap, request);
    pid = va_arg(ap, long);
    addr = va_arg(ap, void *);
    data = va_arg(ap, void *);
    va_end(ap);
    if (request == PTRACE_SETREGSET && addr == (void *)NT_X86_XSTATE) {
        const struct iovec *given = data;

        if (given->iov_len >= XSTATE_BV_OFFSET + sizeof(uint64_t) && given->iov_len < sizeof(area))
            return set_xstate(pid, given);
    }
    return next_ptrace(request, pid, addr, data);
}
