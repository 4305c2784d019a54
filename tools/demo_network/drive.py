# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Write the demo drive: one picture a frame, and what stands in each of them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
from scenes import DRIVE_HZ
from scenes import render_drive
from things import CLASSES

SEED = 2


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.split('x'))
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is not WIDTHxHEIGHT, as in 640x480') from None
    if not (64 <= width <= 4096 and 64 <= height <= 4096):
        raise argparse.ArgumentTypeError(f'{text} is outside 64x64 to 4096x4096')
    return width, height


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, required=True, help='folder for the pictures')
    parser.add_argument('--frames', type=int, default=150)
    parser.add_argument('--size', type=_size, default=(640, 480), metavar='WIDTHxHEIGHT')
    parser.add_argument('--seed', type=int, default=SEED)
    parser.add_argument('--video', type=Path, help='write an MP4 as well')
    args = parser.parse_args()
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        parser.error(f'--out {args.out}: no folder can be made there: {exc.strerror}')
    video = None
    if args.video is not None:
        codec = cv2.VideoWriter.fourcc(*'mp4v')
        video = cv2.VideoWriter(str(args.video), codec, DRIVE_HZ, args.size)
        if not video.isOpened():
            parser.error(
                f'OpenCV cannot write {args.video}; leave --video out, or name an .mp4 file'
            )
    truth = {}
    for index, (picture, boxes, classes) in enumerate(
        render_drive(args.seed, args.frames, *args.size)
    ):
        name = f'frame_{index:04d}.jpg'
        cv2.imwrite(str(args.out / name), picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
        if video is not None:
            video.write(picture)
        truth[name] = [
            {'class': CLASSES[kind], 'box': box}
            for kind, box in zip(classes.tolist(), boxes.tolist(), strict=True)
        ]
    if video is not None:
        video.release()
    document = {'hz': DRIVE_HZ, 'classes': CLASSES, 'frames': truth}
    (args.out / 'truth.json').write_text(json.dumps(document))


if __name__ == '__main__':
    main()
