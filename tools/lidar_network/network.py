# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The network: pillars, three blocks of convolutions, their outputs joined, one layer of heads."""

from __future__ import annotations

import torch
from torch import nn
from torch import Tensor

from tools.lidar_network.batches import Batch
from tools.lidar_network.form import ANCHOR_YAWS
from tools.lidar_network.form import CLASSES
from tools.lidar_network.form import POINTS
from tools.lidar_network.onnx_file import EPSILON
from tools.lidar_network.onnx_file import Layer
from tools.lidar_network.onnx_file import Weights
from trt_engine.backend import Array
from trt_engine.lidar_card import PointsInput

PILLAR_CHANNELS = 32
# Channels and layers of each block; each halves the grid.
BLOCKS = ((48, 3), (96, 4), (128, 4))
UP_CHANNELS = 64
# Of the running statistics: slower ones lag behind the weights in so short a training (measured).
MOMENTUM = 0.05
ANCHORS = len(CLASSES) * len(ANCHOR_YAWS)  # of a cell
HEADS = {'cls_preds': len(CLASSES), 'box_preds': 7, 'dir_cls_preds': 2}


class Normalised(nn.Module):
    """A layer without bias, batch normalisation, ReLU."""

    def __init__(self, layer: nn.Module, normal: nn.Module, stride: int = 1) -> None:
        super().__init__()
        self.layer = layer
        self.normal = normal
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.normal(self.layer(x)))

    def exported(self, *, transposed: bool = False) -> Layer:
        """Return the layer as arrays; a linear one is transposed to (in, out)."""
        normal = self.normal
        weight = self.layer.weight.T if transposed else self.layer.weight
        return Layer(
            _array(weight),
            _array(normal.weight),
            _array(normal.bias),
            _array(normal.running_mean),
            _array(normal.running_var),
            self.stride,
        )


class PointPillars(nn.Module):
    """Gives the three raw outputs, channels last."""

    def __init__(self, points: PointsInput = POINTS) -> None:
        super().__init__()
        self._grid, self._max_points = points.grid, points.max_points
        linear = nn.Linear(points.feature_size, PILLAR_CHANNELS, bias=False)
        self.pillar = Normalised(linear, nn.BatchNorm1d(PILLAR_CHANNELS, EPSILON, MOMENTUM))
        self.blocks, self.ups = nn.ModuleList(), nn.ModuleList()
        before = PILLAR_CHANNELS
        for place, (channels, layers) in enumerate(BLOCKS):
            block = [_convolution(before, channels, 2)]
            block += [_convolution(channels, channels, 1) for _ in range(layers - 1)]
            self.blocks.append(nn.Sequential(*block))
            step = 2**place
            up = nn.ConvTranspose2d(channels, UP_CHANNELS, step, step, bias=False)
            self.ups.append(Normalised(up, _normal(UP_CHANNELS), step))
            before = channels
        joined = UP_CHANNELS * len(BLOCKS)
        self.heads = nn.ModuleDict(
            {name: nn.Conv2d(joined, ANCHORS * numbers, 1) for name, numbers in HEADS.items()}
        )
        # at the start nearly nothing is a thing
        nn.init.constant_(self.heads['cls_preds'].bias, -4.6)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return for each output (sweeps, rows, columns, numbers) float32."""
        columns, rows = self._grid
        pillars = self._pillars(batch.features, batch.sizes)
        grid = pillars.new_zeros(batch.sweeps * rows * columns, PILLAR_CHANNELS)
        grid = grid.index_copy(0, batch.cells, pillars)
        x = grid.view(batch.sweeps, rows, columns, PILLAR_CHANNELS).permute(0, 3, 1, 2)
        parts = []
        with torch.autocast(x.device.type, torch.bfloat16, enabled=x.is_cuda):
            for block, up in zip(self.blocks, self.ups, strict=True):
                x = block(x)
                parts.append(up(x))
            joined = torch.cat(parts, dim=1)
            outputs = {name: head(joined) for name, head in self.heads.items()}
        return {name: output.permute(0, 2, 3, 1).float() for name, output in outputs.items()}

    def _pillars(self, features: Tensor, sizes: Tensor) -> Tensor:
        owners = torch.arange(len(sizes), device=sizes.device)
        # A row of zeros in each pillar that is not full: the exported network sees them too, and
        # what it makes of a zero takes part in the maximum.
        padded = owners[sizes < self._max_points]
        rows = torch.cat((features, features.new_zeros(len(padded), features.shape[1])))
        owners = torch.cat((owners.repeat_interleave(sizes), padded))
        values = self.pillar(rows)
        greatest = values.new_zeros(len(sizes), PILLAR_CHANNELS)
        index = owners[:, None].expand_as(values)
        return greatest.scatter_reduce(0, index, values, 'amax', include_self=True)

    def weights(self) -> Weights:
        """Return all that was learned, as arrays."""
        return Weights(
            pillar=self.pillar.exported(transposed=True),
            blocks=tuple(tuple(layer.exported() for layer in block) for block in self.blocks),
            ups=tuple(up.exported() for up in self.ups),
            heads={
                name: (_array(head.weight), _array(head.bias)) for name, head in self.heads.items()
            },
        )


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.detach().float().cpu().numpy()
    return array


def _normal(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, EPSILON, MOMENTUM)


def _convolution(before: int, channels: int, stride: int) -> Normalised:
    layer = nn.Conv2d(before, channels, 3, stride, padding=1, bias=False)
    return Normalised(layer, _normal(channels), stride)
