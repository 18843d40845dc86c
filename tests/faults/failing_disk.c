/* Make the n-th change to a folder's files fail, for tests: loaded with LD_PRELOAD.
 *
 * A change is whatever creates, writes, flushes, renames or removes something below FAULT_ROOT.
 * The process that is tested arms the fault itself:
 *
 *     fault_arm(n, error, lasting)   the n-th change from now on fails with `error` (an errno), and
 *                                    all later ones too if `lasting`; a negative error is a signal
 *                                    that the process gets before the change is made
 *     fault_count()                  changes since then
 *     fault_place()                  the call that failed and its path
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long changes, armed_at;
static int armed_error, is_lasting;
static char place[4352];

void fault_arm(long at, int error, int lasting) {
    changes = 0;
    place[0] = 0;
    armed_error = error;
    is_lasting = lasting;
    armed_at = at;
}
long fault_count(void) { return changes; }
const char *fault_place(void) { return place; }

static int is_below_root(const char *path) {
    const char *root = getenv("FAULT_ROOT");
    return root && path && strncmp(path, root, strlen(root)) == 0;
}

/* Nonzero, with errno set, if this change must fail. Removing still works on a full disk. */
static int fails(const char *call, const char *path, int frees_room) {
    if (!armed_at) return 0;
    long number = ++changes;
    if (number < armed_at || (number > armed_at && (!is_lasting || frees_room))) return 0;
    if (!place[0]) snprintf(place, sizeof place, "%s %s", call, path);
    if (armed_error < 0) {
        if (number == armed_at) kill(getpid(), -armed_error);
        return 0;
    }
    errno = armed_error;
    return 1;
}

static int path_fails(const char *call, int folder, const char *path, int frees_room) {
    char whole[4096], link[64];
    if (path && path[0] != '/') {
        ssize_t size = -1;
        if (folder == AT_FDCWD) {
            if (getcwd(whole, sizeof whole)) size = strlen(whole);
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
            size = readlink(link, whole, sizeof whole - 1);
        }
        if (size < 0) return 0;
        snprintf(whole + size, sizeof whole - size, "/%s", path);
        path = whole;
    }
    return is_below_root(path) && fails(call, path, frees_room);
}

static int file_fails(const char *call, int file) {
    char path[4096], link[64];
    if (!armed_at) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return is_below_root(path) && fails(call, path, 0);
}

#define ORIGINAL(name) \
    static __typeof__(&name) original; \
    if (!original) original = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        ORIGINAL(name); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        if ((flags & O_ACCMODE) != O_RDONLY && path_fails("open", AT_FDCWD, path, 0)) return -1; \
        return original(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        ORIGINAL(name); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        if ((flags & O_ACCMODE) != O_RDONLY && path_fails("open", folder, path, 0)) return -1; \
        return original(folder, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

#define ON_FILE(result, name, parameters, arguments, file) \
    result name parameters { \
        ORIGINAL(name); \
        if (file_fails(#name, file)) return -1; \
        return original arguments; \
    }
ON_FILE(ssize_t, write, (int file, const void *bytes, size_t size), (file, bytes, size), file)
ON_FILE(ssize_t, pwrite, (int file, const void *bytes, size_t size, off_t at),
        (file, bytes, size, at), file)
ON_FILE(ssize_t, pwrite64, (int file, const void *bytes, size_t size, off64_t at),
        (file, bytes, size, at), file)
ON_FILE(ssize_t, writev, (int file, const struct iovec *parts, int count), (file, parts, count),
        file)
ON_FILE(int, fsync, (int file), (file), file)
ON_FILE(int, fdatasync, (int file), (file), file)
ON_FILE(int, ftruncate, (int file, off_t size), (file, size), file)
ON_FILE(int, ftruncate64, (int file, off64_t size), (file, size), file)
ON_FILE(ssize_t, copy_file_range,
        (int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags),
        (in, from, out, to, size, flags), out)
ON_FILE(ssize_t, sendfile, (int out, int in, off_t *from, size_t size), (out, in, from, size), out)
ON_FILE(ssize_t, sendfile64, (int out, int in, off64_t *from, size_t size), (out, in, from, size),
        out)

#define ON_PATH(name, parameters, arguments, folder, path, frees_room) \
    int name parameters { \
        ORIGINAL(name); \
        if (path_fails(#name, folder, path, frees_room)) return -1; \
        return original arguments; \
    }
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path, 0)
ON_PATH(mkdirat, (int folder, const char *path, mode_t mode), (folder, path, mode), folder, path, 0)
ON_PATH(rename, (const char *from, const char *to), (from, to), AT_FDCWD, to, 0)
ON_PATH(renameat, (int folder, const char *from, int other, const char *to),
        (folder, from, other, to), other, to, 0)
ON_PATH(unlink, (const char *path), (path), AT_FDCWD, path, 1)
ON_PATH(unlinkat, (int folder, const char *path, int flags), (folder, path, flags), folder, path, 1)
ON_PATH(rmdir, (const char *path), (path), AT_FDCWD, path, 1)
ON_PATH(link, (const char *from, const char *to), (from, to), AT_FDCWD, to, 0)
ON_PATH(symlink, (const char *from, const char *to), (from, to), AT_FDCWD, to, 0)
