// Copyright 2026 the jetson_perception authors
// SPDX-License-Identifier: Apache-2.0
//
// From the outputs of a lidar network to boxes, for every head.
//   candidates  one thread looks at one row, an anchor or a cell; where it reaches the threshold,
//               and decodes to a box that can be, the thread appends a key
//   decode      makes the boxes of the strongest candidates
// Keys come in any order, but no two are equal, and the highest score is the largest key, and of
// equal scores the earliest row and class: sorting them makes the result the same in every run, and
// the same as on the CPU path. Boxes are reckoned in double as they are there, and rounded once.

enum Form { ANCHORS_OPENPCDET = 0, ANCHORS_MMDET3D = 1, CENTRES_AUTOWARE = 2, CENTRES_OPENPCDET = 3 };

const double PI = 3.14159265358979323846;
const double SEAM = 0.78539;  // where the halves of the circle meet that the direction bins stand for

struct Half {
    unsigned short bits;
};

// What a frame comes to; zeroed before it, and first in what goes back to the host.
struct Status {
    unsigned int found;     // candidates
    unsigned int kept;      // of these the strongest, at most 4096
    unsigned int count;     // boxes
    unsigned int spare[5];
};

struct Box {
    float center[3];
    float size[3];          // length, width, height
    float yaw;
    float velocity[2];
    float score;
    int label;
    float reach;            // half of the diagonal, seen from above
};

// A tensor as cells of numbers.
struct View {
    const void* data;       // null: the network does not have it
    int half;               // whether it is of half precision
    int cell, channel;      // strides, in numbers
};

struct Anchor {
    double size[3];
    double across;          // diagonal, seen from above
    double height;          // of its centre
    double yaw;
};

struct Head {
    View scores;            // classes of each anchor, as logits
    View parts[5];          // anchors: boxes, directions; centres: offset, height, size, rotation,
                            // velocity
    const Anchor* table;    // [anchors]
    const double* yaw_norm; // CENTRES: [classes], least length of the rotation
    unsigned long long* keys;           // room for every row, or for every row and class
    const unsigned long long* ranked;   // [kept], the strongest keys
    Box* boxes;             // [kept]
    Status* status;
    double low[2], step[2]; // place in metres = low + (column or row + shift) * step
    double shift;           // ANCHORS; centres have the network's own
    int form;
    int rows;               // cells * anchors
    int anchors;            // of a cell; 1 for CENTRES
    int classes;
    int grid_columns, grid_rows;
    int multi_label;
    int peaks;              // CENTRES: whether a cell counts only where no neighbour exceeds it
    float least;            // smallest logit of a candidate
};

static __device__ float number(Half value)
{
    // the exponents of the two types are 112 apart; that of infinity and NaN is all ones in both
    const unsigned int special = (value.bits & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0u;
    const float scaled = __uint_as_float((value.bits & 0x7fffu) << 13) * 5.192296858534828e33f;
    return __uint_as_float(
        __float_as_uint(scaled) | special | (unsigned int)(value.bits & 0x8000u) << 16);
}

static __device__ float at(const View& view, unsigned int cell, unsigned int channel)
{
    const size_t place = (size_t)cell * view.cell + (size_t)channel * view.channel;
    return view.half ? number(((const Half*)view.data)[place]) : ((const float*)view.data)[place];
}

static __device__ bool finite(float value)
{
    return (__float_as_uint(value) & 0x7f800000u) != 0x7f800000u;
}

static __device__ float sigmoid(float logit)
{
    const float small = expf(-fabsf(logit));
    return (logit >= 0 ? 1 : small) / (1 + small);
}

// An angle between -pi and pi, without pi; twice, since rounding to float32 may reach pi again.
static __device__ float wrapped(double angle)
{
    angle = angle - 2 * PI * floor((angle + PI) / (2 * PI));
    const float rounded = (float)(angle >= PI ? -PI : angle);
    const float pi = (float)PI, turn = (float)(2 * PI);
    const float turned = rounded - turn * floorf((rounded + pi) / turn);
    return turned >= pi ? -pi : turned;
}

// What is left of a division by pi, from 0 up to pi.
static __device__ double within_half_turn(double angle)
{
    double rest = fmod(angle, PI);
    if (rest < 0) rest += PI;
    return rest;
}

static __device__ void place_anchor(const Head& h, unsigned int row, double* center, double* size,
                                    double* yaw)
{
    const unsigned int cell = row / h.anchors, which = row % h.anchors;
    const Anchor anchor = h.table[which];
    double delta[7];
    for (int i = 0; i < 7; ++i) delta[i] = at(h.parts[0], cell, which * 7 + i);
    const float bins[2] = {at(h.parts[1], cell, which * 2), at(h.parts[1], cell, which * 2 + 1)};
    const double x = h.low[0] + (cell % h.grid_columns + h.shift) * h.step[0];
    const double y = h.low[1] + (cell / h.grid_columns + h.shift) * h.step[1];
    center[0] = delta[0] * anchor.across + x;
    center[1] = delta[1] * anchor.across + y;
    center[2] = delta[2] * anchor.size[2] + anchor.height;
    for (int i = 0; i < 3; ++i) size[i] = exp(delta[3 + i]) * anchor.size[i];
    const double angle = delta[6] + anchor.yaw;
    if (h.form == ANCHORS_OPENPCDET) {
        *yaw = within_half_turn(angle - SEAM) + SEAM + (bins[1] >= bins[0] ? PI : 0);
    } else {
        // its angles run clockwise, and 0 has the width, its first size, along x
        const double half = within_half_turn(angle) - PI;
        *yaw = -(half + (bins[0] >= bins[1] ? PI : 0)) - PI / 2;
        const double width = size[0];
        size[0] = size[1];
        size[1] = width;
    }
}

// Whether the length of the rotation is enough to be believed.
static __device__ bool place_center(const Head& h, unsigned int cell, int label, double* center,
                                    double* size, double* yaw)
{
    center[0] = (cell % h.grid_columns + (double)at(h.parts[0], cell, 0)) * h.step[0] + h.low[0];
    center[1] = (cell / h.grid_columns + (double)at(h.parts[0], cell, 1)) * h.step[1] + h.low[1];
    center[2] = at(h.parts[1], cell, 0);
    for (int i = 0; i < 3; ++i) {
        const int from = h.form == CENTRES_AUTOWARE && i < 2 ? 1 - i : i;
        size[i] = exp((double)at(h.parts[2], cell, from));
    }
    const double first = at(h.parts[3], cell, 0), second = at(h.parts[3], cell, 1);
    *yaw = h.form == CENTRES_AUTOWARE ? -atan2(first, second) - PI / 2 : atan2(second, first);
    return hypot(first, second) >= h.yaw_norm[label];
}

// Whether a candidate is a box that can be.
static __device__ bool place(const Head& h, unsigned int row, int label, Box* box)
{
    double center[3], size[3], yaw;
    bool good = true;
    if (h.form <= ANCHORS_MMDET3D) place_anchor(h, row, center, size, &yaw);
    else good = place_center(h, row, label, center, size, &yaw);
    for (int i = 0; i < 3; ++i) {
        box->center[i] = (float)center[i];
        box->size[i] = (float)size[i];
        good = good && finite(box->center[i]) && finite(box->size[i]) && box->size[i] > 0;
    }
    box->yaw = wrapped(yaw);
    return good && finite(box->yaw);
}

// Of cells on a plateau all are peaks.
static __device__ bool is_peak(const Head& h, unsigned int cell, int label, float mine)
{
    const int row = cell / h.grid_columns, column = cell % h.grid_columns;
    for (int y = row - 1; y <= row + 1; ++y) {
        for (int x = column - 1; x <= column + 1; ++x) {
            if (y < 0 || y >= h.grid_rows || x < 0 || x >= h.grid_columns) continue;
            if (at(h.scores, (unsigned int)y * h.grid_columns + x, label) > mine) return false;
        }
    }
    return true;
}

static __device__ void consider(const Head& h, unsigned int row, int label, float logit)
{
    if (!(logit >= h.least && finite(logit))) return;
    if (h.peaks && !is_peak(h, row, label, logit)) return;
    Box box;
    if (!place(h, row, label, &box)) return;
    const unsigned int order = row * h.classes + label;
    // scores are not negative, so that their bits rise as they do
    const unsigned long long strength = __float_as_uint(sigmoid(logit));
    h.keys[atomicAdd(&h.status->found, 1u)] = strength << 32 | ~order;
}

extern "C" __global__ void candidates(const Head h)
{
    const unsigned int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= (unsigned int)h.rows) return;
    const unsigned int cell = row / h.anchors, first = row % h.anchors * h.classes;
    float best = 0;
    int best_class = -1;
    for (int label = 0; label < h.classes; ++label) {
        const float logit = at(h.scores, cell, first + label);
        if (h.multi_label) {
            consider(h, row, label, logit);
        } else if (logit != logit) {
            return;  // what a row with NaN says of its other classes is not to be trusted
        } else if (best_class < 0 || logit > best) {
            best = logit;
            best_class = label;
        }
    }
    if (!h.multi_label) consider(h, row, best_class, best);
}

extern "C" __global__ void decode(const Head h)
{
    const unsigned int rank = blockIdx.x * blockDim.x + threadIdx.x;
    if (rank >= h.status->kept) return;
    const unsigned int order = ~(unsigned int)h.ranked[rank];
    const unsigned int row = order / h.classes;
    Box box;
    box.label = order % h.classes;
    box.score = __uint_as_float((unsigned int)(h.ranked[rank] >> 32));
    place(h, row, box.label, &box);
    box.reach = hypotf(box.size[0], box.size[1]) / 2;
    for (int i = 0; i < 2; ++i) {
        const bool known = h.form > ANCHORS_MMDET3D && h.parts[4].data;
        box.velocity[i] = known ? at(h.parts[4], row, i) : __uint_as_float(0x7fc00000u);
    }
    h.boxes[rank] = box;
}
