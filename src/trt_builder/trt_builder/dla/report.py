# Copyright 2026 the jetson_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What of a network a DLA can run, and whether there is one at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any
from typing import Literal

from trt_builder.compat import parse_version
from trt_builder.compat import Version
from trt_builder.dla.rules import batch_of
from trt_builder.dla.rules import BYTES
from trt_builder.dla.rules import judge
from trt_builder.dla.rules import MAX_LOADABLES
from trt_builder.dla.rules import multiply_adds
from trt_builder.dla.rules import Site
from trt_engine.onnx_graph import Graph
from trt_engine.onnx_graph import Node
from trt_engine.onnx_graph import read_graph

Device = Literal['dla', 'gpu']
JETSON_6: Version = (10, 3)


@dataclass(frozen=True)
class Layer:
    """What the report says of one node.

    Attributes:
        name: As in the ONNX file; the operator and a number where it has none.
        op: Its operator.
        device: Where it can run.
        reasons: The limits that it breaks; empty on the DLA.
        doubt: Where NVIDIA's documents disagree about it.
        multiply_adds: Those of its matrix products.
        loadable: Number of the DLA subgraph that it is part of, from 0; None on the GPU.
    """

    name: str
    op: str
    device: Device
    reasons: tuple[str, ...]
    doubt: str
    multiply_adds: int
    loadable: int | None


@dataclass(frozen=True)
class Crossing:
    """A tensor that changes device: TensorRT puts a reformat there, which runs on the GPU.

    Attributes:
        tensor: Its name.
        shape: Such as 1x16x208x208.
        source: The layer that makes it; None for an input of the network.
        targets: The layers on the other device that take it; none for an output of the network.
        direction: Where it goes.
        kib: Size in the precision of the report.
    """

    tensor: str
    shape: str
    source: str | None
    targets: tuple[str, ...]
    direction: Literal['to dla', 'to gpu']
    kib: float

    @property
    def is_boundary(self) -> bool:
        """Return whether it is an input or output of the network.

        Those need no reformat where the card's `io` gives them a DLA format.
        """
        return self.source is None or not self.targets


@dataclass(frozen=True)
class DlaReport:
    """What of one ONNX file can run on a DLA, as far as the file alone tells.

    Attributes:
        model: Name of the file.
        precision: What the DLA would compute in: fp16 or int8.
        tensorrt: Version whose rules were applied.
        layers: Each node that runs, in the order of the file.
        folded: Number of nodes that the builder computes or drops.
        crossings: The tensors that change device.
    """

    model: str
    precision: str
    tensorrt: str
    layers: tuple[Layer, ...]
    folded: int
    crossings: tuple[Crossing, ...]

    @property
    def on_dla(self) -> tuple[Layer, ...]:
        """Return the layers that can run on a DLA."""
        return tuple(layer for layer in self.layers if layer.device == 'dla')

    @property
    def on_gpu(self) -> tuple[Layer, ...]:
        """Return the layers that fall back to the GPU."""
        return tuple(layer for layer in self.layers if layer.device == 'gpu')

    @property
    def loadables(self) -> tuple[tuple[Layer, ...], ...]:
        """Return the layers of each DLA subgraph."""
        parts: dict[int, list[Layer]] = {}
        for layer in self.layers:
            if layer.loadable is not None:
                parts.setdefault(layer.loadable, []).append(layer)
        return tuple(tuple(parts[number]) for number in sorted(parts))

    @property
    def multiply_adds(self) -> int:
        """Return the multiply-adds of the whole network."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def dla_share(self) -> float:
        """Return which part of the multiply-adds can run on a DLA, 0 to 1; 0 where are none."""
        total = self.multiply_adds
        return sum(layer.multiply_adds for layer in self.on_dla) / total if total else 0.0

    @property
    def summary(self) -> str:
        """Return the report in three lines."""
        inner = [each for each in self.crossings if not each.is_boundary]
        loadables = len(self.loadables)
        over = (
            f'; TensorRT gives the layers of all beyond {MAX_LOADABLES} to the GPU'
            if loadables > MAX_LOADABLES
            else ''
        )
        return '\n'.join(
            (
                f'{self.model}, {self.precision.upper()}, rules of TensorRT {self.tensorrt}: '
                f'{len(self.on_dla)} of {len(self.layers)} layers can run on a DLA, with '
                f'{self.dla_share:.1%} of {self.multiply_adds / 1e6:.1f} M multiply-adds; '
                f'{len(self.on_gpu)} fall back to the GPU; {self.folded} more vanish in the build',
                f'{loadables} DLA loadable{"s" * (loadables != 1)}, at most {MAX_LOADABLES} a core'
                f'{over}',
                f'{len(inner)} tensors change device inside the network, '
                f'{len(self.crossings) - len(inner)} at its inputs and outputs: each a reformat',
            )
        )

    def to_text(self) -> str:
        """Return the whole report as text."""
        doubts = Counter((each.op, each.doubt) for each in self.layers if each.doubt)
        tables = (
            _table(
                'Fall back to the GPU',
                ('layer', 'operator', 'why'),
                [(each.name, each.op, '; '.join(each.reasons)) for each in self.on_gpu],
            ),
            _table(
                'DLA loadables',
                ('loadable', 'layers', 'M multiply-adds', 'from ... to'),
                [
                    (
                        str(number),
                        str(len(part)),
                        f'{sum(each.multiply_adds for each in part) / 1e6:.1f}',
                        f'{part[0].name} ... {part[-1].name}' if part[1:] else part[0].name,
                    )
                    for number, part in enumerate(self.loadables)
                ],
            ),
            _table(
                'Tensors that change device',
                ('direction', 'tensor', 'shape', 'KiB', 'from', 'to'),
                [
                    (
                        each.direction,
                        each.tensor,
                        each.shape,
                        f'{each.kib:.1f}',
                        each.source or 'input of the network',
                        ', '.join(each.targets) or 'output of the network',
                    )
                    for each in self.crossings
                ],
            ),
            _table(
                'Ask TensorRT on the board about',
                ('operator', 'layers', 'why'),
                [(op, str(count), doubt) for (op, doubt), count in doubts.items()],
            ),
        )
        return '\n\n'.join((self.summary, *filter(None, tables)))

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            **asdict(self),
            'summary': {
                'layers': len(self.layers),
                'dla': len(self.on_dla),
                'gpu': len(self.on_gpu),
                'multiply_adds': self.multiply_adds,
                'dla_share': round(self.dla_share, 4),
                'loadables': len(self.loadables),
                'max_loadables': MAX_LOADABLES,
                'reformats': sum(not each.is_boundary for each in self.crossings),
            },
        }


def report(
    path: Path,
    precision: str = 'fp16',
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    tensorrt: Version = JETSON_6,
) -> DlaReport:
    """Return what of an ONNX file a DLA of Orin can run; needs neither TensorRT nor a board.

    TensorRT fuses and partitions by itself: take the loadables for an estimate, and
    `trt_builder.layers` for what was built. Shape inference is native code: look at files of
    strangers in a process of its own.

    Args:
        path: The file; weights beside it are not read.
        precision: What the engine computes in: fp16 or int8; all else has no DLA layers.
        shapes: Shapes of inputs that the file leaves open: a DLA takes one shape alone.
        tensorrt: Version whose rules apply.

    Raises:
        ModelFileError: The file cannot be read, or the shapes do not fit it.
    """
    return report_graph(read_graph(path, shapes), path.name, precision, tensorrt)


def report_graph(graph: Graph, name: str, precision: str, tensorrt: Version) -> DlaReport:
    """Return the report on a graph that is in memory; see `report`."""
    producers = {output: node for node in graph.nodes for output in node.outputs}
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for tensor in dict.fromkeys(node.present_inputs):
            readers.setdefault(tensor, []).append(node)
    consumers = {tensor: tuple(nodes) for tensor, nodes in readers.items()}
    sites = [Site(graph, node, precision, tensorrt, producers, consumers) for node in graph.nodes]
    verdicts = [judge(site) for site in sites]
    devices: list[Device] = ['dla' if verdict.runs else 'gpu' for verdict in verdicts]
    loadables = _loadables(graph, devices, producers)
    layers = tuple(
        Layer(
            site.node.name,
            site.node.op,
            device,
            verdict.broken,
            verdict.doubt,
            multiply_adds(site),
            loadables.get(site.node.place),
        )
        for site, verdict, device in zip(sites, verdicts, devices, strict=True)
    )
    crossings = tuple(_crossings(graph, devices, producers, consumers, precision))
    version = '.'.join(map(str, tensorrt))
    return DlaReport(name, precision, version, layers, graph.folded, crossings)


def _loadables(
    graph: Graph, devices: Sequence[Device], producers: Mapping[str, Node]
) -> dict[int, int]:
    """Return DLA node -> number of its subgraph.

    Nodes share a subgraph if DLA edges connect them and as many changes of device or batch lie
    before them: so no path leaves a subgraph and comes back, which would make it wait for itself.
    """
    homes = [
        (device, _batch(graph, node) if device == 'dla' else 0)
        for node, device in zip(graph.nodes, devices, strict=True)
    ]
    changes: list[int] = []
    leaders: dict[int, int] = {}

    def leader(place: int) -> int:
        while leaders[place] != place:
            leaders[place] = leaders[leaders[place]]
            place = leaders[place]
        return place

    for node in graph.nodes:
        here = node.place
        # in a file that is not sorted, some sources come later
        sources = [
            producers[name].place
            for name in node.present_inputs
            if name in producers and producers[name].place < here
        ]
        changes.append(
            max((changes[each] + (homes[each] != homes[here]) for each in sources), default=0)
        )
        if devices[here] == 'gpu':
            continue
        leaders[here] = here
        for source in sources:
            if homes[source] == homes[here] and changes[source] == changes[here]:
                leaders[leader(here)] = leader(source)
    numbers: dict[int, int] = {}
    return {place: numbers.setdefault(leader(place), len(numbers)) for place in leaders}


def _batch(graph: Graph, node: Node) -> int:
    return batch_of(graph.tensor(node.outputs[0]).shape) if node.outputs else 1


def _crossings(
    graph: Graph,
    devices: Sequence[Device],
    producers: Mapping[str, Node],
    consumers: Mapping[str, tuple[Node, ...]],
    precision: str,
) -> Iterator[Crossing]:
    for name in dict.fromkeys((*graph.inputs, *producers)):
        source = producers.get(name)
        # what comes from outside, or goes there, is memory of the GPU
        here = devices[source.place] if source else 'gpu'
        targets = tuple(
            each.name for each in consumers.get(name, ()) if devices[each.place] != here
        )
        if not targets and not (here == 'dla' and name in graph.outputs):
            continue
        tensor = graph.tensor(name)
        yield Crossing(
            name,
            str(tensor),
            source.name if source else None,
            targets,
            'to dla' if here == 'gpu' else 'to gpu',
            round(prod(tensor.fixed or (0,)) * BYTES.get(precision, 4) / 1024, 1),
        )


def _table(title: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ''
    widths = [max(len(row[column]) for row in (names, *rows)) for column in range(len(names) - 1)]
    lines = [
        '  '.join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in (names, *rows)
    ]
    return '\n'.join((title, *(f'  {line}'.rstrip() for line in lines)))


@dataclass(frozen=True)
class Availability:
    """Whether there is a DLA.

    Attributes:
        available: True, False, or None where only TensorRT on the machine can tell.
        reason: Why, in a sentence, and what to do.
    """

    available: bool | None
    reason: str


# by what the device tree calls the board; the first that fits counts
_BOARDS: tuple[tuple[str, int, str], ...] = (
    ('Thor', 0, 'Thor has no DLA'),
    ('Orin Nano', 0, 'Orin Nano has no DLA: use the GPU, or an Orin NX in the same carrier'),
    ('AGX Orin', 2, 'AGX Orin has 2 DLA cores'),
    ('Orin NX', 1, 'Orin NX has 2 DLA cores with 16 GB, 1 with 8 GB'),
)


def explain_availability(
    board: str | None,
    jetpack: str | None,
    tensorrt: str | None,
    dla_cores: int | None,
) -> Availability:
    """Return whether a DLA can be had, and why.

    Args:
        board: Model from the device tree, such as NVIDIA Jetson AGX Orin Developer Kit.
        jetpack: Such as 6.2.1.
        tensorrt: Such as 10.3.0.30.
        dla_cores: What the module has, or `Builder.num_DLA_cores` says; None if nobody asked.

    Raises:
        BuildRefusedError: `tensorrt` is no version.
    """
    known = next((each for each in _BOARDS if each[0] in (board or '')), None)
    if known and known[1] == 0:
        return Availability(False, f'{known[2]} ({board})')
    if known is None and not dla_cores:
        name = board or 'this machine'
        if dla_cores == 0:
            return Availability(False, f'{name} has no DLA core; AGX Orin and Orin NX have')
        return Availability(
            None if board else False,
            f'{name} is no Jetson that is known to have a DLA, as AGX Orin and Orin NX are',
        )
    has = known[2] if known else f'{board or "this machine"} has {dla_cores} DLA cores'
    missing = _missing_in(tensorrt, jetpack, board or '')
    if missing:
        return Availability(False, f'{has}, but {missing}')
    if dla_cores == 0:
        return Availability(
            False,
            f'{has}, but TensorRT sees none: in a container, pass the device nodes (/dev/nvhost-*, '
            '/dev/nvdla*) and the libraries of the host',
        )
    if tensorrt is None:
        return Availability(None, f'{has}; whether TensorRT uses them depends on its version')
    if parse_version(tensorrt) >= (11,) and 'AGX Orin' not in (board or ''):
        return Availability(
            None,
            f'{has}; for TensorRT {tensorrt} the documents name AGX Orin alone: ask '
            'Builder.num_DLA_cores on the board',
        )
    return Availability(True, f'{has}, and TensorRT {tensorrt} uses them')


def _missing_in(tensorrt: str | None, jetpack: str | None, board: str) -> str:
    """Return why a board with DLA cores has none for this software; nothing if it has."""
    release = parse_version(f'{jetpack}.0') if jetpack and jetpack[0].isdigit() else ()
    version = parse_version(tensorrt) if tensorrt else ()
    if (7,) <= release[:2] < (7, 2):
        return f'JetPack {jetpack} is for Thor, which has none'
    if (10, 8) <= version < (11,):
        return (
            f'TensorRT {tensorrt} has no DLA on any JetPack: 10.7 was the last 10.x with it '
            '(JetPack 6 has 8.6 or 10.3)'
        )
    if (11,) <= version < (11, 4):
        return f'TensorRT {tensorrt} has no DLA: 11.4.1 brings it back, with JetPack 7.2.2'
    if (11, 4) <= version < (11, 4, 1):
        return f'TensorRT {tensorrt} has DLA on Windows alone: take 11.4.1, with JetPack 7.2.2'
    if version >= (11, 4, 1) and release and release < (7, 2, 2):
        return f'TensorRT {tensorrt} has DLA from JetPack 7.2.2 on, found {jetpack}'
    if not version and (7, 2) <= release < (7, 2, 2):
        return f'JetPack {jetpack} comes with TensorRT 10.16 and without the DLA compiler'
    return ''
