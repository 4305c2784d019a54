// Copyright 2026 the jetson_perception authors
// SPDX-License-Identifier: Apache-2.0
//
// What boxes of a lidar network have to do with each other, seen from above:
//   near      one thread holds one box against 64 weaker ones and notes those whose centres are as
//             near as that, as bits of a word
//   overlap   the same for those that share more than that of their area
//   finish    writes those that were not struck out, one after the other
// Shared areas are those of `trt_inference.nms3d`, an integral along an outline. It is reckoned in
// float32, and again in double, as on the CPU path, where rounding could decide: a Jetson does 64
// times fewer sums in double, and few pairs are that close.

const unsigned int MOST = 4096;     // boxes that NMS looks at
const unsigned int WORDS = MOST / 64;

// As in candidates3d.cu.
struct Status {
    unsigned int found;
    unsigned int kept;
    unsigned int count;
    unsigned int spare[5];
};

// As in candidates3d.cu.
struct Box {
    float center[3];
    float size[3];
    float yaw;
    float velocity[2];
    float score;
    int label;
    float reach;
};

struct Detections {
    Status* status;
    const unsigned long long* keys;
    unsigned long long* ranked;     // [MOST], the strongest keys, falling
    const Box* boxes;               // [MOST], theirs
    unsigned long long* rivals;     // [MOST][WORDS], one bit for each weaker box
    unsigned long long* gone;       // [WORDS], one bit for each box that was struck out
    float* centers;                 // [limit][3], and so on: what goes back to the host
    float* sizes;
    float* yaws;
    float* velocities;
    float* scores;
    int* classes;
    double distance;                // near: between centres, in metres
    double iou;                     // overlap: the greatest that is allowed
    int limit;                      // boxes wanted at most
    int class_agnostic;
};

template <typename Real> static __device__ Real clamped(Real value, Real low, Real high)
{
    return value < low ? low : value > high ? high : value;
}

// y at x on the line from (x0, y0) to (x1, y1); at x0 where it is upright.
template <typename Real>
static __device__ Real height(Real x, Real x0, Real y0, Real x1, Real y1)
{
    const Real run = x1 - x0;
    const Real part = run != 0 ? (x - x0) / run : 0;
    return y0 + clamped<Real>(part, 0, 1) * (y1 - y0);
}

// The mean of values from start to end, each clamped to -half..half.
template <typename Real> static __device__ Real clamped_mean(Real start, Real end, Real half)
{
    const Real rise = end - start;
    const Real down = clamped<Real>(rise != 0 ? (-half - start) / rise : 0, 0, 1);
    const Real up = clamped<Real>(rise != 0 ? (half - start) / rise : 0, 0, 1);
    const Real low = down < up ? down : up, high = down < up ? up : down;
    // between these steps the clamped value is linear
    const Real first = clamped(start, -half, half);
    const Real second = clamped(start + low * rise, -half, half);
    const Real third = clamped(start + high * rise, -half, half);
    const Real last = clamped(end, -half, half);
    return (low * (first + second) + (high - low) * (second + third) +
            (1 - high) * (third + last)) / 2;
}

static __device__ float cosine(float angle) { return cosf(angle); }
static __device__ double cosine(double angle) { return cos(angle); }
static __device__ float sine(float angle) { return sinf(angle); }
static __device__ double sine(double angle) { return sin(angle); }

// In the frame of b: along the outline of a, y clamped to b's width, x clamped to b's length.
template <typename Real> static __device__ Real shared_area(const Box& a, const Box& b)
{
    const Real cos_b = cosine((Real)b.yaw), sin_b = sine((Real)b.yaw);
    const Real away_x = (Real)a.center[0] - (Real)b.center[0];
    const Real away_y = (Real)a.center[1] - (Real)b.center[1];
    const Real turn = (Real)a.yaw - (Real)b.yaw;
    const Real middle_x = away_x * cos_b + away_y * sin_b;
    const Real middle_y = away_y * cos_b - away_x * sin_b;
    const Real cos_turn = cosine(turn), sin_turn = sine(turn);
    const Real half_x = (Real)b.size[0] / 2, half_y = (Real)b.size[1] / 2;
    Real x[4], y[4], area = 0;
    for (int i = 0; i < 4; ++i) {
        // counter-clockwise
        const Real along = (i == 0 || i == 3 ? (Real)0.5 : (Real)-0.5) * (Real)a.size[0];
        const Real across = (i < 2 ? (Real)0.5 : (Real)-0.5) * (Real)a.size[1];
        x[i] = middle_x + along * cos_turn - across * sin_turn;
        y[i] = middle_y + along * sin_turn + across * cos_turn;
    }
    for (int i = 0; i < 4; ++i) {
        const int next = (i + 1) % 4;
        const Real left = clamped(x[i], -half_x, half_x);
        const Real right = clamped(x[next], -half_x, half_x);
        const Real start = height(left, x[i], y[i], x[next], y[next]);
        const Real end = height(right, x[i], y[i], x[next], y[next]);
        // the outline runs counter-clockwise, so that what lies below it counts negative
        area += (left - right) * clamped_mean(start, end, half_y);
    }
    // as nms3d: less is rounding, and shares nothing
    const Real least = (Real)1e-12 * (a.size[0] + a.size[1]) * (b.size[0] + b.size[1]);
    return area > least ? area : 0;
}

static __device__ bool overlaps(const Box& weaker, const Box& mine, double iou)
{
    const float x = weaker.center[0] - mine.center[0], y = weaker.center[1] - mine.center[1];
    const float reach = weaker.reach + mine.reach;
    if (x * x + y * y > reach * reach * 1.0001f) return false;

    const float shared = shared_area<float>(weaker, mine);
    const float areas = weaker.size[0] * weaker.size[1] + mine.size[0] * mine.size[1];
    const float beyond = shared - (float)iou * (areas - shared);
    // of 20 million random pairs none was off by more than 2e-7 of the square of its reach
    const float doubt = 5e-6f * reach * reach;
    if (beyond > doubt || beyond < -doubt) return beyond > 0;

    const double area = shared_area<double>(weaker, mine);
    const double whole = (double)weaker.size[0] * (double)weaker.size[1] +
                         (double)mine.size[0] * (double)mine.size[1] - area;
    // two boxes without an area have nothing in common
    return (whole > 0 ? area / whole : 0) > iou;
}

static __device__ bool is_near(const Box& weaker, const Box& mine, double distance)
{
    const float x = weaker.center[0] - mine.center[0], y = weaker.center[1] - mine.center[1];
    const float squared = x * x + y * y, limit = (float)(distance * distance);
    if (squared > limit * 1.0001f) return false;
    return hypot((double)weaker.center[0] - (double)mine.center[0],
                 (double)weaker.center[1] - (double)mine.center[1]) <= distance;
}

template <typename Test> static __device__ void note(const Detections& d, const Test& test)
{
    const unsigned int kept = d.status->kept;
    const unsigned int me = blockIdx.y * 64 + threadIdx.x, word = blockIdx.x;
    if (me >= kept || word < blockIdx.y) return;
    if (d.gone[me / 64] >> (me % 64) & 1) return;  // strikes nothing out

    const Box mine = d.boxes[me];
    unsigned long long bits = 0;
    for (unsigned int bit = 0; bit < 64; ++bit) {
        const unsigned int other = word * 64 + bit;
        if (other <= me || other >= kept) continue;
        const Box& weaker = d.boxes[other];
        if ((d.class_agnostic || weaker.label == mine.label) && test(weaker, mine)) {
            bits |= 1ull << bit;
        }
    }
    d.rivals[me * WORDS + word] = bits;
}

extern "C" __global__ void near(const Detections d)
{
    note(d, [&](const Box& weaker, const Box& mine) { return is_near(weaker, mine, d.distance); });
}

extern "C" __global__ void overlap(const Detections d)
{
    note(d, [&](const Box& weaker, const Box& mine) { return overlaps(weaker, mine, d.iou); });
}

extern "C" __global__ void finish(const Detections d)
{
    const unsigned int kept = d.status->kept, limit = d.limit;
    const unsigned int me = blockIdx.x * blockDim.x + threadIdx.x;
    if (me >= kept) return;
    const bool stays = !(d.gone[me / 64] >> (me % 64) & 1);
    // my place is the number of those before me
    unsigned int before = __popcll(~d.gone[me / 64] & ((1ull << (me % 64)) - 1));
    for (unsigned int word = 0; word < me / 64; ++word) before += __popcll(~d.gone[word]);
    if (me == kept - 1) {
        const unsigned int all = before + stays;
        d.status->count = all < limit ? all : limit;
    }
    if (!stays || before >= limit) return;
    const Box& box = d.boxes[me];
    for (int i = 0; i < 3; ++i) {
        d.centers[before * 3 + i] = box.center[i];
        d.sizes[before * 3 + i] = box.size[i];
    }
    for (int i = 0; i < 2; ++i) d.velocities[before * 2 + i] = box.velocity[i];
    d.yaws[before] = box.yaw;
    d.scores[before] = box.score;
    d.classes[before] = box.label;
}
