// Copyright 2026 the jetson_perception authors
// SPDX-License-Identifier: Apache-2.0
//
// From the bytes of a camera to the input of a network, in one pass. One thread makes one pixel of
// the network: it reads the four camera pixels around its place, converts each to colour, weighs
// them as OpenCV's INTER_LINEAR does, and looks each channel up in the table of network values.
//
// All of it is integer arithmetic, the same as on the CPU path, so the tensors are equal bit by
// bit; where a thread reads, and with what weights, the host computes once for each camera.
//
// Defined by whoever compiles this: ELEMENT, an unsigned type as wide as a number of the network,
// SIZE, the type in which it takes the size of the image, and FORMAT, one of these:
#define PACKED 0   // each pixel stands alone: rgb8, bgra8, mono8, mono16, ...
#define YUV422 1   // two pixels share a colour in a row of four bytes: uyvy, yuy2
#define YUV420 2   // two by two pixels share a colour, which lies below the image: nv12, nv21
#define BAYER 3    // a pixel has one of the three colours, its neighbours the others

// The two camera rows, or columns, that a network row or column lies between, and how much of each,
// in parts of 2048.
struct Tap {
    int low;
    int high;
    int weight_low;
    int weight_high;
};

struct Frame {
    const unsigned char* pixels;
    const Tap* columns;       // [fitted_width]
    const Tap* rows;          // [fitted_height]; counted among the rows that were brought here
    const ELEMENT* levels;    // [3][256]: what the network takes for each value of a channel
    ELEMENT* tensor;
    SIZE* size;               // takes width and height of the camera image; may be null
    int step;                 // bytes from one camera row to the next
    int chroma;               // YUV420: bytes from the first row here to the first of the colours
    int width, height;        // of the camera image
    int pixel_bytes;          // PACKED: bytes from one pixel to the next
    int at[3];                // PACKED: byte of red, green, blue; YUV: of y, u, v; BAYER: column
                              // and row, 0 or 1, of the first red pixel
    int order[3];             // which of red, green, blue each channel of the network is
    int tensor_width, tensor_height;
    int left, top, fitted_width, fitted_height;    // where the image lies in the tensor
    int pixel_stride, row_stride, channel_stride;  // of the tensor, in numbers
    int border;               // value of the pixels around the image
};

static __device__ int clamped(int value, int low, int high)
{
    return value < low ? low : value > high ? high : value;
}

#if FORMAT == PACKED

static __device__ void read(const Frame& frame, int x, int y, int* rgb)
{
    const unsigned char* pixel = frame.pixels + (size_t)y * frame.step + x * frame.pixel_bytes;
    for (int i = 0; i < 3; ++i) rgb[i] = pixel[frame.at[i]];
}

#elif FORMAT == YUV422 || FORMAT == YUV420

// ITU-R BT.601 in parts of 2^20, luma from 16 to 235.
static __device__ void read(const Frame& frame, int x, int y, int* rgb)
{
#if FORMAT == YUV422
    const unsigned char* pair = frame.pixels + (size_t)y * frame.step + (x & ~1) * 2;
    const int luma = pair[frame.at[0] + (x & 1) * 2];
#else
    const unsigned char* pair =
        frame.pixels + frame.chroma + (size_t)(y >> 1) * frame.step + (x & ~1);
    const int luma = frame.pixels[(size_t)y * frame.step + x];
#endif
    const int u = pair[frame.at[1]] - 128;
    const int v = pair[frame.at[2]] - 128;
    const int grey = (luma > 16 ? luma - 16 : 0) * 1220542 + (1 << 19);
    rgb[0] = clamped((grey + 1673527 * v) >> 20, 0, 255);
    rgb[1] = clamped((grey - 852492 * v - 409993 * u) >> 20, 0, 255);
    rgb[2] = clamped((grey + 2116026 * u) >> 20, 0, 255);
}

#elif FORMAT == BAYER

// The pixels of the outermost rows and columns, which lack neighbours, are those beside them.
static __device__ void read(const Frame& frame, int x, int y, int* rgb)
{
    x = clamped(x, 1, frame.width - 2);
    y = clamped(y, 1, frame.height - 2);
    const unsigned char* here = frame.pixels + (size_t)y * frame.step + x;
    const unsigned char* above = here - frame.step;
    const unsigned char* below = here + frame.step;
    const bool red_column = (x & 1) == frame.at[0];
    const bool red_row = (y & 1) == frame.at[1];
    if (red_column != red_row) {
        const int beside = (here[-1] + here[1] + 1) >> 1;
        const int along = (above[0] + below[0] + 1) >> 1;
        rgb[0] = red_row ? beside : along;
        rgb[1] = here[0];
        rgb[2] = red_row ? along : beside;
    } else {
        const int corners = (above[-1] + above[1] + below[-1] + below[1] + 2) >> 2;
        rgb[0] = red_row ? here[0] : corners;
        rgb[1] = (above[0] + below[0] + here[-1] + here[1] + 2) >> 2;
        rgb[2] = red_row ? corners : here[0];
    }
}

#endif

extern "C" __global__ void preprocess(const Frame frame)
{
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    const int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= frame.tensor_width || y >= frame.tensor_height) return;
    if (x == 0 && y == 0 && frame.size) {
        frame.size[0] = frame.width;
        frame.size[1] = frame.height;
    }

    int rgb[3] = {frame.border, frame.border, frame.border};
    const int column = x - frame.left;
    const int row = y - frame.top;
    if (column >= 0 && column < frame.fitted_width && row >= 0 && row < frame.fitted_height) {
        const Tap across = frame.columns[column];
        const Tap down = frame.rows[row];
        int pixels[4][3];
        read(frame, across.low, down.low, pixels[0]);
        read(frame, across.high, down.low, pixels[1]);
        read(frame, across.low, down.high, pixels[2]);
        read(frame, across.high, down.high, pixels[3]);
        for (int i = 0; i < 3; ++i) {
            const int upper = pixels[0][i] * across.weight_low + pixels[1][i] * across.weight_high;
            const int lower = pixels[2][i] * across.weight_low + pixels[3][i] * across.weight_high;
            const int sum = (((upper >> 4) * down.weight_low) >> 16) +
                            (((lower >> 4) * down.weight_high) >> 16);
            rgb[i] = clamped((sum + 2) >> 2, 0, 255);
        }
    }
    ELEMENT* target =
        frame.tensor + (size_t)y * frame.row_stride + (size_t)x * frame.pixel_stride;
    for (int channel = 0; channel < 3; ++channel) {
        // chosen by comparison: an index would push the three into local memory
        const int which = frame.order[channel];
        const int value = which == 0 ? rgb[0] : which == 1 ? rgb[1] : rgb[2];
        target[(size_t)channel * frame.channel_stride] = frame.levels[channel * 256 + value];
    }
}
