/* The kernel, without a C library: system calls, and the structures and
 * constants that older UAPI headers lack. Every call returns the kernel's
 * own answer: a value, or -errno. */
#ifndef CGROUPKIT_SYS_H
#define CGROUPKIT_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/poll.h>
#include <linux/prctl.h>
#include <linux/signal.h>
#include <linux/signalfd.h>
#include <linux/types.h>
#include <linux/wait.h>
#if __has_include(<linux/mount.h>)
#include <linux/mount.h>
#else
#include <linux/fs.h>
#endif

/* Since 424 a system call has the same number on every architecture. */
#ifndef __NR_pidfd_send_signal
#define __NR_pidfd_send_signal 424
#endif
#ifndef __NR_pidfd_open
#define __NR_pidfd_open 434
#endif
#ifndef __NR_clone3
#define __NR_clone3 435
#endif
#ifndef __NR_close_range
#define __NR_close_range 436
#endif
#ifndef __NR_mount_setattr
#define __NR_mount_setattr 442
#endif

/* linux/sched.h, for as much of it as we need. */
#define CLONE_VM 0x00000100
#define CLONE_PIDFD 0x00001000
#define CLONE_VFORK 0x00004000
#define CLONE_NEWTIME 0x00000080
#define CLONE_NEWNS 0x00020000
#define CLONE_NEWCGROUP 0x02000000
#define CLONE_NEWUTS 0x04000000
#define CLONE_NEWIPC 0x08000000
#define CLONE_NEWUSER 0x10000000
#define CLONE_NEWPID 0x20000000
#define CLONE_NEWNET 0x40000000
#define CLONE_INTO_CGROUP 0x200000000ULL

#define CLOSE_RANGE_CLOEXEC (1U << 2)
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#ifndef MOUNT_ATTR_RDONLY
#define MOUNT_ATTR_RDONLY 0x00000001
#endif

#ifndef O_CLOEXEC
#error "asm/fcntl.h did not define O_CLOEXEC"
#endif

struct clone_request {
    uint64_t flags;
    uint64_t pidfd;
    uint64_t child_tid;
    uint64_t parent_tid;
    uint64_t exit_signal;
    uint64_t stack;
    uint64_t stack_size;
    uint64_t tls;
    uint64_t set_tid;
    uint64_t set_tid_size;
    uint64_t cgroup;
};
/* What 5.3 knows of it; a kernel refuses a size it does not know. */
#define CLONE_REQUEST_FIRST_SIZE 64

struct mount_attributes {
    uint64_t attr_set;
    uint64_t attr_clr;
    uint64_t propagation;
    uint64_t userns_fd;
};

struct duration {
    long seconds;
    long nanoseconds;
};

struct directory_entry {
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
};
#define ENTRY_IS_DIRECTORY 4

#if defined(__x86_64__)

static inline long sys6(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long answer;
    __asm__ volatile("syscall"
                     : "=a"(answer)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return answer;
}

/* The kernel starts us with argc, argv and the environment on the stack. */
#define DEFINE_START(entry)         \
    __asm__(".globl _start\n"       \
            "_start:\n"             \
            "    xor %ebp, %ebp\n"  \
            "    mov %rsp, %rdi\n"  \
            "    and $-16, %rsp\n"  \
            "    call " #entry "\n" \
            "    hlt\n")

#elif defined(__aarch64__)

static inline long sys6(long number, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
}

#define DEFINE_START(entry)       \
    __asm__(".globl _start\n"     \
            "_start:\n"           \
            "    mov x29, #0\n"   \
            "    mov x30, #0\n"   \
            "    mov x0, sp\n"    \
            "    and sp, x0, #-16\n" \
            "    b " #entry "\n")

#else
#error "cgroupkit's launcher knows x86_64 and aarch64"
#endif

#define SYS_NTH(_1, _2, _3, _4, _5, _6, name, ...) name
#define SYS1(n, a) sys6(n, (long)(a), 0, 0, 0, 0, 0)
#define SYS2(n, a, b) sys6(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define SYS3(n, a, b, c) sys6(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define SYS4(n, a, b, c, d) sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define SYS5(n, a, b, c, d, e) \
    sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define SYS0(n) sys6(n, 0, 0, 0, 0, 0, 0)

_Noreturn static inline void sys_exit(int status)
{
    for (;;)
        SYS1(__NR_exit_group, status);
}

static inline long sys_openat(int dir, const char *path, int flags)
{
    return SYS4(__NR_openat, dir, path, flags | O_CLOEXEC, 0);
}

static inline long sys_open(const char *path, int flags)
{
    return sys_openat(AT_FDCWD, path, flags);
}

static inline long sys_close(int fd) { return SYS1(__NR_close, fd); }

static inline long sys_read(int fd, void *buffer, size_t size)
{
    return SYS3(__NR_read, fd, buffer, size);
}

static inline long sys_pread(int fd, void *buffer, size_t size, long offset)
{
    return SYS4(__NR_pread64, fd, buffer, size, offset);
}

static inline long sys_write(int fd, const void *bytes, size_t size)
{
    return SYS3(__NR_write, fd, bytes, size);
}

static inline long sys_fcntl(int fd, int command, long value)
{
    return SYS3(__NR_fcntl, fd, command, value);
}

static inline long sys_pipe(int ends[2])
{
    return SYS2(__NR_pipe2, ends, O_CLOEXEC | O_NONBLOCK);
}

static inline long sys_close_range(unsigned first, unsigned last, unsigned flags)
{
    return SYS3(__NR_close_range, first, last, flags);
}

static inline long sys_getdents(int dir, void *buffer, size_t size)
{
    return SYS3(__NR_getdents64, dir, buffer, size);
}

static inline long sys_rmdir_at(int dir, const char *name)
{
    return SYS3(__NR_unlinkat, dir, name, AT_REMOVEDIR);
}

static inline long sys_chmod_at(int dir, const char *name, unsigned mode)
{
    return SYS3(__NR_fchmodat, dir, name, mode);
}

static inline long sys_clone(const struct clone_request *request)
{
    size_t size = request->flags & CLONE_INTO_CGROUP ? sizeof *request : CLONE_REQUEST_FIRST_SIZE;
    return SYS2(__NR_clone3, request, size);
}

static inline long sys_unshare(uint64_t flags) { return SYS1(__NR_unshare, flags); }

static inline long sys_execve(const char *path, char *const *argv, char *const *environment)
{
    return SYS3(__NR_execve, path, argv, environment);
}

static inline long sys_wait(int pid, int *status, int options)
{
    return SYS4(__NR_wait4, pid, status, options, 0);
}

static inline long sys_kill(int pid, int signal) { return SYS2(__NR_kill, pid, signal); }

static inline long sys_pidfd_open(int pid) { return SYS2(__NR_pidfd_open, pid, 0); }

static inline long sys_pidfd_send_signal(int pidfd, int signal)
{
    return SYS4(__NR_pidfd_send_signal, pidfd, signal, 0, 0);
}

static inline int sys_getpid(void) { return (int)SYS0(__NR_getpid); }
static inline int sys_getppid(void) { return (int)SYS0(__NR_getppid); }
static inline unsigned sys_geteuid(void) { return (unsigned)SYS0(__NR_geteuid); }
static inline unsigned sys_getegid(void) { return (unsigned)SYS0(__NR_getegid); }
static inline long sys_setsid(void) { return SYS0(__NR_setsid); }

static inline long sys_prctl(int option, long a, long b)
{
    return SYS5(__NR_prctl, option, a, b, 0, 0);
}

/* A set of signals as the kernel has it: bit N-1 for signal N. */
typedef uint64_t signal_set;
#define SIGNAL(number) ((signal_set)1 << ((number) - 1))

static inline long sys_signal_mask(signal_set mask)
{
    return SYS4(__NR_rt_sigprocmask, SIG_SETMASK, &mask, 0, sizeof mask);
}

static inline long sys_signal_default(int number)
{
    static const struct {
        void *handler;
        unsigned long flags;
        void *restorer;
        signal_set mask;
    } by_default;
    return SYS4(__NR_rt_sigaction, number, &by_default, 0, sizeof by_default.mask);
}

static inline long sys_signalfd(signal_set mask)
{
    return SYS4(__NR_signalfd4, -1, &mask, sizeof mask, O_CLOEXEC | O_NONBLOCK);
}

/* Waits without end if milliseconds is negative. */
static inline long sys_poll(struct pollfd *fds, unsigned count, int milliseconds)
{
    struct duration limit = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    return SYS5(__NR_ppoll, fds, count, milliseconds < 0 ? NULL : &limit, 0, 0);
}

static inline void sys_sleep(int milliseconds) { sys_poll(NULL, 0, milliseconds); }

static inline long sys_mount(const char *source, const char *target, const char *type,
                             unsigned long flags, const char *data)
{
    return SYS5(__NR_mount, source, target, type, flags, data);
}

static inline long sys_mount_setattr(const char *path, const struct mount_attributes *attributes)
{
    return SYS5(__NR_mount_setattr, AT_FDCWD, path, AT_RECURSIVE, attributes, sizeof *attributes);
}

static inline long sys_getcwd(char *buffer, size_t size)
{
    return SYS2(__NR_getcwd, buffer, size);
}

static inline long sys_chdir(const char *path) { return SYS1(__NR_chdir, path); }

static inline long sys_sethostname(const char *name, size_t length)
{
    return SYS2(__NR_sethostname, name, length);
}

#endif
