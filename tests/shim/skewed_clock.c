/* A wall clock that a test sets while the program runs: preload it into a program (LD_PRELOAD).

   The file named by SKEWED_CLOCK holds by how many milliseconds the program's wall clock is ahead of the host's: one
   signed number of 64 bits in native order. It is mapped, so a change counts from the next look at the clock on. The
   clock that measures durations is left alone.

   cc -shared -fPIC -o skewed_clock.so skewed_clock.c */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *ahead_ms;

/* A test that believes that the clock is skewed when it is not would pass for the wrong reason: the program ends. */
__attribute__((constructor)) static void map_file(void) {
    const char *path = getenv("SKEWED_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *mapped = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *ahead_ms, PROT_READ, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED)
        _exit(97);
    close(file);
    ahead_ms = mapped;
}

int clock_gettime(clockid_t id, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, id, time);
    if (result == 0 && ahead_ms && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        int64_t skew = *ahead_ms;
        int64_t nanoseconds = time->tv_nsec + skew % 1000 * 1000000;
        time->tv_sec += skew / 1000;
        if (nanoseconds < 0) {
            nanoseconds += 1000000000;
            time->tv_sec -= 1;
        } else if (nanoseconds >= 1000000000) {
            nanoseconds -= 1000000000;
            time->tv_sec += 1;
        }
        time->tv_nsec = nanoseconds;
    }
    return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    struct timespec now;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return result;
}

time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into)
        *into = now.tv_sec;
    return now.tv_sec;
}
