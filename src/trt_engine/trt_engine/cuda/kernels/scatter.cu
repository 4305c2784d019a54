// Copyright 2026 the jetson_perception authors
// SPDX-License-Identifier: Apache-2.0
//
// From what a network made of each pillar to the grid seen from above:
//   clear   empties the cells that the last cloud filled
//   scatter fills those of this one
//
// Defined by whoever compiles this: ELEMENT, an unsigned type as wide as a number of the grid.

struct Scatter {
    const unsigned int* count;      // pillars of this cloud
    const unsigned int* cells;      // the cell of each
    const ELEMENT* features;        // [count][channels]
    ELEMENT* grid;                  // [channels][size]
    unsigned int* filled;           // how many cells are filled
    unsigned int* filled_cells;     // which
    int channels;
    int size;                       // cells of the grid
};

extern "C" __global__ void clear(const Scatter s)
{
    const unsigned int pillar = blockIdx.x * blockDim.x + threadIdx.x;
    if (pillar >= *s.filled) return;
    for (int channel = 0; channel < s.channels; ++channel) {
        s.grid[(size_t)channel * s.size + s.filled_cells[pillar]] = 0;
    }
}

extern "C" __global__ void scatter(const Scatter s)
{
    const unsigned int pillar = blockIdx.x * blockDim.x + threadIdx.x;
    if (pillar == 0) *s.filled = *s.count;
    if (pillar >= *s.count) return;
    const unsigned int cell = s.cells[pillar];
    s.filled_cells[pillar] = cell;
    // threads side by side fill cells that lie close together
    for (int channel = 0; channel < s.channels; ++channel) {
        s.grid[(size_t)channel * s.size + cell] = s.features[(size_t)pillar * s.channels + channel];
    }
}
