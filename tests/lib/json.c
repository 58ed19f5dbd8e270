/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/json.h"

#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 32

static const char *blank(const char *p)
{
    return p + strspn(p, " \t\r\n");
}

/* Each returns what follows, or NULL. */
static const char *value(const char *p, int depth);

static const char *string(const char *p)
{
    if (*p++ != '"')
        return NULL;
    for (; *p != '"'; p++) {
        if ((unsigned char)*p < 0x20)
            return NULL;
        if (*p != '\\')
            continue;
        p++;
        if (*p == 'u') {
            for (int i = 0; i < 4; i++)
                if (!isxdigit((unsigned char)*++p))
                    return NULL;
        } else if (*p == '\0' || !strchr("\"\\/bfnrt", *p)) {
            return NULL;
        }
    }
    return p + 1;
}

static const char *number(const char *p)
{
    p += *p == '-';
    size_t n = strspn(p, "0123456789");
    if (n == 0 || (n > 1 && *p == '0'))
        return NULL;
    p += n;
    if (*p == '.') {
        n = strspn(++p, "0123456789");
        if (n == 0)
            return NULL;
        p += n;
    }
    if (*p == 'e' || *p == 'E') {
        p++;
        p += *p == '+' || *p == '-';
        n = strspn(p, "0123456789");
        if (n == 0)
            return NULL;
        p += n;
    }
    return p;
}

/* The members of an object or array behind its bracket. */
static const char *members(const char *p, char end, int depth)
{
    p = blank(p);
    if (*p == end)
        return p + 1;
    for (;;) {
        if (end == '}') {
            p = string(blank(p));
            if (!p || *(p = blank(p)) != ':')
                return NULL;
            p++;
        }
        p = value(p, depth);
        if (!p)
            return NULL;
        p = blank(p);
        if (*p == end)
            return p + 1;
        if (*p++ != ',')
            return NULL;
    }
}

static const char *word(const char *p)
{
    static const char *const words[] = {"true", "false", "null"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strncmp(p, words[i], strlen(words[i])) == 0)
            return p + strlen(words[i]);
    return NULL;
}

static const char *value(const char *p, int depth)
{
    p = blank(p);
    if (depth > DEPTH_MAX)
        return NULL;
    if (*p == '{' || *p == '[')
        return members(p + 1, *p == '{' ? '}' : ']', depth + 1);
    if (*p == '"')
        return string(p);
    return isalpha((unsigned char)*p) ? word(p) : number(p);
}

bool json_valid(const char *text)
{
    const char *end = value(text, 0);
    return end && *blank(end) == '\0';
}

/* The member of the object or array at @p that is called, or is the one of the number, @name. */
static const char *member(const char *p, const char *name, size_t len)
{
    bool object = *p == '{';
    unsigned long left = object ? 0 : strtoul(name, NULL, 10);

    for (p = blank(p + 1); *p != '}' && *p != ']'; p = blank(p)) {
        const char *key = p;
        if (object)
            p = blank(string(p)) + 1;
        p = blank(p);
        if (object ? strncmp(key + 1, name, len) == 0 && key[1 + len] == '"' : left-- == 0)
            return p;
        p = blank(value(p, 0));
        p += *p == ',';
    }
    return NULL;
}

const char *json_find(const char *text, const char *path)
{
    const char *p = blank(text);

    while (p && *path) {
        size_t len = strcspn(path, "/");
        p = *p == '{' || *p == '[' ? member(p, path, len) : NULL;
        path += len;
        path += *path == '/';
    }
    return p;
}

uint64_t json_number(const char *text, const char *path)
{
    const char *p = json_find(text, path);
    return p && isdigit((unsigned char)*p) ? strtoull(p, NULL, 10) : UINT64_MAX;
}

bool json_is(const char *text, const char *path, const char *value_)
{
    const char *p = json_find(text, path);
    size_t len = strlen(value_);
    return p && *p == '"' && strncmp(p + 1, value_, len) == 0 && p[1 + len] == '"';
}
