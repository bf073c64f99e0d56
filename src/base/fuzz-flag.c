/* Command lines, one word per line: taken or refused with a reason, and nothing leaks either way. */
#include "base/flag.h"

#include <assert.h>
#include "base/mem.h"

#define WORDS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Options {
    char *text;
    bool yes;
    int64_t number, bytes;
    Usec wait;
    Secret *secret;
} Options;

static const Flag table[] = {
    {"text", NULL, FLAG_STRING, offsetof(Options, text), "x", "Text", NULL},
    {"yes", NULL, FLAG_BOOL, offsetof(Options, yes), NULL, "Yes", NULL},
    {"number", NULL, FLAG_INT, offsetof(Options, number), NULL, "Number", NULL},
    {"bytes", NULL, FLAG_SIZE, offsetof(Options, bytes), NULL, "Bytes", NULL},
    {"wait", NULL, FLAG_DURATION, offsetof(Options, wait), NULL, "Wait", NULL},
    {"old", NULL, FLAG_IGNORED, 0, NULL, NULL, NULL},
    {"older", NULL, FLAG_IGNORED_BOOL, 0, NULL, NULL, NULL},
    {"help", NULL, FLAG_IGNORED_BOOL, 0, NULL, NULL, NULL},
    {"h", NULL, FLAG_IGNORED_BOOL, 0, NULL, NULL, NULL},
    {0},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char program[] = "fuzz", *argv[WORDS_MAX + 2] = {program}, **args = NULL;
    CLEANUP_FREE char *text = xmemdup0(data, size);
    int argc = 1;
    for (char *at = text; at && argc <= WORDS_MAX;) {
        argv[argc++] = at;
        at = strchr(at, '\n');
        if (at)
            *at++ = '\0';
    }
    Options o;
    Err err = {0};
    if (flags_parse(table, &o, argc, argv, &args, &err) < 0) {
        assert(err.code == ERR_USAGE && *err.msg && !o.text && !args);
        return 0;
    }
    assert(o.bytes >= 0 && o.text && args);
    flags_free(table, &o);
    free(args);
    return 0;
}
