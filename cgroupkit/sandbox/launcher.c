/* Runs a program in cgroups and namespaces. Three kinds of process:
 *
 *   supervisor   what the caller started; outside of the box, it passes signals
 *                on, ends as the program ended, and ends the box if the
 *                caller dies (this file, and cgroups.c)
 *   child        born in the box; takes every step up to the program (inside.c)
 *                and becomes it, or, in a pid namespace, becomes
 *   init         PID 1 of the box, with the program as PID 2 (init.c)
 *
 * A fourth, the watcher, takes over from a supervisor whose program has left
 * other processes behind in the box. */
#include "launcher.h"
#include "text.h"

#ifndef LAUNCHER_VERSION
#define LAUNCHER_VERSION "unknown"
#endif

struct supervisor {
    const struct plan *plan;
    struct passage passage;
    int v2;
    int signals;
    int owner;
    int child; /* pid */
    int child_fd;
};

/* A caller's ignored signals would reach the program; an ignored SIGCHLD would
 * take its end from us. SIGHUP stays as it is for the sake of nohup. Blocking
 * comes first: what arrives from now on is kept for the signalfd. */
static void take_over_signals(void)
{
    sys_signal_mask(~SIGNALS_LEFT_ALONE);
    for (int signal = 1; signal <= 64; signal++)
        if (signal != SIGKILL && signal != SIGSTOP && signal != SIGHUP)
            sys_signal_default(signal);
}

/* Whoever started us with descriptors 0-2 closed must not find ours there: the
 * low ones stay in use as placeholders, and vanish on exec. */
static int open_signals(const struct plan *plan)
{
    long fd;
    do
        fd = sys_signalfd(~(SIGNALS_LEFT_ALONE | SIGNAL(SIGCHLD)));
    while (fd >= 0 && fd <= 2);
    if (fd < 0)
        fail(plan, STAGE_SUPERVISE, 0, fd);
    return (int)fd;
}

/* The pid could already be another process's, unless it is our parent's before
 * and after. */
static int open_owner(const struct plan *plan)
{
    if (!plan->owner)
        return -1;
    bool is_parent = sys_getppid() == plan->owner;
    long fd = sys_pidfd_open(plan->owner);
    if (is_parent && sys_getppid() != plan->owner)
        fd = -ESRCH;
    if (fd == -ESRCH) {
        kill_box(plan);
        remove_box(plan);
    }
    if (fd < 0)
        fail(plan, STAGE_OWNER, 0, fd);
    return (int)fd;
}

static void check_kept(const struct plan *plan)
{
    long flags;
    for (unsigned i = 0; i < plan->keep_count; i++)
        if ((flags = sys_fcntl(plan->keep[i], F_GETFD, 0)) < 0)
            fail(plan, STAGE_KEEP_FD, i, flags);
}

static int open_members(const char *cgroup, const char *name)
{
    char path[PATH_SIZE];
    size_t length = text_length(cgroup), rest = text_length(name) + 1;
    if (length + rest > sizeof path)
        return -ENAMETOOLONG;
    memcpy(path, cgroup, length);
    memcpy(path + length, name, rest);
    return (int)sys_open(path, O_WRONLY);
}

static void open_cgroups(struct supervisor *self)
{
    const struct plan *plan = self->plan;
    if (plan->v2) {
        self->v2 = (int)sys_open(plan->v2, O_PATH | O_DIRECTORY);
        if (self->v2 < 0)
            fail(plan, STAGE_OPEN_V2, 0, self->v2);
    }
    for (unsigned i = 0; i < plan->v1_count; i++) {
        int fd = open_members(plan->v1[i], "/tasks");
        if (fd < 0)
            fail(plan, STAGE_OPEN_V1, i, fd);
        self->passage.tasks[i] = fd;
    }
}

static void prepare_passage(struct supervisor *self)
{
    struct passage *passage = &self->passage;
    long error = 0;
    if (self->plan->namespaces & CLONE_NEWPID)
        error = sys_pipe(passage->exit_pipe);
    else
        passage->supervisor = sys_getpid();
    if (!error && self->plan->v2)
        error = sys_pipe(passage->born);
    if (error)
        fail(self->plan, STAGE_SUPERVISE, 0, error);
    if (self->plan->namespaces & CLONE_NEWUSER) {
        passage->uid = sys_geteuid();
        passage->gid = sys_getegid();
    }
}

/* The kernel clears the death signal when credentials change, so this comes
 * last; a supervisor that was gone before it is no longer our parent. */
static void die_with_supervisor(const struct passage *passage)
{
    sys_prctl(PR_SET_PDEATHSIG, SIGKILL, 0);
    if (sys_getppid() != passage->supervisor)
        sys_exit(EXIT_LAUNCHER_FAILED);
}

_Noreturn static void be_child(const struct supervisor *self)
{
    enter_box(self->plan, &self->passage);
    if (self->plan->namespaces & CLONE_NEWPID)
        be_init(self->plan, &self->passage);
    die_with_supervisor(&self->passage);
    run_program(self->plan);
}

static long clone_child(struct supervisor *self, uint64_t flags)
{
    struct clone_request request = {
        .flags = flags | CLONE_PIDFD,
        .pidfd = (uintptr_t)&self->child_fd,
        .exit_signal = SIGCHLD,
    };
    if (self->plan->v2 && self->passage.procs < 0) {
        request.flags |= CLONE_INTO_CGROUP;
        request.cgroup = (uint64_t)self->v2;
    }
    return sys_clone(&request);
}

static void start_child(struct supervisor *self)
{
    const struct plan *plan = self->plan;
    uint64_t flags = plan->namespaces;
    /* A cgroup namespace has its root where its maker is: v1 must be joined
     * first. In v2 the child is born where it belongs. */
    if (plan->v1_count || self->passage.procs >= 0)
        flags &= ~(uint64_t)CLONE_NEWCGROUP;
    long pid = clone_child(self, flags);
    /* Some kernels before 6.3 know time namespaces but not in clone3. What
     * unshare makes is for children: init has one, a lone program has not. */
    if (pid == -EINVAL && flags & CLONE_NEWTIME && flags & CLONE_NEWPID) {
        self->passage.unshare_time = true;
        pid = clone_child(self, flags & ~(uint64_t)CLONE_NEWTIME);
    }
    if (pid == 0)
        be_child(self);
    if (pid < 0)
        fail(plan, STAGE_CLONE, 0, pid);
    self->child = (int)pid;
}

_Noreturn static void end_for_owner(const struct supervisor *self)
{
    struct pollfd child = {self->child_fd, POLLIN, 0};
    sys_pidfd_send_signal(self->child_fd, SIGKILL);
    kill_box(self->plan);
    sys_poll(&child, 1, 2000);
    sys_wait(self->child, NULL, WNOHANG);
    remove_box(self->plan);
    sys_exit(EXIT_LAUNCHER_FAILED);
}

/* Since cgroup.kill counts its uses (seen on 6.18), a child is killed at its
 * birth in another cgroup than its parent's if the two were not killed equally
 * often. Such a child never gets to say that it lives; it is made once more,
 * outside, and joins as its first act. */
static void start_child_alive(struct supervisor *self)
{
    struct passage *passage = &self->passage;
    char byte;

    start_child(self);
    if (!self->plan->v2)
        return;
    sys_close(passage->born[1]);
    passage->born[1] = -1;
    struct pollfd watched[] = {{passage->born[0], POLLIN, 0}, {self->owner, POLLIN, 0}};
    while (!watched[0].revents && !watched[1].revents)
        sys_poll(watched, 2, -1);
    if (!watched[0].revents)
        end_for_owner(self);
    if (sys_read(passage->born[0], &byte, 1) == 1)
        return;
    sys_wait(self->child, NULL, 0);
    sys_close(self->child_fd);
    passage->procs = open_members(self->plan->v2, "/cgroup.procs");
    if (passage->procs < 0)
        fail(self->plan, STAGE_OPEN_V2, 0, passage->procs);
    start_child(self);
}

static unsigned add_open(int *fds, unsigned count, int fd)
{
    if (fd < 0)
        return count;
    fds[count] = fd;
    return count + 1;
}

/* Among what we close are our copies of the program's descriptors: a reader of
 * its output must see the end when the program closes it, not when we do. */
static void keep_only_own(const struct supervisor *self)
{
    int keep[4];
    unsigned count = 0;
    count = add_open(keep, count, self->signals);
    count = add_open(keep, count, self->child_fd);
    count = add_open(keep, count, self->owner);
    if (self->plan->namespaces & CLONE_NEWPID)
        count = add_open(keep, count, self->passage.exit_pipe[0]);
    close_others(keep, count);
}

/* Only what a process sent to us. The terminal's signals, which the kernel
 * sends, reach the child as well, if it is in our session. */
static void forward_signals(const struct supervisor *self)
{
    struct signalfd_siginfo info;
    while (sys_read(self->signals, &info, sizeof info) == sizeof info)
        if (info.ssi_code <= 0 || self->plan->new_session)
            sys_pidfd_send_signal(self->child_fd, (int)info.ssi_signo);
}

/* The program's wait status. If init could not tell, it was itself killed or
 * failed on the way, and its own status is the answer. */
static int wait_status(const struct supervisor *self)
{
    int status = 0, told;
    sys_wait(self->child, &status, 0);
    if (self->plan->namespaces & CLONE_NEWPID &&
        sys_read(self->passage.exit_pipe[0], &told, sizeof told) == sizeof told)
        status = told;
    return status;
}

static int supervise(const struct supervisor *self)
{
    struct pollfd watched[] = {
        {self->child_fd, POLLIN, 0},
        {self->signals, POLLIN, 0},
        {self->owner, POLLIN, 0},
    };
    for (;;) {
        sys_poll(watched, 3, -1);
        /* First, as a program often ends because its caller is gone. */
        if (watched[2].revents)
            end_for_owner(self);
        if (watched[0].revents)
            return wait_status(self);
        if (watched[1].revents)
            forward_signals(self);
    }
}

/* All signals stay blocked: who ends a whole service with SIGTERM ends the
 * owner too, and then there is work to do here. The look once a second is for
 * v1, and for a v2 cgroup that is removed within 10 ms after it changed: the
 * kernel then never wakes who polls its events. */
_Noreturn static void watch(const struct supervisor *self)
{
    struct pollfd watched[] = {
        {self->owner, POLLIN, 0},
        {open_events(self->plan), POLLPRI, 0},
    };
    int events = watched[1].fd;
    int keep[2];
    unsigned count = add_open(keep, add_open(keep, 0, self->owner), events);

    sys_setsid();
    sys_chdir("/");
    close_others(keep, count);
    while (events < 0 ? box_is_populated(self->plan) : events_say_populated(events)) {
        sys_poll(watched, 2, 1000);
        if (watched[0].revents) {
            kill_box(self->plan);
            remove_box(self->plan);
            break;
        }
    }
    sys_exit(0);
}

/* With a pid namespace nothing outlives init. If the fork fails, the box lacks
 * only its guard against a sudden death of the owner. */
static void leave_watcher(const struct supervisor *self)
{
    const struct clone_request fork = {.exit_signal = SIGCHLD};
    if (self->owner < 0 || self->plan->namespaces & CLONE_NEWPID)
        return;
    if (box_is_populated(self->plan) && sys_clone(&fork) == 0)
        watch(self);
}

/* As the program ended, so do we; but no second core file. */
_Noreturn static void end_alike(int status)
{
    int signal = status & 0x7f;
    if (!signal)
        sys_exit(status >> 8 & 0xff);
    sys_prctl(PR_SET_DUMPABLE, 0, 0);
    sys_signal_default(signal);
    sys_kill(sys_getpid(), signal);
    sys_signal_mask(~SIGNAL(signal));
    sys_exit(EXIT_SIGNALLED + signal);
}

/* Does nothing, which keeps alive whatever needs a process in it. */
_Noreturn static void hold(struct supervisor *self)
{
    struct pollfd watched[] = {{self->signals, POLLIN, 0}, {self->owner, POLLIN, 0}};
    struct signalfd_siginfo info;
    keep_only_own(self);
    for (;;) {
        sys_poll(watched, 2, -1);
        if (watched[1].revents)
            sys_exit(0);
        while (sys_read(self->signals, &info, sizeof info) == sizeof info)
            if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT || info.ssi_signo == SIGHUP)
                sys_exit(0);
    }
}

_Noreturn static void print_version(void)
{
    static const char text[] = "cgroupkit launcher " LAUNCHER_VERSION "\n";
    sys_exit(sys_write(1, text, sizeof text - 1) < 0);
}

_Noreturn static void launch(char **argv, char **environment)
{
    static struct plan plan;
    struct supervisor self = {
        .plan = &plan,
        .passage = {.procs = -1, .born = {-1, -1}},
        .v2 = -1,
        .owner = -1,
        .child_fd = -1,
    };

    plan.environment = environment;
    parse_options(&plan, argv);
    if (plan.version)
        print_version();
    take_over_signals();
    check_kept(&plan);
    self.signals = open_signals(&plan);
    self.owner = open_owner(&plan);
    if (plan.hold)
        hold(&self);
    open_cgroups(&self);
    prepare_passage(&self);
    start_child_alive(&self);
    keep_only_own(&self);
    int status = supervise(&self);
    leave_watcher(&self);
    end_alike(status);
}

void begin(long *stack) __attribute__((noreturn, used));
DEFINE_START(begin);

/* argc, argv, NULL, environment, NULL: as the kernel laid them out. */
void begin(long *stack)
{
    char **argv = (char **)(stack + 1);
    launch(argv, argv + stack[0] + 1);
}
