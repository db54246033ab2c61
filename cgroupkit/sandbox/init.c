/* PID 1 of a box with a pid namespace: starts the program as PID 2, reaps
 * whatever ends, passes signals on, and ends with the program; the kernel then
 * kills the rest of the namespace. */
#include "launcher.h"

/* The program borrows our memory until its exec, which saves copying it. Its
 * code must not return into our frame, and doesn't. A time namespace that we
 * unshared is entered by fork alone, not with memory borrowed. */
static int start_program(const struct plan *plan, const struct passage *passage)
{
    struct clone_request request = {
        .flags = passage->unshare_time ? 0 : CLONE_VM | CLONE_VFORK,
        .exit_signal = SIGCHLD,
    };
    long pid = sys_clone(&request);
    if (pid == 0)
        run_program(plan);
    if (pid < 0)
        fail(plan, STAGE_INIT, 0, pid);
    return (int)pid;
}

/* PID 1 can't die by a signal of its own, so the supervisor learns from the
 * pipe how the program ended. */
_Noreturn static void pass_on(const struct passage *passage, int status)
{
    sys_write(passage->exit_pipe[1], &status, sizeof status);
    sys_exit(0);
}

static void reap(const struct passage *passage, int program)
{
    long pid;
    int status;
    while ((pid = sys_wait(-1, &status, WNOHANG)) > 0)
        if (pid == program)
            pass_on(passage, status);
}

/* What the supervisor sends comes from outside of our pid namespace and so
 * without a pid; what processes in the box send to PID 1 is for nobody. */
static void forward_signals(int signals, int program)
{
    struct signalfd_siginfo info;
    while (sys_read(signals, &info, sizeof info) == sizeof info)
        if (info.ssi_code <= 0 && info.ssi_pid == 0 && info.ssi_signo != SIGCHLD)
            sys_kill(program, info.ssi_signo);
}

_Noreturn void be_init(const struct plan *plan, const struct passage *passage)
{
    int signals = (int)sys_signalfd(~SIGNALS_LEFT_ALONE);
    if (signals < 0)
        fail(plan, STAGE_INIT, 0, signals);

    /* Not to be traced, nor our /proc/1/exe opened, by the box. */
    sys_prctl(PR_SET_DUMPABLE, 0, 0);

    /* The supervisor alone reads from the pipe now, so an error on it means
     * that the supervisor is gone, even if it went before PR_SET_PDEATHSIG. */
    struct pollfd watched[] = {{passage->exit_pipe[1], 0, 0}, {signals, POLLIN, 0}};
    sys_close(passage->exit_pipe[0]);
    sys_prctl(PR_SET_PDEATHSIG, SIGKILL, 0);
    if (sys_poll(watched, 1, 0) > 0)
        sys_exit(EXIT_LAUNCHER_FAILED);

    int program = start_program(plan, passage);
    int keep[] = {signals, passage->exit_pipe[1]};
    close_others(keep, 2);
    for (;;) {
        reap(passage, program);
        sys_poll(watched, 2, -1);
        if (watched[0].revents)
            sys_exit(EXIT_LAUNCHER_FAILED);
        forward_signals(signals, program);
    }
}
