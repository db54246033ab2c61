/* Many cgroups' files into Stats, in one call.
 *
 * What is to be read and what becomes of it is told by a program that
 * quick.py makes of the controllers' descriptions. Whatever this does not
 * understand is given to Python: a text to the leaf's own function, a file
 * that cannot be read (None is returned) to the careful way of watch.py.
 *
 * Of Python only functions of the stable ABI are used, and no header of it,
 * so that one shared object, loaded by ctypes, serves every version.
 */
#ifndef QUICK_H
#define QUICK_H

typedef struct object PyObject;
typedef int (*set_slot)(PyObject *descriptor, PyObject *self, PyObject *value);

extern void Py_IncRef(PyObject *);
extern void Py_DecRef(PyObject *);
extern PyObject *PyLong_FromUnsignedLongLong(unsigned long long);

extern int memcmp(const void *, const void *, unsigned long);

enum { FILES = 64, LEAVES = 64, FIELDS = 96, ALSO = 3 };
enum kind { NUMBER, LIMIT, FLAT, CALL };
enum { EXTRA = -1, LEFT_OUT = -2 };

struct key {
    const char *text;
    int length;
    int field;
    unsigned long long divide;
    PyObject *name;
};

struct record {
    PyObject *type;
    int fields;
    int extra; /* which field is the dict of unknown keys, or -1 */
    PyObject **descriptors;
    PyObject **defaults;
    int keys;
    struct key *key;
    PyObject *extras; /* a dict that has all keys that may go to extra */
    int extra_keys;
};

struct leaf {
    int kind;
    int files;
    int file[ALSO + 1];
    int also[ALSO];
    unsigned long long divide[ALSO];
    int whole, part, rest; /* fields to be scaled, or -1 */
    struct record *record;
    PyObject *call;
};

struct group {
    struct record *record;
    int *source; /* for each field: which of the values, or -1 for the default */
};

struct program {
    int files;
    int leaves;
    int groups;
    int stale; /* Python has learned keys: it is to be made anew before it is used again */
    struct leaf *leaf;
    struct group *group;
    set_slot set;
    unsigned long long unlimited;
    PyObject *none;
};

struct text {
    const char *start, *end;
};

/* What all cgroups have: the first of the values that a group is made of. */
struct given {
    PyObject *time, *inodes, *host;
};

/* A new Stats, or 0 with an exception. */
PyObject *build(const struct program *, const struct text *, const struct given *);

#endif
