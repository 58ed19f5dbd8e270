/* SPDX-License-Identifier: BSD-3-Clause
 * The window's messages against front-ends that keep different rules. */
#include "dax/dax-vu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/fe-shmem.h"
#include "vhost-user/vu-backend-priv.h"

#define WINDOW (UINT64_C(4) << 20)

struct fixture {
    struct fe_shmem fe;
    struct vu_backend channel;
    struct dax_vu *vu;
    uint64_t page;
    int fd; /* a file of four pages, each byte its page's number + 1 */
};

static void make_file(struct fixture *f)
{
    f->page = (uint64_t)sysconf(_SC_PAGESIZE);
    f->fd = memfd_create("file", MFD_CLOEXEC);
    g_autofree char *bytes = g_malloc(4 * f->page);
    for (unsigned i = 0; i < 4; i++)
        memset(bytes + i * f->page, (int)i + 1, f->page);
    assert_int_equal(write(f->fd, bytes, 4 * f->page), 4 * f->page);
}

static void up(struct fixture *f, enum fe_shmem_kind kind, enum dax_dialect_name dialect)
{
    make_file(f);
    assert_int_equal(fe_shmem_start(&f->fe, kind, WINDOW), 0);
    vu_backend_init(&f->channel);
    assert_int_equal(vu_backend_set(&f->channel, dup(f->fe.channel), -1), 0);
    vu_backend_negotiated(&f->channel, true, true, false);
    vu_backend_asked_shmem(&f->channel);
    vu_backend_resume(&f->channel);
    f->vu = dax_vu_new(dax_dialect_of(dialect), &f->channel);
}

static void down(struct fixture *f)
{
    dax_vu_free(f->vu);
    vu_backend_fini(&f->channel);
    fe_shmem_stop(&f->fe);
    assert_int_equal(f->fe.malformed, 0);
    assert_int_equal(f->fe.grown, 0);
    assert_int_equal(f->fe.overlapped, 0);
    close(f->fd);
}

static int map_page(struct fixture *f, uint64_t fd_offset, uint64_t at)
{
    return dax_vu_ops.map(f->vu, f->fd, fd_offset, at, f->page, true);
}

static void names_and_bits(void **state)
{
    assert_int_equal(dax_dialect_bit(dax_dialect_of(DAX_DIALECT_AUTO)), 22);
    assert_int_equal(dax_dialect_bit(dax_dialect_of(DAX_DIALECT_ALIOTH)), 21);
    assert_false(dax_dialect_mem_slots(dax_dialect_of(DAX_DIALECT_QEMU)));
    assert_false(dax_dialect_mem_slots(dax_dialect_of(DAX_DIALECT_AUTO)));
    assert_true(dax_dialect_mem_slots(dax_dialect_of(DAX_DIALECT_ALIOTH)));
}

static void maps_what_it_is_told(void **state)
{
    struct fixture f;
    struct dax_caps caps;
    up(&f, FE_SHMEM_QEMU, DAX_DIALECT_AUTO);
    assert_int_equal(dax_vu_ops.probe(f.vu, &caps), 0);
    assert_int_equal(map_page(&f, 2 * f.page, f.page), 0);
    assert_int_equal(*fe_shmem_at(&f.fe, f.page), 3);
    assert_int_equal(*fe_shmem_at(&f.fe, 2 * f.page - 1), 3);
    *fe_shmem_at(&f.fe, f.page) = 99;
    uint8_t byte = 0;
    assert_int_equal(pread(f.fd, &byte, 1, (off_t)(2 * f.page)), 1);
    assert_int_equal(byte, 99);
    assert_int_equal(map_page(&f, 0, f.page), -EIO); /* something is there */
    assert_int_equal(dax_vu_ops.unmap(f.vu, f.page, 2 * f.page), -EIO);
    assert_int_equal(dax_vu_ops.unmap(f.vu, f.page, f.page), 0);
    assert_int_equal(*fe_shmem_at(&f.fe, f.page), 0);
    assert_int_equal(dax_vu_ops.unmap(f.vu, f.page, f.page), -EIO);
    down(&f);
}

static void probe_of(enum fe_shmem_kind kind, enum dax_dialect_name dialect, bool readonly,
                     bool tail)
{
    struct fixture f;
    struct dax_caps caps;
    memset(&caps, 0xff, sizeof(caps));
    up(&f, kind, dialect);
    assert_int_equal(dax_vu_ops.probe(f.vu, &caps), 0);
    assert_int_equal(caps.readonly_fd, readonly);
    assert_int_equal(caps.tail, tail);
    assert_int_equal(fe_shmem_get(&f.fe, &f.fe.nmaps), 0);
    down(&f);
}

static void probe_finds_out(void **state)
{
    probe_of(FE_SHMEM_QEMU, DAX_DIALECT_AUTO, false, false);
    probe_of(FE_SHMEM_CROSVM, DAX_DIALECT_AUTO, true, true);
    probe_of(FE_SHMEM_QEMU, DAX_DIALECT_STANDARD, false, false);
    probe_of(FE_SHMEM_CROSVM, DAX_DIALECT_ALIOTH, true, true);
}

static void what_is_known_is_not_asked(void **state)
{
    static const enum dax_dialect_name names[] = {DAX_DIALECT_QEMU, DAX_DIALECT_CROSVM};
    for (unsigned i = 0; i < 2; i++) {
        struct fixture f;
        struct dax_caps caps;
        up(&f, i ? FE_SHMEM_CROSVM : FE_SHMEM_QEMU, names[i]);
        assert_int_equal(dax_vu_ops.probe(f.vu, &caps), 0);
        assert_int_equal(caps.readonly_fd, i);
        assert_int_equal(caps.tail, i);
        assert_int_equal(fe_shmem_requests(&f.fe), 0);
        down(&f);
    }
}

static void no_window(void **state)
{
    struct fixture f;
    struct dax_caps caps;
    /* It refuses all. */
    up(&f, FE_SHMEM_QEMU, DAX_DIALECT_AUTO);
    fe_shmem_set_fault(&f.fe, FE_SHMEM_REFUSE, 0);
    assert_int_equal(dax_vu_ops.probe(f.vu, &caps), -EOPNOTSUPP);
    down(&f);
    /* It maps, but does not unmap. */
    up(&f, FE_SHMEM_QEMU, DAX_DIALECT_AUTO);
    fe_shmem_set_fault(&f.fe, FE_SHMEM_REFUSE, 1);
    assert_int_equal(dax_vu_ops.probe(f.vu, &caps), -EIO);
    down(&f);
    /* The channel breaks while a tail is tried. */
    up(&f, FE_SHMEM_CROSVM, DAX_DIALECT_AUTO);
    fe_shmem_set_fault(&f.fe, FE_SHMEM_CLOSE, 4);
    assert_int_equal(dax_vu_ops.probe(f.vu, &caps), -EPIPE);
    assert_int_equal(map_page(&f, 0, 0), -ENOTCONN);
    down(&f);
    /* It took the feature, as QEMU's own vhost-user-fs does, and never asked for the size. */
    up(&f, FE_SHMEM_QEMU, DAX_DIALECT_AUTO);
    vu_backend_negotiated(&f.channel, true, true, false);
    assert_int_equal(dax_vu_ops.probe(f.vu, &caps), -ENOTCONN);
    assert_int_equal(fe_shmem_requests(&f.fe), 0);
    down(&f);
}

static void commit_asks(enum fe_shmem_kind kind, enum dax_dialect_name dialect, unsigned times)
{
    struct fixture f;
    struct dax_caps caps;
    up(&f, kind, dialect);
    assert_int_equal(dax_vu_ops.probe(f.vu, &caps), 0);
    assert_int_equal(dax_vu_ops.commit(f.vu), 0);
    assert_int_equal(fe_shmem_get(&f.fe, &f.fe.others), times);
    down(&f);
}

static void commit_where_it_is_needed(void **state)
{
    commit_asks(FE_SHMEM_QEMU, DAX_DIALECT_AUTO, 1);
    commit_asks(FE_SHMEM_CROSVM, DAX_DIALECT_AUTO, 0);
    commit_asks(FE_SHMEM_QEMU, DAX_DIALECT_QEMU, 1);
    commit_asks(FE_SHMEM_QEMU, DAX_DIALECT_STANDARD, 0);
    commit_asks(FE_SHMEM_CROSVM, DAX_DIALECT_CROSVM, 0);
    commit_asks(FE_SHMEM_CROSVM, DAX_DIALECT_ALIOTH, 0);
}

static void commit_fails_with_the_channel(void **state)
{
    struct fixture f;
    up(&f, FE_SHMEM_QEMU, DAX_DIALECT_QEMU);
    fe_shmem_set_fault(&f.fe, FE_SHMEM_CLOSE, 0);
    assert_int_equal(dax_vu_ops.commit(f.vu), -EPIPE);
    down(&f);
}

/* crosvm keeps mappings over a reset: the one in the way is taken away once. */
static void mapping_of_before_a_reset(void **state)
{
    struct fixture f;
    up(&f, FE_SHMEM_CROSVM, DAX_DIALECT_CROSVM);
    assert_int_equal(map_page(&f, 0, 0), 0);
    assert_int_equal(map_page(&f, f.page, 0), 0);
    assert_int_equal(*fe_shmem_at(&f.fe, 0), 2);
    assert_int_equal(fe_shmem_get(&f.fe, &f.fe.nmaps), 1);
    down(&f);
    /* QEMU drops them itself, and would be right to refuse. */
    up(&f, FE_SHMEM_QEMU, DAX_DIALECT_QEMU);
    assert_int_equal(map_page(&f, 0, 0), 0);
    assert_int_equal(map_page(&f, f.page, 0), -EIO);
    assert_int_equal(fe_shmem_get(&f.fe, &f.fe.unmaps), 0);
    down(&f);
}

static void readonly_is_readonly(void **state)
{
    struct fixture f;
    struct fe_shmem_map m;
    char path[64];
    up(&f, FE_SHMEM_CROSVM, DAX_DIALECT_CROSVM);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", f.fd);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(dax_vu_ops.map(f.vu, fd, 0, 0, f.page, true), -EIO);
    assert_int_equal(dax_vu_ops.map(f.vu, fd, 0, 0, f.page, false), 0);
    assert_true(fe_shmem_find(&f.fe, 0, &m));
    assert_false(m.writable);
    close(fd);
    down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_bits),
        cmocka_unit_test(maps_what_it_is_told),
        cmocka_unit_test(probe_finds_out),
        cmocka_unit_test(what_is_known_is_not_asked),
        cmocka_unit_test(no_window),
        cmocka_unit_test(commit_where_it_is_needed),
        cmocka_unit_test(commit_fails_with_the_channel),
        cmocka_unit_test(mapping_of_before_a_reset),
        cmocka_unit_test(readonly_is_readonly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
