/* Strings and numbers, and the three functions that gcc calls on its own. */
#ifndef CGROUPKIT_TEXT_H
#define CGROUPKIT_TEXT_H

#include <stdbool.h>
#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *a, const void *b, size_t size);

size_t text_length(const char *text);
bool text_equal(const char *a, const char *b);
bool text_has(const char *text, char wanted);

/* If text begins with prefix, what comes after it; else NULL. */
const char *text_after(const char *text, const char *prefix);

/* A decimal number without sign that fits an int; -1 if it is not one. */
int text_number(const char *text);

/* A line that is put together piece by piece; what does not fit is cut off. */
struct line {
    size_t length;
    char text[512];
};
void line_add(struct line *line, const char *text);
void line_add_number(struct line *line, unsigned long number);

#endif
