// Copyright 2026 the jetson_perception authors
// SPDX-License-Identifier: Apache-2.0
//
// The strongest of many candidates, in order: what a block does before suppression. A key holds the
// score in its high half and, below it, what decides between equals; no two keys are the same.

// The key that `most` keys reach, found eight bits at a time from the top.
static __device__ unsigned long long pivot(const unsigned long long* keys, unsigned int count,
                                           unsigned int most)
{
    __shared__ unsigned int histogram[256];
    __shared__ unsigned long long known;
    __shared__ unsigned int wanted;
    if (threadIdx.x == 0) {
        known = 0;
        wanted = most;
    }
    for (int shift = 56; shift >= 0; shift -= 8) {
        if (threadIdx.x < 256) histogram[threadIdx.x] = 0;
        __syncthreads();
        const unsigned long long above = shift == 56 ? 0 : known >> (shift + 8);
        for (unsigned int i = threadIdx.x; i < count; i += blockDim.x) {
            if (shift == 56 || keys[i] >> (shift + 8) == above) {
                atomicAdd(&histogram[keys[i] >> shift & 255], 1u);
            }
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            int digit = 255;
            while (histogram[digit] < wanted) wanted -= histogram[digit--];
            known |= (unsigned long long)digit << shift;
        }
        __syncthreads();
    }
    return known;
}

// Puts the strongest keys, `most` at most, into `ranked`, falling; returns how many. `ranked` is
// shared, and has room for the next power of two. All threads of the block call this.
static __device__ unsigned int rank(const unsigned long long* keys, unsigned int found,
                                    unsigned int most, unsigned long long* ranked)
{
    __shared__ unsigned int taken;
    const unsigned int kept = found < most ? found : most;
    const unsigned long long least = found > most ? pivot(keys, found, most) : 0;
    unsigned int places = 1;
    while (places < kept) places *= 2;

    for (unsigned int i = threadIdx.x; i < places; i += blockDim.x) ranked[i] = 0;
    if (threadIdx.x == 0) taken = 0;
    __syncthreads();
    for (unsigned int i = threadIdx.x; i < found; i += blockDim.x) {
        if (keys[i] >= least) ranked[atomicAdd(&taken, 1u)] = keys[i];
    }
    __syncthreads();

    // bitonic sort, the largest first
    for (unsigned int size = 2; size <= places; size *= 2) {
        for (unsigned int distance = size / 2; distance > 0; distance /= 2) {
            for (unsigned int i = threadIdx.x; i < places; i += blockDim.x) {
                const unsigned int other = i ^ distance;
                if (other < i) continue;
                const bool rising = (i & size) != 0;
                const unsigned long long mine = ranked[i], its = ranked[other];
                if ((mine > its) == rising) {
                    ranked[i] = its;
                    ranked[other] = mine;
                }
            }
            __syncthreads();
        }
    }
    return kept;
}
