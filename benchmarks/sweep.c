/* The yardstick for Sampler: pread on kept descriptors, nothing parsed.
 *
 * Reads the paths of the files from standard input, opens them, and then
 * sweeps over all of them once for each line that follows the empty line,
 * and prints the nanoseconds that took.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(void)
{
    static char line[4096], text[1 << 16];
    int *fds = NULL;
    size_t count = 0;
    struct rlimit most;

    getrlimit(RLIMIT_NOFILE, &most);
    most.rlim_cur = most.rlim_max;
    setrlimit(RLIMIT_NOFILE, &most);
    while (fgets(line, sizeof line, stdin) && line[0] != '\n') {
        line[strcspn(line, "\n")] = 0;
        fds = realloc(fds, (count + 1) * sizeof *fds);
        fds[count] = open(line, O_RDONLY | O_CLOEXEC);
        if (fds[count++] < 0) {
            perror(line);
            return 1;
        }
    }
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        long long start = now();
        for (size_t i = 0; i < count; i++)
            if (pread(fds[i], text, sizeof text, 0) < 0) {
                perror("pread");
                return 1;
            }
        printf("%lld\n", now() - start);
        fflush(stdout);
    }
    return 0;
}
