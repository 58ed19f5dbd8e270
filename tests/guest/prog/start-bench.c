/* SPDX-License-Identifier: BSD-3-Clause
 * How long a program takes from its start to its end, in a guest: `start-bench ROOT RUNS PROGRAM
 * [ARGUMENT]...` runs PROGRAM with ROOT as its root directory, once and then RUNS times more.
 * Prints the first time and the median of the others, in milliseconds. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_RUNS 1000

static void die(const char *what)
{
    fprintf(stderr, "start-bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void run_child(const char *root, char **argv)
{
    int out = open("/dev/null", O_WRONLY);
    if (out < 0 || dup2(out, STDOUT_FILENO) < 0 || chroot(root) < 0 || chdir("/") < 0)
        die(root);
    execvp(argv[0], argv);
    die(argv[0]);
}

/* One run. Returns its time. */
static double run(const char *root, char **argv)
{
    int status = 0;
    double start = now_ms();
    pid_t pid = fork();
    if (pid == 0)
        run_child(root, argv);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        die("fork");
    double took = now_ms() - start;
    if (status != 0) {
        fprintf(stderr, "start-bench: %s: wait status %#x\n", argv[0], (unsigned)status);
        exit(1);
    }
    return took;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static double took[MAX_RUNS];
    int runs = argc > 3 ? atoi(argv[2]) : 0;
    if (runs < 1 || runs > MAX_RUNS) {
        fprintf(stderr, "usage: start-bench ROOT RUNS PROGRAM [ARGUMENT]...\n");
        return 2;
    }
    double first = run(argv[1], argv + 3);
    for (int i = 0; i < runs; i++)
        took[i] = run(argv[1], argv + 3);
    qsort(took, (size_t)runs, sizeof(took[0]), by_value);
    printf("%.2f %.2f\n", first,
           runs % 2 ? took[runs / 2] : (took[runs / 2 - 1] + took[runs / 2]) / 2);
    return 0;
}
