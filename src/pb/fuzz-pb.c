/*
 * Bytes of a peer as each of our requests (and some answers, which our clients decode): what is accepted must
 * encode, and decode again to the same bytes; protobuf-c's own decoder must accept the encoding. The first
 * byte chooses.
 */
#include <assert.h>
#include "base/mem.h"
#include "pb/ambient.h"
#include "pb/health.h"
#include "pb/pb.h"
#include "pb/reflection.h"

static const ProtobufCMessageDescriptor *const descriptors[] = {
    &ambient__v1__get_session_request__descriptor,
    &ambient__v1__create_session_request__descriptor,
    &ambient__v1__update_session_request__descriptor,
    &ambient__v1__update_session_status_request__descriptor,
    &ambient__v1__delete_session_request__descriptor,
    &ambient__v1__list_sessions_request__descriptor,
    &ambient__v1__watch_sessions_request__descriptor,
    &ambient__v1__push_session_message_request__descriptor,
    &ambient__v1__watch_session_messages_request__descriptor,
    &ambient__v1__get_project_request__descriptor,
    &ambient__v1__create_project_request__descriptor,
    &ambient__v1__update_project_request__descriptor,
    &ambient__v1__delete_project_request__descriptor,
    &ambient__v1__list_projects_request__descriptor,
    &ambient__v1__watch_projects_request__descriptor,
    &ambient__v1__get_project_settings_request__descriptor,
    &ambient__v1__create_project_settings_request__descriptor,
    &ambient__v1__update_project_settings_request__descriptor,
    &ambient__v1__delete_project_settings_request__descriptor,
    &ambient__v1__list_project_settings_request__descriptor,
    &ambient__v1__watch_project_settings_request__descriptor,
    &ambient__v1__get_user_request__descriptor,
    &ambient__v1__create_user_request__descriptor,
    &ambient__v1__update_user_request__descriptor,
    &ambient__v1__delete_user_request__descriptor,
    &ambient__v1__list_users_request__descriptor,
    &ambient__v1__watch_users_request__descriptor,
    &ambient__v1__watch_inbox_messages_request__descriptor,
    &grpc__health__v1__health_check_request__descriptor,
    &grpc__reflection__v1__server_reflection_request__descriptor,
    &ambient__v1__list_sessions_response__descriptor,
    &ambient__v1__session_watch_event__descriptor,
    &ambient__v1__session_message__descriptor,
    &grpc__health__v1__health_list_response__descriptor,
    &grpc__reflection__v1__server_reflection_response__descriptor,
    &grpc__reflection__v1__extension_number_response__descriptor,
};

static Str pack(const ProtobufCMessage *m, char **ret)
{
    size_t size = pb_size(m);
    *ret = xmalloc(size + 1);
    size_t written = pb_pack(m, (uint8_t *)*ret);
    assert(written == size);
    return (Str){*ret, size};
}

static void check(const ProtobufCMessageDescriptor *d, const ProtobufCMessage *m)
{
    Err err = {0};
    CLEANUP_FREE char *first = NULL;
    CLEANUP_FREE char *second = NULL;
    Str one = pack(m, &first);
    CLEANUP(pb_freep) ProtobufCMessage *again = pb_unpack_checked(d, one, &err);
    /* Merged and repeated fields may take more than the budget of their shorter encoding. */
    if (!again && err.code == ERR_TOO_LARGE)
        return;
    assert(again);
    assert(str_eq(one, pack(again, &second)));
    ProtobufCMessage *theirs = protobuf_c_message_unpack(d, NULL, one.len, (const uint8_t *)one.ptr);
    assert(theirs);
    protobuf_c_message_free_unpacked(theirs, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const ProtobufCMessageDescriptor *d = descriptors[data[0] % ARRAY_LEN(descriptors)];
    CLEANUP(pb_freep)
    ProtobufCMessage *m = pb_unpack_checked(d, (Str){(const char *)data + 1, size - 1}, NULL);
    if (m)
        check(d, m);
    return 0;
}
