// Copyright 2026 the jetson_perception authors
// SPDX-License-Identifier: Apache-2.0
//
// From candidates to detections, in three kernels:
//   strongest one block takes the 1000 strongest and sorts them
//   overlaps  one thread holds one box against 64 weaker ones and notes those that it would strike
//             out, as bits of a word
//   finish    one block walks from the strongest to the weakest, strikes out, and turns what stays
//             into pixels of the camera
// Each does what the CPU path does in the same order, with no sums fused (--fmad=false): of equal
// candidates come equal detections.

const unsigned int MOST = 1000;     // candidates that NMS looks at
const unsigned int PLACES = 1024;   // the power of two above, and threads of a block
const unsigned int WORDS = PLACES / 64;
const float FAR = 1e6f;             // far outside of any image

// As in candidates.cu.
struct Status {
    unsigned int found;
    unsigned int kept;
    unsigned int count;
    unsigned int unknown;
    float label;
    unsigned int spare[3];
};

struct Detections {
    Status* status;
    const unsigned long long* keys;
    const float4* corners;
    float4* strongest;                // [PLACES]
    unsigned long long* ranked;       // [PLACES], their keys
    unsigned long long* rivals;       // [PLACES][WORDS], one bit for each weaker box
    float4* boxes;                    // [limit], in pixels of the camera
    float* scores;                    // [limit]
    int* classes;                     // [limit]
    int number_of_classes;
    int limit;                        // detections wanted at most
    int suppress;                     // whether there is NMS
    int class_agnostic;
    float iou;
    float pad_x, pad_y, scale_x, scale_y;   // network pixel = camera pixel * scale + pad
    float width, height;              // of the camera image
};

static __device__ unsigned int order_of(unsigned long long key) { return ~(unsigned int)key; }

#include "strongest.cuh"

extern "C" __global__ void __launch_bounds__(PLACES) strongest(const Detections d)
{
    __shared__ unsigned long long ranked[PLACES];
    const unsigned int me = threadIdx.x;
    const unsigned int kept = rank(d.keys, d.status->found, MOST, ranked);
    if (me == 0) d.status->kept = kept;
    if (me < kept) {
        float4 box = d.corners[order_of(ranked[me]) / d.number_of_classes];
        box.x = fminf(fmaxf(box.x, -FAR), FAR);
        box.y = fminf(fmaxf(box.y, -FAR), FAR);
        box.z = fminf(fmaxf(box.z, -FAR), FAR);
        box.w = fminf(fmaxf(box.w, -FAR), FAR);
        d.strongest[me] = box;
        d.ranked[me] = ranked[me];
    }
}

static __device__ bool overlap(const float4& a, const float4& b, float iou)
{
    const float area_a = (a.z - a.x) * (a.w - a.y);
    const float area_b = (b.z - b.x) * (b.w - b.y);
    const float wide = fmaxf(fminf(a.z, b.z) - fmaxf(a.x, b.x), 0.0f);
    const float tall = fmaxf(fminf(a.w, b.w) - fmaxf(a.y, b.y), 0.0f);
    const float shared = wide * tall;
    return shared > (area_a + area_b - shared) * iou;
}

extern "C" __global__ void overlaps(const Detections d)
{
    const unsigned int kept = d.status->kept;
    const unsigned int me = blockIdx.y * 64 + threadIdx.x;
    const unsigned int word = blockIdx.x;
    if (me >= kept || word < blockIdx.y) return;

    const float4 mine = d.strongest[me];
    const unsigned int my_class = order_of(d.ranked[me]) % d.number_of_classes;
    unsigned long long bits = 0;
    for (unsigned int bit = 0; bit < 64; ++bit) {
        const unsigned int other = word * 64 + bit;
        if (other <= me || other >= kept) continue;
        const unsigned int its_class = order_of(d.ranked[other]) % d.number_of_classes;
        if ((d.class_agnostic || its_class == my_class) &&
            overlap(mine, d.strongest[other], d.iou)) {
            bits |= 1ull << bit;
        }
    }
    d.rivals[me * WORDS + word] = bits;
}

extern "C" __global__ void __launch_bounds__(PLACES) finish(const Detections d)
{
    __shared__ unsigned long long gone[WORDS], stay[WORDS], seen[WORDS], rivals[64];
    const unsigned int me = threadIdx.x;
    const unsigned int kept = d.status->kept;
    if (me < WORDS) {
        gone[me] = 0;
        seen[me] = 0;
        stay[me] = ~0ull;
    }
    __syncthreads();

    // 64 boxes at a time: one thread decides among them, then all strike out the weaker ones
    for (unsigned int word = 0; d.suppress && word * 64 < kept; ++word) {
        const unsigned int begin = word * 64;
        const unsigned int size = kept - begin < 64 ? kept - begin : 64;
        if (me < size) rivals[me] = d.rivals[(begin + me) * WORDS + word];
        __syncthreads();
        if (me == 0) {
            unsigned long long out = gone[word];
            for (unsigned int bit = 0; bit < size; ++bit) {
                if (!(out >> bit & 1)) out |= rivals[bit];
            }
            stay[word] = ~out;
        }
        __syncthreads();
        const unsigned int bit = me / WORDS, later = me % WORDS;
        if (bit < size && later > word && stay[word] >> bit & 1) {
            atomicOr(&gone[later], d.rivals[(begin + bit) * WORDS + later]);
        }
        __syncthreads();
    }

    float4 box = {0, 0, 0, 0};
    bool mine = false;
    if (me < kept && stay[me / 64] >> (me % 64) & 1) {
        box = d.strongest[me];
        box.x = fminf(fmaxf((box.x - d.pad_x) / d.scale_x, 0.0f), d.width);
        box.y = fminf(fmaxf((box.y - d.pad_y) / d.scale_y, 0.0f), d.height);
        box.z = fminf(fmaxf((box.z - d.pad_x) / d.scale_x, 0.0f), d.width);
        box.w = fminf(fmaxf((box.w - d.pad_y) / d.scale_y, 0.0f), d.height);
        mine = box.z > box.x && box.w > box.y;
        if (mine) atomicOr(&seen[me / 64], 1ull << (me % 64));
    }
    __syncthreads();

    // of the boxes that are seen, my place is the number of those before me
    unsigned int before = __popcll(seen[me / 64] & ((1ull << (me % 64)) - 1)), all = 0;
    for (unsigned int word = 0; word < WORDS; ++word) {
        if (word < me / 64) before += __popcll(seen[word]);
        all += __popcll(seen[word]);
    }
    const unsigned int limit = d.limit;
    if (me == 0) d.status->count = all < limit ? all : limit;
    if (mine && before < limit) {
        d.boxes[before] = box;
        d.scores[before] = __uint_as_float((unsigned int)(d.ranked[me] >> 32));
        d.classes[before] = order_of(d.ranked[me]) % d.number_of_classes;
    }
}
