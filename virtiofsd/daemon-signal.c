/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls clone exit_group rt_sigaction rt_sigprocmask rt_sigtimedwait
 * #syscalls:early alarm */
#include "virtiofsd/daemon-signal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "virtiofsd/base/aside.h"
#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/log.h"

#define GRACE_MS      1300 /* for an orderly end; the keeper waits a little longer */
#define BURST_MS      100  /* what comes so soon after a signal is the same one */
#define EARLY_S       1    /* for the start, after a signal */
#define LAST_MS       100  /* for the last line of the log */
#define REPORT_SIGNAL SIGUSR2
#define STACK_SIZE    262144 /* the sanitizers want some; little of it is touched */

static const int ends[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void (*stop_fn)(void *user);
static void *stop_user;
static bool signalled;
static pthread_mutex_t report_lock = PTHREAD_MUTEX_INITIALIZER; /* held while it is called */
static void (*report_fn)(void *user);
static void *report_user;
static atomic_bool report_due;
static volatile sig_atomic_t early; /* a signal came before the thread was there */

/* Nothing is served yet: the start goes on, to its orderly end, but not for ever. */
static void on_early(int sig)
{
    if (early)
        _exit(1);
    early = 1;
    alarm(EARLY_S);
}

/* Not ignored, or it would not be waited for; and of what is forked before the thread is there none
 * dies of a signal that was sent to all of a unit's processes. */
static void on_report(int sig)
{
}

static void on_alarm(int sig)
{
    _exit(1);
}

static sigset_t end_set(void)
{
    sigset_t set;
    sigemptyset(&set);
    for (unsigned i = 0; i < G_N_ELEMENTS(ends); i++)
        sigaddset(&set, ends[i]);
    return set;
}

void daemon_signal_early(void)
{
    struct sigaction end = {.sa_handler = on_early, .sa_flags = SA_RESTART};
    struct sigaction report = {.sa_handler = on_report, .sa_flags = SA_RESTART};
    struct sigaction over = {.sa_handler = on_alarm}, ignore = {.sa_handler = SIG_IGN};

    for (unsigned i = 0; i < G_N_ELEMENTS(ends); i++)
        sigaction(ends[i], &end, NULL);
    sigaction(SIGALRM, &over, NULL);
    sigaction(REPORT_SIGNAL, &report, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGXFSZ, &ignore, NULL); /* a write beyond RLIMIT_FSIZE is the guest's EFBIG */
}

static void say_why(void *arg)
{
    log_error("%s", (const char *)arg);
}

/* Before a call that does not return AddressSanitizer asks for the signal stack, which the filter
 * does not let it. */
#define UNCHECKED __attribute__((no_sanitize_address))

/* Whatever holds a lock or a descriptor may hang: the log is written aside. */
UNCHECKED static G_NORETURN void end_hard(const char *why)
{
    aside_run(say_why, (void *)why);
    aside_wait(LAST_MS);
    _exit(1);
}

static void begin_end(void)
{
    AUTO_LOCK(&lock);
    signalled = true;
    if (stop_fn)
        stop_fn(stop_user);
}

static void make_report(void *unused)
{
    AUTO_LOCK(&report_lock);
    atomic_store(&report_due, false);
    if (report_fn)
        report_fn(report_user);
}

/* What is asked for again before it was begun is made once. */
static void ask_report(void)
{
    if (!atomic_exchange(&report_due, true))
        aside_run(make_report, NULL);
}

/* Wait for one that ends us, and see to reports meanwhile. */
static void await_end(void)
{
    sigset_t set = end_set();
    int sig;

    sigaddset(&set, REPORT_SIGNAL);
    do {
        sig = sigwaitinfo(&set, NULL);
        if (sig == REPORT_SIGNAL)
            ask_report();
    } while (sig < 0 || sig == REPORT_SIGNAL);
}

/* One that ends us, within @ms. 0 when there is none. */
static int await(int64_t ms)
{
    sigset_t set = end_set();
    const struct timespec ts = {ms / 1000, ms % 1000 * 1000000L};
    int sig;

    do
        sig = sigtimedwait(&set, NULL, &ts);
    while (sig < 0 && errno == EINTR);
    return MAX(sig, 0);
}

UNCHECKED static void *await_signals(void *arg)
{
    if (!early)
        await_end();
    begin_end();
    /* One of a terminal or of a control group comes by the keeper, too. */
    int64_t begin = g_get_monotonic_time(), passed = 0;
    bool again;
    do {
        again = await(GRACE_MS - passed) > 0;
        passed = (g_get_monotonic_time() - begin) / G_TIME_SPAN_MILLISECOND;
    } while (passed < GRACE_MS && (!again || passed < BURST_MS));
    end_hard(again ? "a second signal: the process ends at once"
                   : "something hangs that should have ended: the process ends without it");
}

bool daemon_signal_start(GError **err)
{
    sigset_t set = end_set();
    pthread_attr_t attr;
    pthread_t thread;

    sigaddset(&set, REPORT_SIGNAL);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* for all threads to come as well */
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    int rc = pthread_create(&thread, &attr, await_signals, NULL);
    pthread_attr_destroy(&attr);
    if (rc != 0)
        g_set_error(err, G_FILE_ERROR, (int)g_file_error_from_errno(rc),
                    "cannot start a thread: %s", errno_text(rc));
    return rc == 0;
}

void daemon_signal_stops(void (*stop)(void *user), void *user)
{
    AUTO_LOCK(&lock);
    stop_fn = stop;
    stop_user = user;
    if (stop && signalled)
        stop(user);
}

void daemon_signal_reports(void (*report)(void *user), void *user)
{
    AUTO_LOCK(&report_lock);
    report_fn = report;
    report_user = user;
}
