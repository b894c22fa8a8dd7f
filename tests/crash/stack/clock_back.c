/* Preloaded into a process: its wall clock runs CLOCK_BACK_SECONDS late, its monotonic clocks are left alone.
 *
 * Debian's libfaketime 0.9.10 cannot be used with Python 3.11: with the monotonic clock faked timed waits hang, with it
 * left alone time.sleep fails with EINVAL. Deadlines of the wall clock are moved back to the true one.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

/* Deadlines of monotonic clocks count from the machine's start and lie far below this. */
static const time_t ANY_WALL_TIME = 1000000000;

static long behind(void) {
    static long seconds = -1;
    if (seconds < 0) {
        const char *told = getenv("CLOCK_BACK_SECONDS");
        seconds = told ? atol(told) : 0;
    }
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec -= behind();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into) *into = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *now, int base) { return clock_gettime(CLOCK_REALTIME, now) ? 0 : base; }

static struct timespec truly(const struct timespec *deadline) {
    struct timespec moved = *deadline;
    if (moved.tv_sec > ANY_WALL_TIME) moved.tv_sec += behind();
    return moved;
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict deadline) {
    static int (*next)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    struct timespec moved = truly(deadline);
    if (!next) *(void **)&next = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (!next) *(void **)&next = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    return next(condition, mutex, &moved);
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict deadline) {
    static int (*next)(sem_t *, const struct timespec *);
    struct timespec moved = truly(deadline);
    if (!next) *(void **)&next = dlsym(RTLD_NEXT, "sem_timedwait");
    return next(semaphore, &moved);
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict deadline) {
    static int (*next)(cnd_t *, mtx_t *, const struct timespec *);
    struct timespec moved = truly(deadline);
    if (!next) *(void **)&next = dlsym(RTLD_NEXT, "cnd_timedwait");
    return next(condition, mutex, &moved);
}
