/* What the parts of the launcher share: the plan (the command line as a
 * record), the stages that can fail, and who does what. */
#ifndef CGROUPKIT_LAUNCHER_H
#define CGROUPKIT_LAUNCHER_H

#include "sys.h"

enum {
    MAX_V1 = 16,
    MAX_KEEP = 256,
    MAX_PATHS = 128,
    PATH_SIZE = 4096,
};

/* Where a launch failed. The numbers are an interface: --status carries them
 * to the caller. Add at the end, never renumber. */
enum stage {
    STAGE_OPTIONS = 1,        /* index: which argument; EINVAL, or E2BIG for too many of a kind */
    STAGE_OWNER = 2,          /* ESRCH: it is gone; the box was ended, nothing was run */
    STAGE_KEEP_FD = 3,        /* index: which --keep */
    STAGE_SUPERVISE = 4,      /* signalfd or pipe in the supervisor */
    STAGE_OPEN_V2 = 5,        /* --v2 */
    STAGE_OPEN_V1 = 6,        /* index: which --v1 */
    STAGE_CLONE = 7,          /* EACCES, EBUSY, EOPNOTSUPP, EAGAIN (pids.max), EPERM, ENOSPC ... */
    STAGE_JOIN_V1 = 8,        /* index: which --v1; ENOSPC: a cpuset without cpus or mems */
    STAGE_TIME_NAMESPACE = 9, /* only where clone3 does not know CLONE_NEWTIME */
    STAGE_USER_MAP = 10,
    STAGE_CGROUP_NAMESPACE = 11,
    STAGE_LOOPBACK = 12,
    STAGE_MOUNT_PRIVATE = 13,
    STAGE_PROC = 14,
    STAGE_READ_ONLY = 15,     /* index: which --ro */
    STAGE_HIDE = 16,          /* index: which --hide */
    STAGE_HOSTNAME = 17,
    STAGE_SESSION = 18,
    STAGE_CAPABILITIES = 19,
    STAGE_NO_NEW_PRIVS = 20,
    STAGE_DESCRIPTORS = 21,   /* marking what is not kept close-on-exec */
    STAGE_INIT = 22,          /* PID 1 of the box could not start the program */
    STAGE_EXEC = 23,
    STAGE_JOIN_V2 = 24,       /* only where the kernel killed the child at its birth */
    STAGE_USER_LIMIT = 25,    /* forbidding user namespaces inside */
};

/* What is written to --status when the program was not run. */
struct report {
    uint32_t stage;
    uint32_t index;
    int32_t error;
};

enum exit_status {
    EXIT_LAUNCHER_FAILED = 125,
    EXIT_CANNOT_EXECUTE = 126,
    EXIT_NOT_FOUND = 127,
    EXIT_SIGNALLED = 128, /* plus the signal's number */
};

struct path_list {
    unsigned count;
    const char *path[MAX_PATHS];
};

struct plan {
    char **command; /* ends with NULL, as argv does */
    char **environment;

    const char *v2;
    unsigned v1_count;
    const char *v1[MAX_V1];

    uint64_t namespaces; /* CLONE_NEW* */
    const char *hostname;
    bool own_proc;
    struct path_list read_only;
    struct path_list hidden;
    bool new_session;
    bool no_new_privs;
    bool drop_capabilities;
    bool no_user_namespaces;

    int owner;  /* a pid, 0 for none */
    int status; /* a descriptor, -1 for none */
    unsigned keep_count;
    int keep[MAX_KEEP];

    bool hold;
    bool version;
};

/* What the supervisor opened or looked up for the child beforehand. */
struct passage {
    int tasks[MAX_V1];
    int procs;              /* v2's, for a child that could not be born inside; or -1 */
    int born[2];            /* tells the supervisor that a child born in v2 is alive */
    int supervisor; /* pid */
    int exit_pipe[2]; /* the program's wait status, from the box's init to the supervisor */
    unsigned uid, gid;
    bool unshare_time;
};

/* options.c */
void parse_options(struct plan *plan, char **argv);

/* report.c */
_Noreturn void fail(const struct plan *plan, enum stage stage, unsigned index, long error);
_Noreturn void fail_option(const struct plan *plan, unsigned index, int error, const char *why,
                           const char *what);

/* inside.c: in the child, from its birth to the program's first instruction */
void enter_box(const struct plan *plan, const struct passage *passage);
_Noreturn void run_program(const struct plan *plan);

/* init.c: PID 1 of a box that has a pid namespace */
_Noreturn void be_init(const struct plan *plan, const struct passage *passage);

/* cgroups.c: the box seen from outside */
bool box_is_populated(const struct plan *plan);
int open_events(const struct plan *plan);
bool events_say_populated(int events);
void kill_box(const struct plan *plan);
void remove_box(const struct plan *plan);

/* descriptors.c: at most MAX_KEEP may be kept; the second leaves 0-2 alone */
int close_others(const int *keep, unsigned count);
int mark_others_close_on_exec(const int *keep, unsigned count);

/* Signals that belong to the thread that caused them or to job control; all
 * others are blocked in the supervisor and in the box's init, and read from a
 * signalfd. */
#define SIGNALS_LEFT_ALONE                                                                 \
    (SIGNAL(SIGILL) | SIGNAL(SIGTRAP) | SIGNAL(SIGBUS) | SIGNAL(SIGFPE) | SIGNAL(SIGSEGV) | \
     SIGNAL(SIGSYS) | SIGNAL(SIGSTOP) | SIGNAL(SIGTSTP) | SIGNAL(SIGTTIN) |                 \
     SIGNAL(SIGTTOU) | SIGNAL(SIGCONT))

#endif
