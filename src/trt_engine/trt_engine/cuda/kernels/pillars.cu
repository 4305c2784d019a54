// Copyright 2026 the jetson_perception authors
// SPDX-License-Identifier: Apache-2.0
//
// From the points of a lidar to pillars, as `trt_engine.lidar.pillars` makes them on the CPU:
//   clear   empties the cells of the grid that the last cloud filled
//   locate  finds the cell of each point, and counts the points of each cell
//   totals  sums the counts of each stretch of cells
//   rank    numbers the cells that hold a point, in their order, and says where their lists begin
//   place   writes the index of each point into the list of its cell
//   encode  makes the features of a pillar, runs the pillar network, and writes into the grid; or
//   pad     makes the features, and writes them out for a network that takes pillars itself
//
// Equal clouds give equal bits, though threads run in any order. What atomics add are integers,
// whose sums do not depend on the order. Cells are numbered by a prefix sum. Only the order within
// a list is left to chance, and whoever reads the list takes its smallest indices and sorts them:
// a pillar has few points, so that this costs less than a radix sort of all points would.
//
// Defined by whoever compiles this: NUMBERS of a point, MAX_POINTS of a pillar, and FORM, one of
// these, as the card names them:
#define PILLAR10 0
#define PILLAR9 1
#define PILLAR9_RELATIVE 2

#if FORM == PILLAR10
#define CENTRES 3
#else
#define CENTRES 2
#endif
#define FEATURES (NUMBERS + 3 + CENTRES)

const unsigned int NOWHERE = ~0u;
const unsigned int THREADS = 256;        // of a block of totals and rank
const unsigned int CELLS_A_THREAD = 8;
const unsigned int BINS = 256;

// Where the points of a cloud went; zeroed before it.
struct Status {
    unsigned int dropped;   // no measurement
    unsigned int inside;    // in a cell
    unsigned int shown;     // of these, in pillars that the network sees
    unsigned int kept;      // of these, not beyond MAX_POINTS
    unsigned int voxels;    // cells that hold a point
    unsigned int spare[3];
};

// What stands in the tensor; it outlasts the cloud, so that the next one clears no more than that.
struct Filled {
    unsigned int count;     // pillars
    unsigned int before;    // those of the last cloud
};

struct Cloud {
    const unsigned char* records;   // the points, step bytes each
    const unsigned int* points;     // how many
    unsigned int* cell_of;          // [capacity], of each point, or NOWHERE
    unsigned int* list;             // [capacity], indices of points, cell by cell
    unsigned int* table;            // [cells], zeroed: points of each cell, then its number
    unsigned long long* totals;     // [blocks of totals], occupied cells << 32 | points
    unsigned int* begins;           // [max_voxels], where the list of a pillar begins
    unsigned int* sizes;            // [max_voxels], how many points it has
    unsigned int* ends;             // [max_voxels], where place writes next
    Status* status;
    Filled* filled;
    unsigned int* cells;            // [max_voxels], the cell of each pillar, rising
    void* tensor;                   // the grid [channels][cells], or [max_voxels][MAX_POINTS][FEATURES]
    const float* weight;            // encode: [FEATURES][channels]
    const float* bias;              // encode: [channels]
    int4* places;                   // pad: [max_voxels] batch, z, row, column; or null
    int* kept;                      // pad: [max_voxels], points of each; or null
    int* number;                    // pad: how many pillars there are; or null
    int step;
    int at[6];                      // byte of each number in a record, or -1 for its constant
    float scale[6], constant[6];
    float low[3], high[3], size[3];
    float middle[3];                // of the first pillar
    int columns, rows;
    int max_voxels;
    int channels;
    int half;                       // whether the grid is of half precision
    int measured;                   // whether what is no measurement was left out before
};

static __device__ bool finite(float value)
{
    return (__float_as_uint(value) & 0x7f800000u) != 0x7f800000u;
}

static __device__ float number(const unsigned char* bytes)
{
    // records may be of any length, and a GPU reads four bytes at once at multiples of four only
    if ((size_t)bytes % 4 == 0) return *(const float*)bytes;
    return __uint_as_float(bytes[0] | (unsigned int)bytes[1] << 8 | (unsigned int)bytes[2] << 16 |
                           (unsigned int)bytes[3] << 24);
}

static __device__ void read(const Cloud& c, unsigned int index, float* point)
{
    const unsigned char* record = c.records + (size_t)index * c.step;
    for (int i = 0; i < NUMBERS; ++i) {
        point[i] = c.at[i] < 0 ? c.constant[i] : number(record + c.at[i]) * c.scale[i];
    }
}

// What lies at the origin is a beam without return, in organised clouds.
static __device__ bool measured(const float* point)
{
    for (int i = 0; i < NUMBERS; ++i) {
        if (!finite(point[i])) return false;
    }
    return point[0] != 0 || point[1] != 0 || point[2] != 0;
}

static __device__ unsigned int find_cell(const Cloud& c, const float* point)
{
    for (int axis = 0; axis < 3; ++axis) {
        if (!(point[axis] >= c.low[axis] && point[axis] < c.high[axis])) return NOWHERE;
    }
    int column = (int)((point[0] - c.low[0]) / c.size[0]);
    int row = (int)((point[1] - c.low[1]) / c.size[1]);
    // a point just below the upper edge may be rounded onto it
    column = column < c.columns ? column : c.columns - 1;
    row = row < c.rows ? row : c.rows - 1;
    return (unsigned int)row * c.columns + column;
}

static __device__ unsigned short to_half(float value)
{
    const unsigned int bits = __float_as_uint(value);
    const unsigned int sign = bits >> 16 & 0x8000u;
    const unsigned int size = bits & 0x7fffffffu;
    if (size > 0x7f800000u) return sign | 0x7e00u;
    if (size >= 0x477ff000u) return sign | 0x7c00u;  // rounds to more than 65504
    if (size < 0x38800000u) {
        // below the normal numbers steps are equal: adding 0.5 rounds to them, in its last bits
        return sign | (__float_as_uint(__uint_as_float(size) + 0.5f) - 0x3f000000u);
    }
    // to the nearest, of two equally near the even one; the exponents are 112 apart
    return sign | (((size + 0xfffu + (size >> 13 & 1)) >> 13) - (112u << 10));
}

static __device__ void store(const Cloud& c, size_t place, float value)
{
    if (c.half) ((unsigned short*)c.tensor)[place] = to_half(value);
    else ((float*)c.tensor)[place] = value;
}

extern "C" __global__ void clear(const Cloud c)
{
    const unsigned int pillar = blockIdx.x * blockDim.x + threadIdx.x;
    if (pillar >= c.filled->count) return;
    const size_t cells = (size_t)c.columns * c.rows;
    // threads side by side empty cells that lie close together
    for (int channel = 0; channel < c.channels; ++channel) {
        store(c, channel * cells + c.cells[pillar], 0);
    }
}

extern "C" __global__ void locate(const Cloud c)
{
    __shared__ unsigned int dropped;
    if (threadIdx.x == 0) dropped = 0;
    __syncthreads();
    const unsigned int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index < *c.points) {
        float point[NUMBERS];
        read(c, index, point);
        unsigned int cell = NOWHERE;
        if (c.measured || measured(point)) cell = find_cell(c, point);
        else atomicAdd(&dropped, 1u);
        c.cell_of[index] = cell;
        if (cell != NOWHERE) atomicAdd(&c.table[cell], 1u);
    }
    __syncthreads();
    if (threadIdx.x == 0 && dropped) atomicAdd(&c.status->dropped, dropped);
}

// Occupied cells and their points, of a thread's stretch of cells; one number for two sums.
static __device__ unsigned long long stretch(const Cloud& c, unsigned int first)
{
    const unsigned int cells = (unsigned int)c.columns * c.rows;
    unsigned long long sum = 0;
    for (unsigned int cell = first; cell < first + CELLS_A_THREAD && cell < cells; ++cell) {
        const unsigned int points = c.table[cell];
        if (points) sum += 1ull << 32 | points;
    }
    return sum;
}

extern "C" __global__ void __launch_bounds__(THREADS) totals(const Cloud c)
{
    __shared__ unsigned long long whole;
    if (threadIdx.x == 0) whole = 0;
    __syncthreads();
    atomicAdd(&whole, stretch(c, (blockIdx.x * THREADS + threadIdx.x) * CELLS_A_THREAD));
    __syncthreads();
    if (threadIdx.x == 0) c.totals[blockIdx.x] = whole;
}

extern "C" __global__ void __launch_bounds__(THREADS) rank(const Cloud c)
{
    __shared__ unsigned long long before, sums[2][THREADS];
    __shared__ unsigned int shown, kept;
    const unsigned int me = threadIdx.x;
    if (me == 0) {
        before = 0;
        shown = 0;
        kept = 0;
    }
    __syncthreads();
    unsigned long long earlier = 0;
    for (unsigned int block = me; block < blockIdx.x; block += THREADS) earlier += c.totals[block];
    if (earlier) atomicAdd(&before, earlier);

    const unsigned int first = (blockIdx.x * THREADS + me) * CELLS_A_THREAD;
    const unsigned long long mine = stretch(c, first);
    sums[0][me] = mine;
    __syncthreads();
    int from = 0;
    for (unsigned int distance = 1; distance < THREADS; distance *= 2) {
        sums[1 - from][me] = sums[from][me] + (me >= distance ? sums[from][me - distance] : 0);
        from = 1 - from;
        __syncthreads();
    }

    const unsigned long long begin = before + sums[from][me] - mine;
    const unsigned int most = c.max_voxels, cells = (unsigned int)c.columns * c.rows;
    unsigned int pillar = (unsigned int)(begin >> 32), place = (unsigned int)begin;
    unsigned int my_shown = 0, my_kept = 0;
    for (unsigned int cell = first; cell < first + CELLS_A_THREAD && cell < cells; ++cell) {
        const unsigned int points = c.table[cell];
        if (points == 0) continue;
        c.table[cell] = pillar < most ? pillar : NOWHERE;
        if (pillar < most) {
            c.cells[pillar] = cell;
            c.begins[pillar] = place;
            c.ends[pillar] = place;
            c.sizes[pillar] = points;
            my_shown += points;
            my_kept += points < MAX_POINTS ? points : MAX_POINTS;
        }
        ++pillar;
        place += points;
    }
    if (my_shown) {
        atomicAdd(&shown, my_shown);
        atomicAdd(&kept, my_kept);
    }
    __syncthreads();
    if (me == 0 && shown) {
        atomicAdd(&c.status->shown, shown);
        atomicAdd(&c.status->kept, kept);
    }
    if (me == THREADS - 1 && blockIdx.x == gridDim.x - 1) {
        c.status->voxels = pillar;
        c.status->inside = place;
        c.filled->before = c.filled->count;
        c.filled->count = pillar < most ? pillar : most;
    }
}

extern "C" __global__ void place(const Cloud c)
{
    const unsigned int index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= *c.points || c.cell_of[index] == NOWHERE) return;
    const unsigned int pillar = c.table[c.cell_of[index]];
    if (pillar != NOWHERE) c.list[atomicAdd(&c.ends[pillar], 1u)] = index;
}

// The index that MAX_POINTS indices do not exceed, found eight bits at a time from the top.
static __device__ unsigned int last_kept(const unsigned int* list, unsigned int count)
{
    __shared__ unsigned int histogram[BINS], known, wanted;
    if (threadIdx.x == 0) {
        known = 0;
        wanted = MAX_POINTS;
    }
    for (int shift = 16; shift >= 0; shift -= 8) {  // indices are less than 2^24
        for (unsigned int bin = threadIdx.x; bin < BINS; bin += blockDim.x) histogram[bin] = 0;
        __syncthreads();
        const unsigned int above = known >> (shift + 8);
        for (unsigned int i = threadIdx.x; i < count; i += blockDim.x) {
            if (list[i] >> (shift + 8) == above) atomicAdd(&histogram[list[i] >> shift & 255], 1u);
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            unsigned int digit = 0;
            while (histogram[digit] < wanted) wanted -= histogram[digit++];
            known |= digit << shift;
        }
        __syncthreads();
    }
    return known;
}

// Brings the first points of a pillar, in the order of the cloud, and their mean; how many it says.
static __device__ unsigned int gather(
    const Cloud& c, unsigned int pillar, float (*points)[NUMBERS], float* mean)
{
    __shared__ unsigned int chosen[MAX_POINTS], taken;
    __syncthreads();  // until all are done with the pillar before
    const unsigned int count = c.sizes[pillar];
    const unsigned int kept = count < MAX_POINTS ? count : MAX_POINTS;
    const unsigned int* list = c.list + c.begins[pillar];
    const unsigned int last = count > MAX_POINTS ? last_kept(list, count) : NOWHERE;
    if (threadIdx.x == 0) taken = 0;
    __syncthreads();
    for (unsigned int i = threadIdx.x; i < count; i += blockDim.x) {
        if (list[i] <= last) chosen[atomicAdd(&taken, 1u)] = list[i];
    }
    __syncthreads();
    for (unsigned int i = threadIdx.x; i < kept; i += blockDim.x) {
        unsigned int smaller = 0;
        for (unsigned int j = 0; j < kept; ++j) smaller += chosen[j] < chosen[i];
        read(c, chosen[i], points[smaller]);
    }
    __syncthreads();
    // one thread an axis, in the order of the points, in double: to the bit as on the CPU
    if (threadIdx.x < 3) {
        double sum = 0;
        for (unsigned int i = 0; i < kept; ++i) sum += points[i][threadIdx.x];
        mean[threadIdx.x] = (float)(sum / kept);
    }
    __syncthreads();
    return kept;
}

static __device__ void find_middle(const Cloud& c, unsigned int cell, float* middle)
{
    middle[0] = (float)(cell % c.columns) * c.size[0] + c.middle[0];
    middle[1] = (float)(cell / c.columns) * c.size[1] + c.middle[1];
    middle[2] = c.middle[2];
}

static __device__ void decorate(
    const float* point, const float* mean, const float* middle, float* features)
{
    for (int i = 0; i < NUMBERS; ++i) features[i] = point[i];
    for (int axis = 0; axis < 3; ++axis) features[NUMBERS + axis] = point[axis] - mean[axis];
    for (int axis = 0; axis < CENTRES; ++axis) {
        features[NUMBERS + 3 + axis] = point[axis] - middle[axis];
    }
#if FORM == PILLAR9_RELATIVE
    features[0] = features[NUMBERS + 3];
    features[1] = features[NUMBERS + 4];
#endif
}

extern "C" __global__ void encode(const Cloud c)
{
    __shared__ float points[MAX_POINTS][NUMBERS], mean[3];
    const size_t cells = (size_t)c.columns * c.rows;
    const unsigned int count = c.filled->count;
    for (unsigned int pillar = blockIdx.x; pillar < count; pillar += gridDim.x) {
        const unsigned int kept = gather(c, pillar, points, mean);
        const unsigned int cell = c.cells[pillar];
        float middle[3], features[FEATURES], weight[FEATURES];
        find_middle(c, cell, middle);
        for (int channel = threadIdx.x; channel < c.channels; channel += blockDim.x) {
            for (int i = 0; i < FEATURES; ++i) weight[i] = c.weight[i * c.channels + channel];
            // rows without a point are zero, and take part: of those the layer makes its bias
            float greatest = kept < MAX_POINTS ? 0.0f : __uint_as_float(0xff800000u);
            for (unsigned int i = 0; i < kept; ++i) {
                decorate(points[i], mean, middle, features);
                float sum = 0;
                for (int j = 0; j < FEATURES; ++j) sum = fmaf(features[j], weight[j], sum);
                greatest = fmaxf(greatest, sum);
            }
            store(c, channel * cells + cell, fmaxf(greatest + c.bias[channel], 0.0f));
        }
    }
}

extern "C" __global__ void pad(const Cloud c)
{
    __shared__ float points[MAX_POINTS][NUMBERS], mean[3];
    const unsigned int count = c.filled->count, before = c.filled->before;
    const unsigned int touched = count > before ? count : before;
    for (unsigned int pillar = blockIdx.x; pillar < touched; pillar += gridDim.x) {
        const bool filled = pillar < count;
        const unsigned int kept = filled ? gather(c, pillar, points, mean) : 0;
        const unsigned int cell = filled ? c.cells[pillar] : 0;
        float middle[3];
        find_middle(c, cell, middle);
        for (unsigned int i = threadIdx.x; i < MAX_POINTS; i += blockDim.x) {
            float features[FEATURES] = {};
            if (i < kept) decorate(points[i], mean, middle, features);
            const size_t first = ((size_t)pillar * MAX_POINTS + i) * FEATURES;
            for (int j = 0; j < FEATURES; ++j) store(c, first + j, features[j]);
        }
        const int row = cell / c.columns, column = cell % c.columns;
        if (threadIdx.x == 0 && c.places) c.places[pillar] = {0, 0, row, column};
        if (threadIdx.x == 0 && c.kept) c.kept[pillar] = kept;
    }
    if (blockIdx.x == 0 && threadIdx.x == 0 && c.number) *c.number = count;
}
