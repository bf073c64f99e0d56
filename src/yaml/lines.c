/* Where members stand, for messages about them: a second look at a text that has been parsed before. */
#include "yaml/yaml.h"

#include <libfyaml.h>
#include "base/mem.h"

#define LEVELS 3 /* spec.source.path */

static Str scalar_text(struct fy_node *n)
{
    size_t len = 0;
    const char *text = fy_node_is_scalar(n) ? fy_node_get_scalar(n, &len) : NULL;
    return (Str){text, text ? len : 0};
}

static int line_of_node(struct fy_node *n)
{
    struct fy_token *t = fy_node_get_scalar_token(n);
    const struct fy_mark *mark = t ? fy_token_start_mark(t) : NULL;
    return mark ? mark->line + 1 : 0;
}

static void note_members(json_t *lines, struct fy_node *map, Str path, unsigned levels)
{
    if (!map || !fy_node_is_mapping(map) || levels == 0)
        return;
    void *it = NULL;
    struct fy_node_pair *pair;
    while ((pair = fy_node_mapping_iterate(map, &it))) {
        Str key = scalar_text(fy_node_pair_key(pair));
        CLEANUP_BUF Buf name = BUF_INIT(64 * 1024);
        buf_adds(&name, path);
        buf_addz(&name, path.len ? "." : "");
        buf_adds(&name, key);
        if (!key.ptr || buf_check(&name, NULL) < 0)
            continue;
        json_object_set_new(lines, name.data, json_integer(line_of_node(fy_node_pair_key(pair))));
        note_members(lines, fy_node_pair_value(pair), buf_str(&name), levels - 1);
    }
}

json_t *yaml_member_lines(Str text)
{
    json_t *all = json_array();
    struct fy_diag_cfg quiet;
    fy_diag_cfg_default(&quiet);
    quiet.fp = NULL;
    struct fy_diag *diag = fy_diag_create(&quiet);
    struct fy_parse_cfg cfg = {.flags = FYPCF_DEFAULT_VERSION_1_2, .diag = diag};
    struct fy_parser *parser = diag ? fy_parser_create(&cfg) : NULL;
    if (parser && text.len <= YAML_SIZE_MAX &&
        fy_parser_set_string(parser, text.ptr ? text.ptr : "", text.len) == 0) {
        struct fy_document *doc;
        while ((doc = fy_parse_load_document(parser))) {
            json_t *lines = json_object();
            note_members(lines, fy_document_root(doc), STR_NULL, LEVELS);
            json_array_append_new(all, lines);
            fy_parse_document_destroy(parser, doc);
        }
    }
    if (parser)
        fy_parser_destroy(parser);
    if (diag)
        fy_diag_destroy(diag);
    return all;
}
