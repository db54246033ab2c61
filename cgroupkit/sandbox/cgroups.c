/* The box seen from outside: is anyone in it, end everyone, remove it. A v2
 * kernel from 5.14 on kills a whole tree by itself; elsewhere we signal one
 * process after the other, under v1's freezer if we have one so that none
 * forks away meanwhile. */
#include "launcher.h"
#include "text.h"

enum {
    DEEPEST_TREE = 128,
    FIRST_PAUSE_MS = 1,
    LONGEST_PAUSE_MS = 256,
    PATIENCE_MS = 2500,
};

static int open_directory(int parent, const char *name)
{
    return (int)sys_openat(parent, name, O_RDONLY | O_DIRECTORY);
}

static long write_at(int dir, const char *name, const char *text)
{
    int fd = (int)sys_openat(dir, name, O_WRONLY);
    if (fd < 0)
        return fd;
    long written = sys_write(fd, text, text_length(text));
    sys_close(fd);
    return written < 0 ? written : 0;
}

/* Called for a cgroup after it was called for all those below: returns how
 * much is left to do. */
typedef unsigned visitor(int parent, const char *name, int dir);

static unsigned walk(int parent, const char *name, visitor *visit, unsigned depth)
{
    char entries[1024] __attribute__((aligned(8)));
    unsigned left = 0;
    long size;

    int dir = open_directory(parent, name);
    if (dir == -EACCES && !sys_chmod_at(parent, name, 0700))
        dir = open_directory(parent, name);
    if (dir == -ENOENT)
        return 0;
    if (dir < 0)
        return 1;
    while (depth < DEEPEST_TREE && (size = sys_getdents(dir, entries, sizeof entries)) > 0)
        for (char *at = entries; at < entries + size;) {
            struct directory_entry *entry = (struct directory_entry *)at;
            if (entry->type == ENTRY_IS_DIRECTORY && !text_equal(entry->name, ".") &&
                !text_equal(entry->name, ".."))
                left += walk(dir, entry->name, visit, depth + 1);
            at += entry->length;
        }
    left += visit(parent, name, dir);
    sys_close(dir);
    return left;
}

/* Signals every member and counts them; signal 0 only counts. A pid of 0 stands
 * for a process that our pid namespace has no number for. */
static unsigned signal_members(int dir, int signal)
{
    char text[1024];
    unsigned count = 0;
    int pid = 0, self = sys_getpid();
    long size;

    int fd = (int)sys_openat(dir, "cgroup.procs", O_RDONLY);
    if (fd < 0)
        return 0;
    while ((size = sys_read(fd, text, sizeof text)) > 0)
        for (long i = 0; i < size; i++) {
            if (text[i] != '\n') {
                pid = pid * 10 + (text[i] - '0');
                continue;
            }
            if (pid != self) {
                count++;
                if (signal && pid > 1)
                    sys_kill(pid, signal);
            }
            pid = 0;
        }
    sys_close(fd);
    return count;
}

static unsigned kill_members(int parent, const char *name, int dir)
{
    (void)parent, (void)name;
    return signal_members(dir, SIGKILL);
}

static unsigned count_members(int parent, const char *name, int dir)
{
    (void)parent, (void)name;
    return signal_members(dir, 0);
}

static unsigned freeze(int parent, const char *name, int dir)
{
    (void)parent, (void)name;
    write_at(dir, "freezer.state", "FROZEN");
    return 0;
}

static unsigned thaw(int parent, const char *name, int dir)
{
    (void)parent, (void)name;
    write_at(dir, "freezer.state", "THAWED");
    return 0;
}

static unsigned remove_cgroup(int parent, const char *name, int dir)
{
    (void)dir;
    long error = sys_rmdir_at(parent, name);
    return error && error != -ENOENT;
}

static unsigned walk_v1(const struct plan *plan, visitor *visit)
{
    unsigned left = 0;
    for (unsigned i = 0; i < plan->v1_count; i++)
        left += walk(AT_FDCWD, plan->v1[i], visit, 0);
    return left;
}

static unsigned walk_v2(const struct plan *plan, visitor *visit)
{
    return plan->v2 ? walk(AT_FDCWD, plan->v2, visit, 0) : 0;
}

/* Sleeps a little longer every time; false once patience has run out. */
static bool sleep_longer(unsigned *slept)
{
    unsigned next = *slept < FIRST_PAUSE_MS     ? FIRST_PAUSE_MS
                    : *slept > LONGEST_PAUSE_MS ? LONGEST_PAUSE_MS
                                                : *slept;
    if (*slept >= PATIENCE_MS)
        return false;
    sys_sleep((int)next);
    *slept += next;
    return true;
}

static bool exists_at(int dir, const char *name)
{
    int fd = (int)sys_openat(dir, name, O_PATH);
    if (fd < 0)
        return false;
    sys_close(fd);
    return true;
}

/* A mistaken option must not end every process of the machine. */
static bool is_root(const char *path)
{
    int dir = open_directory(AT_FDCWD, path);
    if (dir < 0)
        return false;
    bool is_v1_root = exists_at(dir, "release_agent");
    bool is_v2_root = exists_at(dir, "cgroup.controllers") && !exists_at(dir, "cgroup.events");
    sys_close(dir);
    return is_v1_root || is_v2_root;
}

static bool names_a_root(const struct plan *plan)
{
    bool found = plan->v2 && is_root(plan->v2);
    for (unsigned i = 0; i < plan->v1_count; i++)
        found |= is_root(plan->v1[i]);
    return found;
}

static bool kill_v2_at_once(const struct plan *plan)
{
    int dir = plan->v2 ? open_directory(AT_FDCWD, plan->v2) : -ENOENT;
    if (dir < 0)
        return dir == -ENOENT;
    long error = write_at(dir, "cgroup.kill", "1");
    sys_close(dir);
    return !error;
}

void kill_box(const struct plan *plan)
{
    unsigned slept = 0, left;
    if (names_a_root(plan))
        return;
    bool v2_is_done = kill_v2_at_once(plan);
    do {
        walk_v1(plan, freeze);
        left = walk_v1(plan, kill_members);
        if (!v2_is_done)
            left += walk_v2(plan, kill_members);
        /* A frozen v1 process can't die, not even killed by v2. */
        walk_v1(plan, thaw);
    } while (left && sleep_longer(&slept));
}

void remove_box(const struct plan *plan)
{
    unsigned slept = 0;
    if (names_a_root(plan))
        return;
    while (walk_v1(plan, remove_cgroup) + walk_v2(plan, remove_cgroup) && sleep_longer(&slept))
        continue;
}

int open_events(const struct plan *plan)
{
    int dir = plan->v2 ? open_directory(AT_FDCWD, plan->v2) : -ENOENT;
    if (dir < 0)
        return dir;
    int events = (int)sys_openat(dir, "cgroup.events", O_RDONLY);
    sys_close(dir);
    return events;
}

bool events_say_populated(int events)
{
    char text[256];
    long size = sys_pread(events, text, sizeof text - 1, 0);
    if (size <= 0)
        return false;
    text[size] = '\0';
    for (const char *line = text; *line; line++)
        if (text_after(line, "populated 1"))
            return true;
    return false;
}

bool box_is_populated(const struct plan *plan)
{
    int events = open_events(plan);
    if (events < 0)
        return walk_v1(plan, count_members) > 0;
    bool populated = events_say_populated(events);
    sys_close(events);
    return populated;
}
