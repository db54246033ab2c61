/* The command line: launcher [OPTION]... -- PROGRAM [ARG]... */
#include "launcher.h"
#include "text.h"

enum option {
    OPTION_V2,
    OPTION_V1,
    OPTION_NS,
    OPTION_OWNER,
    OPTION_STATUS,
    OPTION_KEEP,
    OPTION_HOSTNAME,
    OPTION_HIDE,
    OPTION_RO,
    FIRST_FLAG,
    OPTION_PROC = FIRST_FLAG,
    OPTION_NEW_SESSION,
    OPTION_NO_NEW_PRIVS,
    OPTION_DROP_CAPS,
    OPTION_NO_USER_NAMESPACES,
    OPTION_HOLD,
    OPTION_VERSION,
    OPTION_COUNT,
};

static const char *const option_names[OPTION_COUNT] = {
    [OPTION_V2] = "--v2",
    [OPTION_V1] = "--v1",
    [OPTION_NS] = "--ns",
    [OPTION_OWNER] = "--owner",
    [OPTION_STATUS] = "--status",
    [OPTION_KEEP] = "--keep",
    [OPTION_HOSTNAME] = "--hostname",
    [OPTION_HIDE] = "--hide",
    [OPTION_RO] = "--ro",
    [OPTION_PROC] = "--proc",
    [OPTION_NEW_SESSION] = "--new-session",
    [OPTION_NO_NEW_PRIVS] = "--no-new-privs",
    [OPTION_DROP_CAPS] = "--drop-caps",
    [OPTION_NO_USER_NAMESPACES] = "--no-user-namespaces",
    [OPTION_HOLD] = "--hold",
    [OPTION_VERSION] = "--version",
};

static const struct {
    const char *name;
    uint64_t flag;
} namespaces[] = {
    {"pid", CLONE_NEWPID}, {"ipc", CLONE_NEWIPC},   {"uts", CLONE_NEWUTS},
    {"mnt", CLONE_NEWNS},  {"net", CLONE_NEWNET},   {"user", CLONE_NEWUSER},
    {"time", CLONE_NEWTIME}, {"cgroup", CLONE_NEWCGROUP},
};

/* One argument under examination. */
struct argument {
    const struct plan *plan;
    unsigned index;
    const char *text;
};

_Noreturn static void refuse(const struct argument *argument, const char *why)
{
    fail_option(argument->plan, argument->index, EINVAL, why, argument->text);
}

static void refuse_beyond(const struct argument *argument, unsigned count, unsigned limit)
{
    if (count >= limit)
        fail_option(argument->plan, argument->index, E2BIG, "too many of these options",
                    argument->text);
}

static enum option recognise(const struct argument *argument, const char **value)
{
    for (unsigned option = 0; option < OPTION_COUNT; option++) {
        const char *rest = text_after(argument->text, option_names[option]);
        if (!rest || (*rest && *rest != '='))
            continue;
        if (option >= FIRST_FLAG) {
            if (*rest)
                refuse(argument, "this option takes no value");
        } else if (!*rest || !rest[1]) {
            refuse(argument, "this option needs a value, as in --key=value");
        }
        *value = rest + 1;
        return option;
    }
    refuse(argument, "unknown option");
}

static int number(const struct argument *argument, const char *value, int least)
{
    int parsed = text_number(value);
    if (parsed < least)
        refuse(argument, "not a number this option can take");
    return parsed;
}

static uint64_t namespace_flags(const struct argument *argument, const char *list)
{
    uint64_t flags = 0;
    while (*list) {
        const char *rest = NULL;
        for (unsigned i = 0; i < sizeof namespaces / sizeof *namespaces; i++) {
            rest = text_after(list, namespaces[i].name);
            if (rest && (!*rest || *rest == ',')) {
                flags |= namespaces[i].flag;
                break;
            }
            rest = NULL;
        }
        if (!rest)
            refuse(argument, "unknown namespace");
        if (*rest == ',' && !*++rest)
            refuse(argument, "the list ends with a comma");
        list = rest;
    }
    return flags;
}

static void add_path(struct path_list *list, const struct argument *argument, const char *path)
{
    refuse_beyond(argument, list->count, MAX_PATHS);
    list->path[list->count++] = path;
}

static void take(struct plan *plan, const struct argument *argument)
{
    const char *value;
    switch (recognise(argument, &value)) {
    case OPTION_V2:
        refuse_beyond(argument, plan->v2 != NULL, 1);
        plan->v2 = value;
        break;
    case OPTION_V1:
        refuse_beyond(argument, plan->v1_count, MAX_V1);
        plan->v1[plan->v1_count++] = value;
        break;
    case OPTION_NS:
        plan->namespaces |= namespace_flags(argument, value);
        break;
    case OPTION_OWNER:
        refuse_beyond(argument, plan->owner != 0, 1);
        plan->owner = number(argument, value, 1);
        break;
    case OPTION_STATUS:
        refuse_beyond(argument, plan->status >= 0, 1);
        plan->status = number(argument, value, 3);
        break;
    case OPTION_KEEP:
        refuse_beyond(argument, plan->keep_count, MAX_KEEP);
        plan->keep[plan->keep_count++] = number(argument, value, 0);
        break;
    case OPTION_HOSTNAME:
        refuse_beyond(argument, plan->hostname != NULL, 1);
        plan->hostname = value;
        break;
    case OPTION_HIDE:
        add_path(&plan->hidden, argument, value);
        break;
    case OPTION_RO:
        add_path(&plan->read_only, argument, value);
        break;
    case OPTION_PROC:
        plan->own_proc = true;
        break;
    case OPTION_NEW_SESSION:
        plan->new_session = true;
        break;
    case OPTION_NO_NEW_PRIVS:
        plan->no_new_privs = true;
        break;
    case OPTION_DROP_CAPS:
        plan->drop_capabilities = true;
        break;
    case OPTION_NO_USER_NAMESPACES:
        plan->no_user_namespaces = true;
        break;
    case OPTION_HOLD:
        plan->hold = true;
        break;
    case OPTION_VERSION:
        plan->version = true;
        break;
    case OPTION_COUNT:
        break;
    }
}

/* Without the namespace these would change the machine instead of the box. */
static void require_namespaces(const struct plan *plan, unsigned end)
{
    struct argument whole = {plan, end, "--hostname"};
    if (plan->hostname && !(plan->namespaces & CLONE_NEWUTS))
        refuse(&whole, "--ns=uts is missing for");
    whole.text = "--proc";
    if (plan->own_proc && !(plan->namespaces & CLONE_NEWPID))
        refuse(&whole, "--ns=pid is missing for");
    if (plan->own_proc && !(plan->namespaces & CLONE_NEWNS))
        refuse(&whole, "--ns=mnt is missing for");
    whole.text = "--no-user-namespaces";
    if (plan->no_user_namespaces && !(plan->namespaces & CLONE_NEWUSER))
        refuse(&whole, "--ns=user is missing for");
    whole.text = "--hide or --ro";
    if ((plan->hidden.count || plan->read_only.count) && !(plan->namespaces & CLONE_NEWNS))
        refuse(&whole, "--ns=mnt is missing for");
    whole.text = "--status";
    for (unsigned i = 0; i < plan->keep_count; i++)
        if (plan->keep[i] == plan->status)
            refuse(&whole, "--keep names the descriptor of");
}

void parse_options(struct plan *plan, char **argv)
{
    unsigned index = 0;
    plan->status = -1;
    while (argv[index] && argv[++index]) {
        struct argument argument = {plan, index, argv[index]};
        if (text_equal(argv[index], "--")) {
            plan->command = argv + index + 1;
            break;
        }
        take(plan, &argument);
    }
    if (plan->hold || plan->version)
        return;
    if (!plan->command || !plan->command[0]) {
        struct argument missing = {plan, index, "-- PROGRAM [ARG]..."};
        refuse(&missing, "the program to run is missing; it comes after the options, as in");
    }
    require_namespaces(plan, index);
}
