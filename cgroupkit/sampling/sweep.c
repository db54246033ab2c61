/* Reading many cgroups: several threads read ahead, and one makes Stats of what was read.
 *
 * Reading takes most of the time and needs no lock of Python's; making objects
 * does. Items are read in any order, each into the slot of its number, and
 * taken in their order.
 */
#include "quick.h"

enum { SLOTS = 16, HELPERS = 15, TEXT = 32768 };

#define PUBLIC __attribute__((visibility("default")))

struct timespec {
    long seconds, nanoseconds;
};

struct signals { /* a sigset_t is 128 bytes at most */
    unsigned char set[128];
} __attribute__((aligned(8)));

extern PyObject *PyLong_FromLongLong(long long);
extern int PyList_Append(PyObject *, PyObject *);
extern void *PyEval_SaveThread(void);
extern void PyEval_RestoreThread(void *);

extern long pread(int, void *, unsigned long, long);
extern int clock_gettime(int, struct timespec *);
extern int nanosleep(const struct timespec *, struct timespec *);
extern int sched_yield(void);
extern int pthread_create(unsigned long *, const void *, void *(*)(void *), void *);
extern int pthread_join(unsigned long, void **);
extern int pthread_sigmask(int, const struct signals *, struct signals *);

struct item {
    const struct program *program;
    const int *fds;
    PyObject *inodes;
};

struct slot {
    long ready; /* the number of the item in it, counted from 1 */
    int whole;  /* whether all its files could be read */
    long long moment;
    struct text texts[FILES];
    char buffer[TEXT];
};

struct sweep {
    const struct item *items;
    struct slot *slots;
    long room; /* how many slots there are */
    long count;
    long next;  /* the item that is read next */
    long built; /* how many are done with: their slots are free */
    int stopped;
};

static long rooms(int threads)
{
    return threads > 1 ? SLOTS : 1;
}

/* How many bytes of slots quick_sweep wants. */
PUBLIC unsigned long quick_slots(int threads)
{
    return (unsigned long)rooms(threads) * sizeof(struct slot);
}

static long load(const long *from)
{
    return __atomic_load_n(from, __ATOMIC_ACQUIRE);
}

static long long now(void)
{
    struct timespec time;

    clock_gettime(1 /* CLOCK_MONOTONIC */, &time);
    return time.seconds * 1000000000LL + time.nanoseconds;
}

static int read_all(const struct program *program, const int *fds, struct slot *slot)
{
    char *at = slot->buffer, *end = at + TEXT;

    for (int i = 0; i < program->files; i++) {
        long length = pread(fds[i], at, (unsigned long)(end - at), 0);

        if (length < 0 || length == end - at)
            return 0;
        slot->texts[i] = (struct text){at, at + length};
        at += length;
    }
    return 1;
}

/* Read the next item that is nobody's; 0 if there is none, or no slot for it. */
static int read_one(struct sweep *sweep)
{
    long number = load(&sweep->next);

    do {
        if (number >= sweep->count || number >= load(&sweep->built) + sweep->room)
            return 0;
    } while (!__atomic_compare_exchange_n(&sweep->next, &number, number + 1, 0, __ATOMIC_ACQ_REL,
                                          __ATOMIC_ACQUIRE));
    const struct item *item = &sweep->items[number];
    struct slot *slot = &sweep->slots[number % sweep->room];

    slot->moment = now();
    slot->whole = read_all(item->program, item->fds, slot);
    __atomic_store_n(&slot->ready, number + 1, __ATOMIC_RELEASE);
    return 1;
}

static void *help(void *argument)
{
    static const struct timespec moment = {0, 20000};
    struct sweep *sweep = argument;

    while (load(&sweep->next) < sweep->count && !__atomic_load_n(&sweep->stopped, __ATOMIC_ACQUIRE))
        if (!read_one(sweep))
            nanosleep(&moment, 0); /* until there is a slot: who makes Stats waits for Python's lock */
    return 0;
}

static struct slot *wait_for(struct sweep *sweep, long number)
{
    struct slot *slot = &sweep->slots[number % sweep->room];

    if (load(&slot->ready) != number + 1) {
        void *thread = PyEval_SaveThread();

        while (load(&slot->ready) != number + 1)
            if (!read_one(sweep))
                sched_yield();
        PyEval_RestoreThread(thread);
    }
    return slot;
}

static int append(PyObject *found, const struct item *item, const struct slot *slot, PyObject *host)
{
    PyObject *made = item->program->none;

    if (slot->whole) {
        struct given given = {PyLong_FromLongLong(slot->moment), item->inodes, host};

        if (!given.time)
            return -1;
        made = build(item->program, slot->texts, &given);
        Py_DecRef(given.time);
    } else {
        Py_IncRef(made);
    }
    int failed = !made || PyList_Append(found, made) < 0;

    if (made)
        Py_DecRef(made);
    return failed ? -1 : 0;
}

static int start_helpers(struct sweep *sweep, unsigned long *threads, int wanted)
{
    static const struct signals all = {{[0 ... 127] = 0xff}};
    struct signals before;
    int count = 0;

    pthread_sigmask(0 /* SIG_BLOCK */, &all, &before); /* signals are for the others */
    while (count < wanted && count < HELPERS && !pthread_create(&threads[count], 0, help, sweep))
        count++;
    pthread_sigmask(2 /* SIG_SETMASK */, &before, 0);
    return count;
}

/* Append a Stats, or None where the files could not be read, to *found* for each of the items from the
 * first on, until a program is stale or the *deadline* (ns, 0 is none) is over. -1 with an exception,
 * which is about the item that would have come next. */
PUBLIC int quick_sweep(const struct item *items, long count, PyObject *host, PyObject *found,
                       long long deadline, struct slot *slots, int threads)
{
    struct sweep sweep = {.items = items, .slots = slots, .room = rooms(threads), .count = count};
    unsigned long helper[HELPERS];
    int failed = 0;

    for (long i = 0; i < sweep.room; i++)
        slots[i].ready = 0;
    int helpers = start_helpers(&sweep, helper, threads - 1);

    for (long number = 0; !failed && number < count; number++) {
        const struct slot *slot = wait_for(&sweep, number);

        if (deadline && slot->moment >= deadline)
            break;
        failed = append(found, &items[number], slot, host);
        __atomic_store_n(&sweep.built, number + 1, __ATOMIC_RELEASE);
        if (items[number].program->stale)
            break;
    }
    __atomic_store_n(&sweep.stopped, 1, __ATOMIC_RELEASE);
    while (helpers > 0)
        pthread_join(helper[--helpers], 0);
    return failed;
}
