/* Makes syncs slow, for a program that is started with this in LD_PRELOAD: each one waits SLOW_SYNC_MICROS microseconds before it
 * is done, and one after the other, as a disk does them. Whoever waits uses no CPU. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t disk = PTHREAD_MUTEX_INITIALIZER;

static int slowly(int (*sync)(int), int fd) {
    const char *text = getenv("SLOW_SYNC_MICROS");
    long micros = text ? atol(text) : 0;
    struct timespec left = {micros / 1000000, micros % 1000000 * 1000};
    int done, error;
    pthread_mutex_lock(&disk);
    while (nanosleep(&left, &left) && errno == EINTR) {
    }
    done = sync(fd);
    error = errno;
    pthread_mutex_unlock(&disk);
    errno = error;
    return done;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int fd) { return slowly(REAL(fsync), fd); }
int fdatasync(int fd) { return slowly(REAL(fdatasync), fd); }
