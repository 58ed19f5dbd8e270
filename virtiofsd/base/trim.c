/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls madvise */
#include "virtiofsd/base/trim.h"

#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* Read-only segments hold nothing that the file does not. */
static int trim_object(struct dl_phdr_info *info, size_t size, void *user)
{
    uintptr_t mask = ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);

    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || (p->p_flags & PF_W))
            continue;
        uintptr_t start = (info->dlpi_addr + p->p_vaddr) & mask;
        uintptr_t end = (info->dlpi_addr + p->p_vaddr + p->p_memsz + ~mask) & mask;
        madvise((void *)start, end - start, MADV_DONTNEED);
    }
    return 0;
}

void trim_startup_pages(void)
{
    malloc_trim(0);
    dl_iterate_phdr(trim_object, NULL);
}
