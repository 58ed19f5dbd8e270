/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/broker-run.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

void broker_everywhere(const char *share, sb_run_fn *body)
{
    static const enum sb_mode modes[] = {SB_NAMESPACE, SB_CHROOT, SB_NONE};
    static const enum sb_action actions[] = {SB_ACTION_NONE, SB_ACTION_KILL};

    for (size_t i = 0; i < COUNT(modes) * COUNT(actions); i++) {
        struct sb_run run = {
            .cfg = {.mode = modes[i / 2],
                    .shared_dir = share,
                    .file_handles = true,
                    .fenced = true,
                    .seccomp = SB_ACTION_KILL},
            .seccomp = actions[i % 2],
        };
        int status = sb_run(&run, body, NULL);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == SB_RUN_IMPOSSIBLE)
            skip();
        if (WEXITSTATUS(status) != 0)
            print_error("mode %d, action %d\n", modes[i / 2], actions[i % 2]);
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

int broker_make(const struct sb_result *r, const char *name)
{
    int fd = openat(r->root_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, name, strlen(name)) != (ssize_t)strlen(name))
        return -1;
    close(fd);
    return openat(r->root_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

bool broker_begin(const struct sb_result *r, uint64_t *mount)
{
    int top = openat(r->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return r->channels == BROKER_CHANNELS && top >= 0 &&
           peer_mount(r->channel[0], top, mount) == 0 && close(top) == 0;
}
