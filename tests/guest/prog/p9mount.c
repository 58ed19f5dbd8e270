/* SPDX-License-Identifier: BSD-3-Clause
 * Mounts 9P with trans=fd: the kernel is handed a connected socket. For what it cannot connect to
 * by itself, a vsock peer, and for a server that inherits its end of a pair. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

static void fail(const char *what)
{
    fprintf(stderr, "p9mount: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int connect_vsock(const char *cid, const char *port)
{
    struct sockaddr_vm a = {
        .svm_family = AF_VSOCK,
        .svm_cid = (unsigned)atoi(cid),
        .svm_port = (unsigned)atoi(port),
    };
    int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        fail("vsock");
    return fd;
}

/* Start @argv with the other end of a pair as descriptor 9. */
static int start_server(char **argv)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        fail("socketpair");
    pid_t pid = fork();
    if (pid < 0)
        fail("fork");
    if (pid == 0) {
        if (dup2(pair[1], 9) < 0)
            fail("dup2");
        execv(argv[0], argv);
        fail(argv[0]);
    }
    close(pair[1]);
    return pair[0];
}

int main(int argc, char **argv)
{
    char options[256];
    int fd;

    if (argc == 6 && strcmp(argv[3], "vsock") == 0) {
        fd = connect_vsock(argv[4], argv[5]);
    } else if (argc > 4 && strcmp(argv[3], "run") == 0) {
        fd = start_server(argv + 4);
    } else {
        fprintf(stderr, "usage: p9mount DIR OPTIONS vsock CID PORT | run SERVER [ARGUMENT]...\n"
                        "The server inherits its connection as descriptor 9.\n");
        return 2;
    }
    snprintf(options, sizeof(options), "trans=fd,rfdno=%d,wfdno=%d,%s", fd, fd, argv[2]);
    if (mount("p9mount", argv[1], "9p", 0, options) < 0)
        fail("mount");
    return 0;
}
