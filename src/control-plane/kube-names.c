#include "kube-names.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include "crypto/crypto.h"
#include "kube/kube.h"

#define RID_MAX 40
#define LABEL_MAX 63
#define SANITISED_MAX 40
#define SUBJECT_MAX 230 /* what a suffix is put behind */

/* RFC 1123 label. */
static bool is_label(const char *s)
{
    size_t n = strlen(s);
    if (n == 0 || n > LABEL_MAX || !isalnum((unsigned char)s[0]) || !isalnum((unsigned char)s[n - 1]))
        return false;
    for (; *s; s++)
        if (!islower((unsigned char)*s) && !isdigit((unsigned char)*s) && *s != '-')
            return false;
    return true;
}

static void lower(char *out, Str s)
{
    for (size_t i = 0; i < s.len; i++)
        out[i] = (char)tolower((unsigned char)s.ptr[i]);
    out[s.len] = '\0';
}

int session_object_name(Str id, const char *suffix, char out[static NAME_MAX_LEN], Err *err)
{
    char rid[RID_MAX + 1];
    lower(rid, str_slice(id, 0, RID_MAX));
    if (!is_label(rid))
        return err_set(err, ERR_INVALID, "the session's id cannot be part of a Kubernetes name");
    snprintf(out, NAME_MAX_LEN, "session-%s%s", rid, suffix);
    return 0;
}

/* ---- namespaces ---- */

static bool is_reserved(const KubeSettings *s, const char *name)
{
    return strcmp(name, "default") == 0 || strncmp(name, "kube-", 5) == 0 ||
           strncmp(name, "openshift", 9) == 0 || strcmp(name, s->runtime_ns) == 0 ||
           strcmp(name, s->mpp_ns) == 0;
}

int project_namespace(const KubeSettings *s, Str project, char out[static NAME_MAX_LEN], Err *err)
{
    char name[LABEL_MAX + 1], full[NAME_MAX_LEN];
    if (project.len == 0 || project.len > LABEL_MAX)
        return err_set(err, ERR_INVALID, "the session's project is not the name of a namespace");
    lower(name, project);
    snprintf(full, sizeof full, "%s%s", s->mpp ? MPP_PREFIX : "", name);
    if (!is_label(full))
        return err_set(err, ERR_INVALID, "project " STR_FMT " is not the name of a namespace",
                       STR_ARG(project));
    if (is_reserved(s, name) || is_reserved(s, full))
        return err_set(err, ERR_INVALID, "namespace %s is reserved: the project cannot run sessions", full);
    memcpy(out, full, sizeof full);
    return 0;
}

/* ---- names of bindings ---- */

static bool is_object_name(const char *s)
{
    size_t n = strlen(s);
    return n > 0 && n <= SUBJECT_MAX && strcmp(s, ".") != 0 && strcmp(s, "..") != 0 && !strpbrk(s, "/%");
}

/* Lower case, other characters as '-', without '-' at the ends. True when that changed nothing. */
static bool sanitise(const char *s, char out[static SANITISED_MAX + 1])
{
    size_t n = 0;
    for (const char *p = s; *p && n < SANITISED_MAX; p++) {
        char c = (char)tolower((unsigned char)*p);
        bool keep = islower((unsigned char)c) || isdigit((unsigned char)c);
        if (keep || n > 0)
            out[n++] = keep ? c : '-';
    }
    while (n > 0 && out[n - 1] == '-')
        n--;
    out[n] = '\0';
    return strcmp(s, out) == 0;
}

void subject_name(const char *prefix, const char *subject, const char *suffix, char out[static NAME_MAX_LEN])
{
    char clean[SANITISED_MAX + 1];
    uint8_t digest[SHA256_LEN];
    bool whole = sanitise(subject, clean);
    /* Without a prefix (groups) the reference keeps every name that is one. */
    if (!*prefix && is_object_name(subject))
        snprintf(out, NAME_MAX_LEN, "%.*s%s", SUBJECT_MAX, subject, suffix);
    else if (whole)
        snprintf(out, NAME_MAX_LEN, "%s%s%s", prefix, clean, suffix);
    else {
        sha256(str_from(subject), digest);
        snprintf(out, NAME_MAX_LEN, "%s%s-%02x%02x%02x%02x%s", prefix, clean, digest[0], digest[1], digest[2],
                 digest[3], suffix);
    }
}

/* ---- labels ---- */

json_t *project_labels(Str project)
{
    json_t *l = json_pack("{s:s, s:s}", LABEL_MANAGED, "true", LABEL_MANAGED_BY, MANAGER);
    if (project.ptr)
        json_object_set_new(l, LABEL_PROJECT, json_strv(project));
    return l;
}

json_t *namespace_labels(const KubeSettings *s, Str project)
{
    json_t *l = project_labels(project);
    json_object_set_new(l, LABEL_INSTALLATION, json_string(s->runtime_ns));
    return l;
}

json_t *session_labels(const KubeSettings *s, Str session_id, Str project)
{
    json_t *l = namespace_labels(s, project);
    json_object_set_new(l, LABEL_SESSION, json_strv(session_id));
    return l;
}

json_t *new_object(const char *name, const char *ns, json_t *labels)
{
    return json_pack("{s:{s:s, s:s*, s:o*}}", "metadata", "name", name, "namespace", ns, "labels", labels);
}

bool is_of_another(const KubeSettings *s, const json_t *object)
{
    const char *who = kube_label(object, LABEL_INSTALLATION);
    return who && strcmp(who, s->runtime_ns) != 0;
}

bool is_managed(const json_t *object)
{
    const char *managed = kube_label(object, LABEL_MANAGED), *by = kube_label(object, LABEL_MANAGED_BY);
    return managed && by && strcmp(managed, "true") == 0 && strcmp(by, MANAGER) == 0;
}
