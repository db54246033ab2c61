/* The yardstick for Sandbox.run: the same work, written directly in C.
 *
 * Reads a plan on standard input, a line each, then does it once for every
 * line that follows the word "go" and prints the nanoseconds it took:
 *   d DIR         a cgroup directory to make, and to remove afterwards
 *   w FILE TEXT   a limit to write
 *   t FILE        a v1 tasks file that the child joins
 *   c DIR         the v2 directory that the child is born into
 *   r FILE        a counter to read when the child has ended
 *   n FLAGS       namespaces (CLONE_NEW*), with what belongs to them: the user
 *                 mapped, loopback up, mounts private, /proc mounted
 *   go
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX = 64 };

struct list {
    int count;
    char *item[MAX];
};

static struct list directories, files, texts, tasks, counters;
static char *unified;
static unsigned long long namespaces;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void add(struct list *list, const char *item)
{
    if (list->count == MAX)
        die("too many lines");
    list->item[list->count++] = strdup(item);
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        die(path);
    close(fd);
}

static void read_file(const char *path)
{
    char buffer[8192];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        die(path);
    while (read(fd, buffer, sizeof buffer) > 0)
        ;
    close(fd);
}

static void map_user(unsigned uid, unsigned gid)
{
    char line[64];
    write_file("/proc/self/setgroups", "deny");
    snprintf(line, sizeof line, "%u %u 1", uid, uid);
    write_file("/proc/self/uid_map", line);
    snprintf(line, sizeof line, "%u %u 1", gid, gid);
    write_file("/proc/self/gid_map", line);
}

static void loopback_up(void)
{
    struct ifreq request = { .ifr_name = "lo" };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request))
        die("lo");
    close(fd);
}

static void child(const int *joins, unsigned uid, unsigned gid)
{
    char *argv[] = { "/bin/true", NULL };
    for (int i = 0; i < tasks.count; i++)
        if (write(joins[i], "0", 1) != 1)
            die(tasks.item[i]);
    if (namespaces & CLONE_NEWUSER)
        map_user(uid, gid);
    if ((namespaces & CLONE_NEWCGROUP) && tasks.count && unshare(CLONE_NEWCGROUP))
        die("cgroup namespace");
    if (namespaces & CLONE_NEWNET)
        loopback_up();
    if ((namespaces & CLONE_NEWNS) && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
        die("private mounts");
    if ((namespaces & CLONE_NEWNS) && (namespaces & CLONE_NEWPID) &&
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
        die("/proc");
    execv(argv[0], argv);
    die(argv[0]);
}

static void once(void)
{
    struct clone_args args = { .exit_signal = SIGCHLD };
    int joins[MAX], status, v2 = -1;
    unsigned uid = geteuid(), gid = getegid();

    for (int i = 0; i < directories.count; i++)
        if (mkdir(directories.item[i], 0755))
            die(directories.item[i]);
    for (int i = 0; i < files.count; i++)
        write_file(files.item[i], texts.item[i]);
    for (int i = 0; i < tasks.count; i++)
        if ((joins[i] = open(tasks.item[i], O_WRONLY | O_CLOEXEC)) < 0)
            die(tasks.item[i]);
    args.flags = tasks.count ? namespaces & ~(unsigned long long)CLONE_NEWCGROUP : namespaces;
    if (unified) {
        if ((v2 = open(unified, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
            die(unified);
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = v2;
    }
    pid_t pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0)
        child(joins, uid, gid);
    if (pid < 0)
        die("clone3");
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (status)
        die("the child failed");
    for (int i = 0; i < tasks.count; i++)
        close(joins[i]);
    if (v2 >= 0)
        close(v2);
    for (int i = 0; i < counters.count; i++)
        read_file(counters.item[i]);
    for (int i = 0; i < directories.count; i++)
        while (rmdir(directories.item[i])) {
            if (errno != EBUSY)
                die(directories.item[i]);
            usleep(200);
        }
}

static long long nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

int main(void)
{
    char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        char *rest = line + 2;
        switch (line[0]) {
        case 'd': add(&directories, rest); break;
        case 't': add(&tasks, rest); break;
        case 'r': add(&counters, rest); break;
        case 'c': unified = strdup(rest); break;
        case 'n': namespaces = strtoull(rest, NULL, 0); break;
        case 'w': {
            char *blank = strchr(rest, ' ');
            *blank = 0;
            add(&files, rest);
            add(&texts, blank + 1);
            break;
        }
        case 'g': {
            long long start = nanoseconds();
            once();
            printf("%lld\n", nanoseconds() - start);
            fflush(stdout);
        }
        }
    }
    return 0;
}
