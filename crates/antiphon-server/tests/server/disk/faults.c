/* Lets writes and syncs of files in one directory fail, for the tests of a program that is started with this in LD_PRELOAD.
 *
 * FAULTS_DIR is the directory; FAULTS_PLAN is a file that holds "kind errno first count": from the `first` call of that kind
 * ("sync" or "write") on, counted since the file holds these words, `count` calls fail; 0 is all of them. Without the file
 * nothing fails. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char last[128];
static long calls;

static int fails(const char *kind, int fd) {
    const char *directory = getenv("FAULTS_DIR"), *file = getenv("FAULTS_PLAN");
    char link[64], path[4096], text[128], wanted[16];
    int error, plan;
    long first, count, now;
    ssize_t length;
    if (!directory || !file) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    if (strncmp(path, directory, strlen(directory))) return 0;
    plan = open(file, O_RDONLY | O_CLOEXEC);
    if (plan < 0) return 0;
    length = read(plan, text, sizeof text - 1);
    close(plan);
    if (length <= 0) return 0;
    text[length] = 0;
    if (sscanf(text, "%15s %d %ld %ld", wanted, &error, &first, &count) != 4 || strcmp(wanted, kind)) return 0;
    pthread_mutex_lock(&lock);
    if (strcmp(text, last)) {
        strcpy(last, text);
        calls = 0;
    }
    now = ++calls;
    pthread_mutex_unlock(&lock);
    if (now < first || (count && now >= first + count)) return 0;
    errno = error;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int fd) { return fails("sync", fd) ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return fails("sync", fd) ? -1 : REAL(fdatasync)(fd); }
ssize_t write(int fd, const void *data, size_t length) {
    return fails("write", fd) ? -1 : REAL(write)(fd, data, length);
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t at) {
    return fails("write", fd) ? -1 : REAL(pwrite)(fd, data, length, at);
}
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at) {
    return fails("write", fd) ? -1 : REAL(pwrite64)(fd, data, length, at);
}
