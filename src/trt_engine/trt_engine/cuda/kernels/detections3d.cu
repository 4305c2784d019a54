// Copyright 2026 the jetson_perception authors
// SPDX-License-Identifier: Apache-2.0
//
// From candidates to detections, for lidar networks; one block each:
//   strongest takes the 4096 strongest candidates and sorts them
//   strike    walks from the strongest to the weakest and strikes out the rivals of those that stay
// What comes between is in candidates3d.cu and overlaps3d.cu. Each does what the CPU path does in
// the same order: of equal candidates come equal detections.

const unsigned int MOST = 4096;     // candidates that NMS looks at
const unsigned int WORDS = MOST / 64;
const unsigned int THREADS = 1024;

// As in candidates3d.cu.
struct Status {
    unsigned int found;
    unsigned int kept;
    unsigned int count;
    unsigned int spare[5];
};

// As in overlaps3d.cu; boxes are not looked at here.
struct Detections {
    Status* status;
    const unsigned long long* keys;
    unsigned long long* ranked;
    const void* boxes;
    const unsigned long long* rivals;
    unsigned long long* gone;
    void* results[6];
    double distance;
    double iou;
    int limit;
    int class_agnostic;
};

#include "strongest.cuh"

extern "C" __global__ void __launch_bounds__(THREADS) strongest(const Detections d)
{
    __shared__ unsigned long long ranked[MOST];
    const unsigned int kept = rank(d.keys, d.status->found, MOST, ranked);
    if (threadIdx.x < WORDS) d.gone[threadIdx.x] = 0;
    if (threadIdx.x == 0) d.status->kept = kept;
    for (unsigned int i = threadIdx.x; i < kept; i += THREADS) d.ranked[i] = ranked[i];
}

extern "C" __global__ void __launch_bounds__(THREADS) strike(const Detections d)
{
    __shared__ unsigned long long gone[WORDS], rivals[64], stay;
    const unsigned int me = threadIdx.x;
    const unsigned int kept = d.status->kept;
    if (me < WORDS) gone[me] = d.gone[me];
    __syncthreads();

    // 64 boxes at a time: one thread decides among them, then all strike out the weaker ones
    for (unsigned int word = 0; word * 64 < kept; ++word) {
        const unsigned int begin = word * 64;
        const unsigned int size = kept - begin < 64 ? kept - begin : 64;
        if (me < size) rivals[me] = d.rivals[(begin + me) * WORDS + word];
        __syncthreads();
        if (me == 0) {
            unsigned long long out = gone[word];
            for (unsigned int bit = 0; bit < size; ++bit) {
                if (!(out >> bit & 1)) out |= rivals[bit];
            }
            gone[word] = out;
            stay = ~out;
        }
        __syncthreads();
        const unsigned int words = (kept + 63) / 64;
        for (unsigned int i = me; i < size * WORDS; i += THREADS) {
            const unsigned int bit = i / WORDS, later = i % WORDS;
            if (later > word && later < words && stay >> bit & 1) {
                atomicOr(&gone[later], d.rivals[(begin + bit) * WORDS + later]);
            }
        }
        __syncthreads();
    }
    if (me < WORDS) d.gone[me] = gone[me];
}
