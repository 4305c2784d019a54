// Copyright 2026 the jetson_perception authors
// SPDX-License-Identifier: Apache-2.0
//
// From the outputs of a network to candidates, for every head. One thread looks at one row of the
// outputs: a cell, an anchor or a query. Where its score reaches the threshold, the thread decodes
// the box and appends a key. Keys come in any order, but no two are equal, and the highest score is
// the largest key, and of equal scores the earliest row and class: sorting them makes the result
// the same in every run, and the same as on the CPU path.
//
// Defined by whoever compiles this: SCORE, BOX and LABEL, the element types of the outputs: float,
// Half, int or long long.

enum Form { CORNERS = 0, CENTRES = 1, CELLS = 2, DISTANCES = 3 };

struct Half {
    unsigned short bits;
};

// What a frame comes to; zeroed before it, and first in what goes back to the host.
struct Status {
    unsigned int found;     // candidates
    unsigned int kept;      // of these the strongest, at most 1000
    unsigned int count;     // detections
    unsigned int unknown;   // whether a candidate has a class that the card does not have
    float label;            // that class, or one of them
    unsigned int spare[3];  // so that boxes after it are aligned
};

struct Outputs {
    const SCORE* scores;
    const SCORE* gate;          // a factor for all scores of a row, as objectness is; or null
    const LABEL* labels;        // the class of a row, where it does not follow from scores; or null
    const BOX* boxes;
    const float* anchors;       // [rows][3]: x, y, and pixels from cell to cell
    float4* corners;            // [rows of all levels], written for candidates
    unsigned long long* keys;   // room for every row, or for every row and class
    Status* status;
    int rows;
    int first;                  // number of rows in the levels before this one
    int columns;                // of scores
    int background;             // the column that is no class, or -1
    int classes;                // of the card
    int score_row, score_column, gate_row, label_row, box_row, box_column;  // strides, in numbers
    int form;
    int bins;                   // DISTANCES: how many a side is spread over
    int logits;                 // whether the sigmoid is still to be done
    int multi_label;
    float least_gate, least;    // smallest gate and score of a candidate
    float scale_x, scale_y;     // CORNERS and CENTRES: to pixels
};

static __device__ float number(float value) { return value; }
static __device__ float number(int value) { return (float)value; }
static __device__ float number(long long value) { return (float)value; }

static __device__ float number(Half value)
{
    // the exponents of the two types are 112 apart; that of infinity and NaN is all ones in both
    const unsigned int special = (value.bits & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0u;
    const float scaled = __uint_as_float((value.bits & 0x7fffu) << 13) * 5.192296858534828e33f;
    return __uint_as_float(
        __float_as_uint(scaled) | special | (unsigned int)(value.bits & 0x8000u) << 16);
}

static __device__ bool finite(float value)
{
    return (__float_as_uint(value) & 0x7f800000u) != 0x7f800000u;
}

static __device__ bool reaches(float score, float least)
{
    return score >= least && finite(score);
}

static __device__ float side(const Outputs& o, int row, int index)
{
    return number(o.boxes[(size_t)row * o.box_row + (size_t)index * o.box_column]);
}

// The mean of a distribution over distances that is given by logits, in cells.
static __device__ float distance(const Outputs& o, int row, int index)
{
    float highest = side(o, row, index * o.bins);
    for (int bin = 1; bin < o.bins; ++bin) {
        highest = fmaxf(highest, side(o, row, index * o.bins + bin));
    }
    float sum = 0, weighted = 0;
    for (int bin = 0; bin < o.bins; ++bin) {
        const float weight = expf(side(o, row, index * o.bins + bin) - highest);
        sum += weight;
        weighted += weight * bin;
    }
    return weighted / sum;
}

// Decodes the box of a row; false where it is not finite.
static __device__ bool place(const Outputs& o, int row)
{
    float4 box;
    if (o.form == CORNERS) {
        box.x = side(o, row, 0) * o.scale_x;
        box.y = side(o, row, 1) * o.scale_y;
        box.z = side(o, row, 2) * o.scale_x;
        box.w = side(o, row, 3) * o.scale_y;
    } else if (o.form == DISTANCES) {
        const float* anchor = o.anchors + (size_t)row * 3;
        box.x = anchor[0] - distance(o, row, 0) * anchor[2];
        box.y = anchor[1] - distance(o, row, 1) * anchor[2];
        box.z = anchor[0] + distance(o, row, 2) * anchor[2];
        box.w = anchor[1] + distance(o, row, 3) * anchor[2];
    } else {
        float x = side(o, row, 0), y = side(o, row, 1);
        float width = side(o, row, 2), height = side(o, row, 3);
        if (o.form == CELLS) {
            const float* anchor = o.anchors + (size_t)row * 3;
            x = (x + anchor[0]) * anchor[2];
            y = (y + anchor[1]) * anchor[2];
            width = expf(width) * anchor[2];
            height = expf(height) * anchor[2];
        } else {
            x *= o.scale_x;
            y *= o.scale_y;
            width *= o.scale_x;
            height *= o.scale_y;
        }
        box.x = x - width / 2;
        box.y = y - height / 2;
        box.z = x + width / 2;
        box.w = y + height / 2;
    }
    o.corners[o.first + row] = box;
    return finite(box.x) && finite(box.y) && finite(box.z) && finite(box.w);
}

static __device__ void append(const Outputs& o, int row, int label, float score)
{
    const unsigned int order = (unsigned int)(o.first + row) * o.classes + label;
    // scores are not negative, so that their bits rise as they do; adding 0 makes 0 of -0
    const unsigned long long strength = __float_as_uint(score + 0.0f);
    o.keys[atomicAdd(&o.status->found, 1u)] = strength << 32 | ~order;
}

static __device__ void append_labelled(const Outputs& o, int row, float score)
{
    const float label = number(o.labels[(size_t)row * o.label_row]);
    if (!finite(label)) return;
    if (label >= 0 && label < o.classes) {
        if (place(o, row)) append(o, row, (int)label, score);
    } else {
        o.status->label = label;
        o.status->unknown = 1;
    }
}

extern "C" __global__ void candidates(const Outputs o)
{
    const int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= o.rows) return;

    float gate = 1;
    if (o.gate) {
        gate = number(o.gate[(size_t)row * o.gate_row]);
        if (!reaches(gate, o.least_gate)) return;
    }
    float best = -1;
    int best_class = 0;
    bool placed = false;
    for (int column = 0; column < o.columns; ++column) {
        if (column == o.background) continue;
        float score =
            number(o.scores[(size_t)row * o.score_row + (size_t)column * o.score_column]);
        if (o.logits) score = 1 / (1 + expf(-score));
        score *= gate;
        const int label = column - (o.background >= 0 && column > o.background);
        if (o.multi_label) {
            if (!reaches(score, o.least)) continue;
            if (!placed && !place(o, row)) return;
            placed = true;
            append(o, row, label, score);
        } else if (score != score) {
            return;  // what a row with NaN says of its other classes is not to be trusted
        } else if (score > best) {
            best = score;
            best_class = label;
        }
    }
    if (o.multi_label || !reaches(best, o.least)) return;
    if (o.labels) append_labelled(o, row, best);
    else if (place(o, row)) append(o, row, best_class, best);
}
