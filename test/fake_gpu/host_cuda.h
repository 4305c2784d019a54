// Copyright 2026 the jetson_perception authors
// SPDX-License-Identifier: Apache-2.0
//
// Runs CUDA kernels on the CPU, thread after thread: as much of CUDA C++ as ours use.
//
// Threads of a block that meet at __syncthreads() are fibers, and a barrier that some never reach
// ends the process, as it may hang a GPU. With FAKE_GPU_ORDER=reversed blocks and threads run from
// the last to the first, which must change nothing.

#include <ucontext.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(threads)

struct dim3 {
    unsigned x, y, z;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) int4 {
    int x, y, z, w;
};

static dim3 threadIdx, blockIdx, blockDim, gridDim;

static inline unsigned __float_as_uint(float value)
{
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float __uint_as_float(unsigned bits)
{
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

static inline int __popcll(unsigned long long bits) { return __builtin_popcountll(bits); }

template <typename T> static inline T atomicAdd(T* where, T value)
{
    const T old = *where;
    *where += value;
    return old;
}

template <typename T> static inline T atomicOr(T* where, T value)
{
    const T old = *where;
    *where |= value;
    return old;
}

namespace host {

struct Fiber {
    ucontext_t context;
    dim3 index;
    bool done = false;
    std::unique_ptr<char[]> stack{new char[STACK]};
    static const size_t STACK = 64 << 10;
};

static ucontext_t scheduler;
static Fiber* current;
static std::function<void()> body;

static void enter()
{
    body();
    current->done = true;
}

static unsigned place(unsigned i, unsigned count)
{
    static const char* order = std::getenv("FAKE_GPU_ORDER");
    static const bool reversed = order && !std::strcmp(order, "reversed");
    return reversed ? count - 1 - i : i;
}

static dim3 unravel(unsigned i, dim3 size)
{
    return {i % size.x, i / size.x % size.y, i / size.x / size.y};
}

static void run_fibers(unsigned count)
{
    static std::vector<std::unique_ptr<Fiber>> fibers;
    while (fibers.size() < count) fibers.push_back(std::make_unique<Fiber>());
    for (unsigned i = 0; i < count; ++i) {
        Fiber& fiber = *fibers[i];
        fiber.index = unravel(place(i, count), blockDim);
        fiber.done = false;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = Fiber::STACK;
        fiber.context.uc_link = &scheduler;
        makecontext(&fiber.context, enter, 0);
    }
    for (unsigned left = count; left > 0;) {
        for (unsigned i = 0; i < count; ++i) {
            current = fibers[i].get();
            threadIdx = current->index;
            swapcontext(&scheduler, &current->context);
            left -= current->done;
        }
        if (left != 0 && left != count) {
            std::fprintf(stderr, "%u of %u threads never reach a barrier\n", count - left, count);
            std::abort();
        }
    }
}

static void run(dim3 grid, dim3 block, bool barriers, const std::function<void()>& kernel)
{
    gridDim = grid;
    blockDim = block;
    body = kernel;
    const unsigned blocks = grid.x * grid.y * grid.z, threads = block.x * block.y * block.z;
    for (unsigned i = 0; i < blocks; ++i) {
        blockIdx = unravel(place(i, blocks), grid);
        if (barriers) {
            run_fibers(threads);
            continue;
        }
        for (unsigned j = 0; j < threads; ++j) {
            threadIdx = unravel(place(j, threads), block);
            kernel();
        }
    }
}

}  // namespace host

static inline void __syncthreads()
{
    host::Fiber* me = host::current;
    swapcontext(&me->context, &host::scheduler);
}
