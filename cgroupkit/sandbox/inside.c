/* In the child: every step from its birth to the program's first instruction.
 * The order matters. The limits come first, so that nothing of the program is
 * ever outside them; then what needs capabilities; then giving them up. */
#include "launcher.h"
#include "text.h"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <linux/sockios.h>

#ifndef SECBIT_NO_CAP_AMBIENT_RAISE
#define SECBIT_NO_CAP_AMBIENT_RAISE (1 << 6)
#define SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED (1 << 7)
#endif

#define AF_UNIX 1
#define SOCK_DGRAM 2
#define SOCK_CLOEXEC O_CLOEXEC
#define INTERFACE_UP 1

/* The flags of struct ifreq, without the socket headers that it needs. */
struct interface_flags {
    char name[16];
    short flags;
    char unused[22];
};

/* A child that was born in v2 says that it lives. */
static void join_v2(const struct plan *plan, const struct passage *passage)
{
    if (passage->born[1] >= 0)
        sys_write(passage->born[1], "", 1);
    if (passage->procs < 0)
        return;
    long written = sys_write(passage->procs, "0", 1);
    if (written < 0)
        fail(plan, STAGE_JOIN_V2, 0, written);
}

static void join_v1(const struct plan *plan, const struct passage *passage)
{
    for (unsigned i = 0; i < plan->v1_count; i++) {
        long written = sys_write(passage->tasks[i], "0", 1);
        if (written < 0)
            fail(plan, STAGE_JOIN_V1, i, written);
    }
}

static long write_file(const char *path, const char *text, size_t length)
{
    int fd = (int)sys_open(path, O_WRONLY);
    if (fd < 0)
        return fd;
    long written = sys_write(fd, text, length);
    sys_close(fd);
    return written < 0 ? written : 0;
}

/* One id, mapped to itself: the only map that needs no privilege outside. */
static long write_id_map(const char *path, unsigned id)
{
    struct line map = {.length = 0};
    line_add_number(&map, id);
    line_add(&map, " ");
    line_add_number(&map, id);
    line_add(&map, " 1\n");
    return write_file(path, map.text, map.length);
}

static void map_user(const struct plan *plan, const struct passage *passage)
{
    long error = write_file("/proc/self/setgroups", "deny", 4);
    if (!error)
        error = write_id_map("/proc/self/uid_map", passage->uid);
    if (!error)
        error = write_id_map("/proc/self/gid_map", passage->gid);
    if (error)
        fail(plan, STAGE_USER_MAP, 0, error);
}

/* In a user namespace of its own making a program would have all capabilities
 * again, and could mount cgroups, whose files are still its user's. */
static void forbid_user_namespaces(const struct plan *plan)
{
    long error = write_file("/proc/sys/user/max_user_namespaces", "0", 1);
    if (error)
        fail(plan, STAGE_USER_LIMIT, 0, error);
}

static void raise_loopback(const struct plan *plan)
{
    struct interface_flags loopback = {.name = "lo", .flags = INTERFACE_UP};
    int fd = (int)SYS3(__NR_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    long error = fd < 0 ? fd : SYS3(__NR_ioctl, fd, SIOCSIFFLAGS, &loopback);
    if (error)
        fail(plan, STAGE_LOOPBACK, 0, error);
    sys_close(fd);
}

/* A bind makes a mount point of a path that is none; mount_setattr then does
 * all mounts below in one go and leaves their other flags as they are. */
static long make_read_only(const char *path)
{
    const struct mount_attributes read_only = {.attr_set = MOUNT_ATTR_RDONLY};
    long error = sys_mount_setattr(path, &read_only);
    if (error != -EINVAL)
        return error;
    error = sys_mount(path, path, NULL, MS_BIND | MS_REC, NULL);
    return error ? error : sys_mount_setattr(path, &read_only);
}

static long hide(const char *path)
{
    const unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
    long error = sys_mount("tmpfs", path, "tmpfs", flags, "mode=555");
    if (error != -ENOTDIR)
        return error;
    return sys_mount("/dev/null", path, NULL, MS_BIND, NULL);
}

static bool is_absent(long error)
{
    return error == -ENOENT || error == -ENOTDIR;
}

/* The directory we stand in was found before the mounts: standing there would
 * look behind them. A directory that is hidden now gives way to the root. */
static void step_onto_new_mounts(const char *directory, long found)
{
    if (found <= 0 || directory[0] != '/' || sys_chdir(directory))
        sys_chdir("/");
}

static void arrange_mounts(const struct plan *plan)
{
    const unsigned long proc_flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    char directory[PATH_SIZE];
    long found = 0, error;
    bool covers = plan->own_proc || plan->read_only.count || plan->hidden.count;

    error = sys_mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    if (error)
        fail(plan, STAGE_MOUNT_PRIVATE, 0, error);
    if (covers)
        found = sys_getcwd(directory, sizeof directory);
    if (plan->own_proc && (error = sys_mount("proc", "/proc", "proc", proc_flags, NULL)))
        fail(plan, STAGE_PROC, 0, error);
    for (unsigned i = 0; i < plan->read_only.count; i++) {
        error = make_read_only(plan->read_only.path[i]);
        if (error && !is_absent(error))
            fail(plan, STAGE_READ_ONLY, i, error);
    }
    for (unsigned i = 0; i < plan->hidden.count; i++) {
        error = hide(plan->hidden.path[i]);
        if (error && !is_absent(error))
            fail(plan, STAGE_HIDE, i, error);
    }
    if (covers)
        step_onto_new_mounts(directory, found);
}

/* Capability by capability, until the kernel has no more. */
static long empty_bounding_set(void)
{
    for (int capability = 0;; capability++) {
        long error = sys_prctl(PR_CAPBSET_DROP, capability, 0);
        if (error)
            return error == -EINVAL && capability > 0 ? 0 : error;
    }
}

/* For user 0 empty sets alone would not last: exec fills them again from the
 * bounding set. So that goes too, and NOROOT takes away the filling itself.
 * Emptying the permitted set empties the ambient set with it. */
static void drop_capabilities(const struct plan *plan)
{
    const long secure = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                        SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                        SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0, 0, 0}};

    long error = empty_bounding_set();
    if (!error)
        error = sys_prctl(PR_SET_SECUREBITS, secure, 0);
    /* Who lacks CAP_SETPCAP can't do either; under no_new_privs exec gives
     * nothing beyond the permitted set, which is as good. */
    if (error == -EPERM && plan->no_new_privs)
        error = 0;
    if (!error)
        error = SYS2(__NR_capset, &header, none);
    if (error)
        fail(plan, STAGE_CAPABILITIES, 0, error);
}

void enter_box(const struct plan *plan, const struct passage *passage)
{
    uint64_t namespaces = plan->namespaces;
    long error;

    bool joined_late = plan->v1_count || passage->procs >= 0;

    join_v2(plan, passage);
    join_v1(plan, passage);
    if (passage->unshare_time && (error = sys_unshare(CLONE_NEWTIME)))
        fail(plan, STAGE_TIME_NAMESPACE, 0, error);
    if (namespaces & CLONE_NEWUSER)
        map_user(plan, passage);
    if (plan->no_user_namespaces)
        forbid_user_namespaces(plan);
    if (namespaces & CLONE_NEWCGROUP && joined_late && (error = sys_unshare(CLONE_NEWCGROUP)))
        fail(plan, STAGE_CGROUP_NAMESPACE, 0, error);
    if (namespaces & CLONE_NEWNET)
        raise_loopback(plan);
    if (namespaces & CLONE_NEWNS)
        arrange_mounts(plan);
    if (plan->hostname &&
        (error = sys_sethostname(plan->hostname, text_length(plan->hostname))))
        fail(plan, STAGE_HOSTNAME, 0, error);
    if (plan->new_session && (error = sys_setsid()) < 0)
        fail(plan, STAGE_SESSION, 0, error);
    if (plan->drop_capabilities)
        drop_capabilities(plan);
    if (plan->no_new_privs && (error = sys_prctl(PR_SET_NO_NEW_PRIVS, 1, 0)))
        fail(plan, STAGE_NO_NEW_PRIVS, 0, error);
    if ((error = mark_others_close_on_exec(plan->keep, plan->keep_count)))
        fail(plan, STAGE_DESCRIPTORS, 0, error);
}

static const char *search_path(char *const *environment)
{
    for (; *environment; environment++) {
        const char *value = text_after(*environment, "PATH=");
        if (value)
            return value;
    }
    return "/bin:/usr/bin";
}

/* directory (up to its colon) and program as one path; false if too long. */
static bool join_path(char path[PATH_SIZE], const char *directory, const char *program)
{
    size_t length = 0, rest = text_length(program) + 1;
    for (; *directory && *directory != ':'; directory++) {
        if (length == PATH_SIZE)
            return false;
        path[length++] = *directory;
    }
    if (length + 1 + rest > PATH_SIZE)
        return false;
    if (length)
        path[length++] = '/';
    memcpy(path + length, program, rest);
    return true;
}

/* As execvpe does it, but for running a file of unknown format as a script. */
static long execute(char *const *command, char *const *environment)
{
    char path[PATH_SIZE];
    long found = -ENOENT;
    if (!command[0][0] || text_has(command[0], '/'))
        return sys_execve(command[0], command, environment);
    for (const char *directory = search_path(environment);; directory++) {
        if (join_path(path, directory, command[0])) {
            long error = sys_execve(path, command, environment);
            if (error == -EACCES)
                found = error;
            else if (!is_absent(error))
                return error;
        }
        while (*directory && *directory != ':')
            directory++;
        if (!*directory)
            return found;
    }
}

_Noreturn void run_program(const struct plan *plan)
{
    sys_signal_mask(0);
    fail(plan, STAGE_EXEC, 0, execute(plan->command, plan->environment));
}
