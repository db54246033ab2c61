/* Acting on all descriptors but a few. close_range does a whole gap between
 * two kept ones at once; before 5.11 we go through /proc/self/fd. */
#include "launcher.h"
#include "text.h"

static void sort(int *numbers, unsigned count)
{
    for (unsigned i = 1; i < count; i++)
        for (unsigned j = i; j > 0 && numbers[j - 1] > numbers[j]; j--) {
            int swapped = numbers[j];
            numbers[j] = numbers[j - 1];
            numbers[j - 1] = swapped;
        }
}

static bool contains(const int *numbers, unsigned count, int wanted)
{
    while (count--)
        if (numbers[count] == wanted)
            return true;
    return false;
}

static long change_gap(int first, int last, unsigned flags)
{
    return first <= last ? sys_close_range(first, last, flags) : 0;
}

static long change_gaps(const int *keep, unsigned count, int first, unsigned flags)
{
    for (unsigned i = 0; i < count; i++) {
        if (keep[i] < first)
            continue;
        long error = change_gap(first, keep[i] - 1, flags);
        if (error)
            return error;
        first = keep[i] + 1;
    }
    return sys_close_range(first, ~0U, flags);
}

static long change_one_by_one(const int *keep, unsigned count, int first, unsigned flags)
{
    char entries[1024] __attribute__((aligned(8)));
    long size;
    int dir = (int)sys_open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
    if (dir < 0)
        return dir;
    while ((size = sys_getdents(dir, entries, sizeof entries)) > 0)
        for (char *at = entries; at < entries + size;) {
            struct directory_entry *entry = (struct directory_entry *)at;
            int fd = text_number(entry->name);
            at += entry->length;
            if (fd < first || fd == dir || contains(keep, count, fd))
                continue;
            if (flags)
                sys_fcntl(fd, F_SETFD, FD_CLOEXEC);
            else
                sys_close(fd);
        }
    sys_close(dir);
    return size;
}

static int change_others(const int *keep, unsigned count, int first, unsigned flags)
{
    int sorted[MAX_KEEP];
    memcpy(sorted, keep, count * sizeof *keep);
    sort(sorted, count);
    long error = change_gaps(sorted, count, first, flags);
    if (error == -ENOSYS || error == -EINVAL)
        error = change_one_by_one(sorted, count, first, flags);
    return (int)error;
}

int close_others(const int *keep, unsigned count)
{
    return change_others(keep, count, 0, 0);
}

int mark_others_close_on_exec(const int *keep, unsigned count)
{
    return change_others(keep, count, 3, CLOSE_RANGE_CLOEXEC);
}
