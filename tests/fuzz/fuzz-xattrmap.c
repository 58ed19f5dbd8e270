/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz target: the rule language of --xattrmap, and names that go through the rules. The input is
 * the rules, then names, each ended by a NUL. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/target.h"
#include "virtiofsd/fs/fs-xattrmap.h"

/* Both directions: what comes out is a name, and lies where it should. */
static void check(const struct fs_xattrmap *map, const char *name)
{
    char buf[XATTR_NAME_MAX + 1];
    const char *host = NULL;
    size_t len = strlen(name);
    if (len == 0 || len > XATTR_NAME_MAX)
        return;
    int rc = fs_xattrmap_to_host(map, name, buf, &host);
    if (rc != 0 && rc != -EPERM && rc != -EOPNOTSUPP && rc != -ERANGE)
        abort();
    if (rc == 0 && (!host || (host != name && (host < buf || host >= buf + sizeof(buf))) ||
                    strlen(host) > XATTR_NAME_MAX || !g_str_has_suffix(host, name)))
        abort();
    const char *guest = fs_xattrmap_to_guest(map, name);
    if (guest && (guest < name || guest > name + len))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    size_t off = strlen(text) + 1;
    GError *err = NULL;

    struct fs_xattrmap *map = fs_xattrmap_parse(text, &err);
    if (!map != (err != NULL) || (err && err->message[0] == '\0'))
        abort();
    g_clear_error(&err);
    if (!map)
        return 0;
    check(map, "user.x");
    check(map, "security.capability");
    while (off < size) {
        /* Of exactly its size, for ASan. */
        char *name = strndup((const char *)data + off, size - off);
        off += strlen(name) + 1;
        check(map, name);
        free(name);
    }
    fs_xattrmap_free(map);
    return 0;
}
