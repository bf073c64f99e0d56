/* What git, or a program in its place, says of a repository; and front matter of a workflow's files: never
   read beyond the end, and counts that fit. */
#include <assert.h>
#include "git-status.h"
#include "git.h"
#include "workflow.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char protocols[] = "https:ssh";
    const RunnerConfig config = {.git_protocols = protocols};
    Str text = {(const char *)data, size};
    GitStatus s;

    git_status_init(&s);
    git_status_read(&s, text);
    assert(s.files >= 0 && (size_t)s.files <= size);
    git_status_count(&s, text);
    git_status_done(&s);
    Str name = front_matter(text, "name");
    assert(!name.ptr || (name.ptr >= text.ptr && name.ptr + name.len <= text.ptr + size));
    /* What may be fetched never looks like an option, and names a folder that is one. */
    if (git_check_url(&config, text, NULL) == 0)
        assert(text.ptr[0] != '-');
    if (git_check_name(git_name_of_url(text), NULL) == 0)
        assert(str_find_byte(git_name_of_url(text), '/') < 0);
    (void)git_check_branch(text, NULL);
    return 0;
}
