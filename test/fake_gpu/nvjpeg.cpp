// Copyright 2026 the jetson_perception authors
// SPDX-License-Identifier: Apache-2.0
//
// Stands in for libnvjpeg: takes what the real one takes, by the same calling convention, checks all
// of it, and has the test decode. Any argument that is not as it must be is NVJPEG_STATUS 2.

#include <cstddef>
#include <cstring>

namespace {

struct Image {
    unsigned char* channel[4];
    size_t pitch[4];
};

struct Handle {
    int magic;
    int states;
};

struct State {
    int magic;
    Handle* owner;
};

const int HANDLE = 0x68616e64, STATE = 0x73746174;
const int SUCCESS = 0, INVALID = 2, BAD_JPEG = 3;

int handles = 0;
unsigned refused_flags = 0;
int create_status = SUCCESS, decode_status = SUCCESS;
int created_backend = -1;
unsigned created_flags = 0;

// Decodes into (height, pitch) bytes at `to` when the stream gets there.
typedef int (*Decode)(const unsigned char* data, size_t length, unsigned char* to, size_t pitch,
                      void* stream);
Decode decode = nullptr;

bool is_handle(const Handle* handle) { return handle && handle->magic == HANDLE; }

}  // namespace

extern "C" {

void fake_set(Decode function, unsigned flags, int create, int decoding)
{
    decode = function;
    refused_flags = flags;
    create_status = create;
    decode_status = decoding;
}

int fake_handles() { return handles; }
int fake_backend() { return created_backend; }
unsigned fake_flags() { return created_flags; }

int nvjpegCreateEx(int backend, void* device, void* pinned, unsigned flags, Handle** handle)
{
    if (create_status != SUCCESS) return create_status;
    if (device || pinned || !handle || backend < 0 || backend > 6 || flags & refused_flags) {
        return INVALID;
    }
    *handle = new Handle{HANDLE, 0};
    created_backend = backend;
    created_flags = flags;
    ++handles;
    return SUCCESS;
}

int nvjpegDestroy(Handle* handle)
{
    if (!is_handle(handle) || handle->states) return INVALID;
    handle->magic = 0;
    delete handle;
    --handles;
    return SUCCESS;
}

int nvjpegJpegStateCreate(Handle* handle, State** state)
{
    if (!is_handle(handle) || !state) return INVALID;
    *state = new State{STATE, handle};
    ++handle->states;
    return SUCCESS;
}

int nvjpegJpegStateDestroy(State* state)
{
    if (!state || state->magic != STATE) return INVALID;
    --state->owner->states;
    state->magic = 0;
    delete state;
    return SUCCESS;
}

int nvjpegGetImageInfo(Handle* handle, const unsigned char* data, size_t length, int* components,
                       int* subsampling, int* widths, int* heights)
{
    if (!is_handle(handle) || !data || !components || !subsampling || !widths || !heights) {
        return INVALID;
    }
    for (size_t at = 2; at + 10 <= length && data[at] == 0xff;) {
        const int marker = data[at + 1];
        if (marker == 0xc0 || marker == 0xc2) {
            if (data[at + 4] != 8) return 4;  // NVJPEG_STATUS_JPEG_NOT_SUPPORTED
            *components = data[at + 9];
            *subsampling = -1;
            for (int i = 0; i < 4; ++i) {
                heights[i] = i < *components ? data[at + 5] << 8 | data[at + 6] : 0;
                widths[i] = i < *components ? data[at + 7] << 8 | data[at + 8] : 0;
            }
            return SUCCESS;
        }
        at += 2 + (data[at + 2] << 8 | data[at + 3]);
    }
    return BAD_JPEG;
}

int nvjpegDecode(Handle* handle, State* state, const unsigned char* data, size_t length, int format,
                 Image* to, void* stream)
{
    const bool whole = is_handle(handle) && state && state->magic == STATE && state->owner == handle;
    if (!whole || !data || !length || format != 6 || !to || !to->channel[0] || !to->pitch[0]) {
        return INVALID;
    }
    for (int i = 1; i < 4; ++i) {
        if (to->channel[i] || to->pitch[i]) return INVALID;
    }
    if (decode_status != SUCCESS) return decode_status;
    return decode(data, length, to->channel[0], to->pitch[0], stream);
}

}  // extern "C"
