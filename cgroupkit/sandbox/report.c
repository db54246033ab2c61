/* Saying what went wrong: as a record on --status, else as a line on stderr. */
#include "launcher.h"
#include "text.h"

static const char *stage_text(enum stage stage)
{
    switch (stage) {
    case STAGE_OPTIONS: return "options";
    case STAGE_OWNER: return "watch the owner";
    case STAGE_KEEP_FD: return "keep the descriptor";
    case STAGE_SUPERVISE: return "prepare to supervise";
    case STAGE_OPEN_V2:
    case STAGE_OPEN_V1: return "open the cgroup";
    case STAGE_CLONE: return "create the process";
    case STAGE_JOIN_V1: return "join the cgroup";
    case STAGE_TIME_NAMESPACE: return "make the time namespace";
    case STAGE_USER_MAP: return "map the user";
    case STAGE_CGROUP_NAMESPACE: return "make the cgroup namespace";
    case STAGE_LOOPBACK: return "bring up the loopback interface";
    case STAGE_MOUNT_PRIVATE: return "make all mounts private";
    case STAGE_PROC: return "mount a new proc";
    case STAGE_READ_ONLY: return "make read-only";
    case STAGE_HIDE: return "hide";
    case STAGE_HOSTNAME: return "set the host name";
    case STAGE_SESSION: return "start a new session";
    case STAGE_CAPABILITIES: return "drop all capabilities";
    case STAGE_NO_NEW_PRIVS: return "set no_new_privs";
    case STAGE_DESCRIPTORS: return "mark descriptors close-on-exec";
    case STAGE_INIT: return "start the box's init";
    case STAGE_EXEC: return "execute";
    case STAGE_JOIN_V2: return "join the cgroup";
    case STAGE_USER_LIMIT: return "forbid user namespaces inside";
    }
    return "unknown stage";
}

/* The path or name that the stage was about, if there is one. */
static const char *stage_subject(const struct plan *plan, enum stage stage, unsigned index)
{
    switch (stage) {
    case STAGE_CLONE:
    case STAGE_JOIN_V2:
    case STAGE_OPEN_V2: return plan->v2;
    case STAGE_OPEN_V1:
    case STAGE_JOIN_V1: return plan->v1[index];
    case STAGE_PROC: return "/proc";
    case STAGE_READ_ONLY: return plan->read_only.path[index];
    case STAGE_HIDE: return plan->hidden.path[index];
    case STAGE_HOSTNAME: return plan->hostname;
    case STAGE_EXEC: return plan->command[0];
    default: return NULL;
    }
}

static const char *error_text(int error)
{
    switch (error) {
    case EPERM: return "operation not permitted";
    case ENOENT: return "no such file or directory";
    case ESRCH: return "no such process";
    case E2BIG: return "argument list too long";
    case ENOEXEC: return "not in a format the kernel can execute";
    case EBADF: return "not an open descriptor";
    case EAGAIN: return "try again (a limit on processes?)";
    case ENOMEM: return "out of memory";
    case EACCES: return "permission denied";
    case EBUSY: return "device or resource busy";
    case ENODEV: return "no such device (the cgroup was removed?)";
    case ENOTDIR: return "not a directory";
    case EINVAL: return "invalid argument";
    case ENFILE:
    case EMFILE: return "too many open files";
    case ENOSPC: return "no space left (a limit on namespaces, or a cpuset without cpus or mems?)";
    case EROFS: return "read-only file system";
    case ENOSYS: return "this kernel is too old (it lacks the system call)";
    case ELOOP: return "too many levels of symbolic links";
    case EUSERS: return "too many nested namespaces";
    case EOPNOTSUPP: return "not supported";
    case ENAMETOOLONG: return "name too long";
    case ETXTBSY: return "text file busy";
    default: return NULL;
    }
}

static bool report_to_status(const struct plan *plan, enum stage stage, unsigned index, int error)
{
    struct report report = {stage, index, error};
    return plan->status >= 0 && sys_write(plan->status, &report, sizeof report) == sizeof report;
}

_Noreturn void fail(const struct plan *plan, enum stage stage, unsigned index, long error)
{
    int number = (int)(error < 0 ? -error : error);
    if (!report_to_status(plan, stage, index, number)) {
        struct line line = {.length = 0};
        const char *subject = stage_subject(plan, stage, index);
        const char *text = error_text(number);
        line_add(&line, "cgroupkit: ");
        line_add(&line, stage_text(stage));
        if (subject) {
            line_add(&line, ": ");
            line_add(&line, subject);
        } else if (stage == STAGE_KEEP_FD) {
            line_add(&line, " ");
            line_add_number(&line, plan->keep[index]);
        }
        line_add(&line, ": ");
        if (text) {
            line_add(&line, text);
        } else {
            line_add(&line, "errno ");
            line_add_number(&line, number);
        }
        line_add(&line, "\n");
        sys_write(2, line.text, line.length);
    }
    if (stage != STAGE_EXEC)
        sys_exit(EXIT_LAUNCHER_FAILED);
    sys_exit(number == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE);
}

_Noreturn void fail_option(const struct plan *plan, unsigned index, int error, const char *why,
                           const char *what)
{
    if (!report_to_status(plan, STAGE_OPTIONS, index, error)) {
        struct line line = {.length = 0};
        line_add(&line, "cgroupkit: ");
        line_add(&line, why);
        line_add(&line, ": ");
        line_add(&line, what);
        line_add(&line, "\n");
        sys_write(2, line.text, line.length);
    }
    sys_exit(EXIT_LAUNCHER_FAILED);
}
