/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/daemon-policy.h"

#include <linux/capability.h>
#include <linux/limits.h>

#include "sandbox/sandbox.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/base/sock.h"
#include "virtiofsd/fs/fs-idmap.h"
#include "virtiofsd/fs/fs-xattrmap.h"

static bool parse_translation(const GPtrArray *rules, const char *option, struct fs_idmap **out,
                              GError **err)
{
    if (rules->len > 0)
        *out = fs_idmap_new();
    for (unsigned i = 0; i < rules->len; i++) {
        if (!fs_idmap_add(*out, g_ptr_array_index(rules, i), err)) {
            g_prefix_error(err, "%s: ", option);
            return false;
        }
    }
    return true;
}

/* ACLs under another name are only bytes to the host. */
static void warn_of_acls(const struct daemon_policy *p)
{
    static const char *const names[] = {"system.posix_acl_access", "system.posix_acl_default"};
    char buf[XATTR_NAME_MAX + 1];
    const char *host;

    for (unsigned i = 0; p->acl && i < G_N_ELEMENTS(names); i++) {
        if (fs_xattrmap_to_host(p->xattrmap, names[i], buf, &host) == 0 && host == names[i])
            continue;
        log_warn("--xattrmap does not leave %s as it is: the host will not apply ACLs", names[i]);
    }
}

static bool parse_modcaps(struct daemon_policy *p, const struct options *o, GError **err)
{
    g_autoptr(GError) why = NULL;

    if (!o->modcaps)
        return true;
    if (sb_modcaps_parse(o->modcaps, &p->caps_add, &p->caps_del, &why)) {
        if (!p->fenced || !(p->caps_add & UINT64_C(1) << CAP_DAC_READ_SEARCH))
            return true;
        g_set_error(err, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--modcaps=+dac_read_search gives back what --inode-file-handles=fenced takes: "
                    "use one of them");
        return false;
    }
    g_set_error(err, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "--modcaps: %s", why->message);
    return false;
}

static bool find_group(struct daemon_policy *p, const struct options *o, GError **err)
{
    p->group = o->socket_group;
    p->gid = (gid_t)-1;
    if (!p->group || sock_group(p->group, &p->gid))
        return true;
    g_set_error(err, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "--socket-group: no group '%s': name an existing group or a number", p->group);
    return false;
}

bool daemon_policy_parse(struct daemon_policy *p, const struct options *o, GError **err)
{
    p->acl = o->fuse.posix_acl != FUSE_ASK_NEVER;
    p->file_handles = o->host.handles != HOST_HANDLES_NEVER;
    p->fenced = o->host.handles == HOST_HANDLES_FENCED;
    if (o->xattrmap) {
        p->xattrmap = fs_xattrmap_parse(o->xattrmap, err);
        if (!p->xattrmap) {
            g_prefix_error(err, "--xattrmap: ");
            return false;
        }
        warn_of_acls(p);
    }
    return find_group(p, o, err) && parse_modcaps(p, o, err) &&
           parse_translation(o->translate_uid, "--translate-uid", &p->uids, err) &&
           parse_translation(o->translate_gid, "--translate-gid", &p->gids, err);
}

void daemon_policy_free(struct daemon_policy *p)
{
    fs_xattrmap_free(p->xattrmap);
    fs_idmap_free(p->uids);
    fs_idmap_free(p->gids);
}
