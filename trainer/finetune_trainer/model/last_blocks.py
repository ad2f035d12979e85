"""The last blocks of a network: what is worth training on activations that are computed once."""

import json
import math
from typing import Any

import mxnet as mx

from finetune_trainer.model.rewrites.graph import VARIABLE, rebuilt


def cut_below(symbol: mx.sym.Symbol, *, input_size: int) -> str | None:
    """Return the output that the last blocks start from, None if there is no such place.

    Everything flows through it; it is the first of the smallest outputs at the resolution of the
    last ones (7 x 7 of 224): the layers below look at edges and textures, which photos share.
    """
    internals = symbol.get_internals()
    _, shapes, _ = internals.infer_shape(data=(1, 3, input_size, input_size))
    shape_of = dict(zip(internals.list_outputs(), shapes, strict=True))
    narrow = [f"{name}_output" for name in _narrow(json.loads(symbol.tojson()))]
    images = [name for name in narrow if len(shape := shape_of.get(name, ())) == 4 and shape[2] > 1]
    if not images:
        return None
    last = shape_of[images[-1]][2:]
    of_last = [name for name in images if shape_of[name][2:] == last]
    return min(of_last, key=lambda name: math.prod(shape_of[name]))


def above(symbol: mx.sym.Symbol, output: str) -> mx.sym.Symbol:
    """Return the layers above an output, which becomes their variable `data`."""
    graph = json.loads(symbol.tojson())
    nodes = graph["nodes"]
    cut = next(node for node in nodes if f"{node['name']}_output" == output)
    cut.clear()
    cut.update(op=VARIABLE, name="data", inputs=[])
    kept = sorted(_reached(nodes, [head[0] for head in graph["heads"]]))
    place = {old: new for new, old in enumerate(kept)}
    for number in kept:
        nodes[number]["inputs"] = [[place[i], *rest] for i, *rest in nodes[number]["inputs"]]
    return rebuilt(graph, [nodes[number] for number in kept], place)


def _narrow(graph: dict[str, Any]) -> list[str]:
    """Return the layers that every way from the images to the loss passes, from below."""
    nodes, found, furthest = graph["nodes"], [], -1
    last_use = {i: number for number, node in enumerate(nodes) for i, *_ in node["inputs"]}
    from_images: set[int] = set()
    for number, node in enumerate(nodes):
        if node["name"] != "data" and not any(i in from_images for i, *_ in node["inputs"]):
            continue  # a parameter
        from_images.add(number)
        if furthest <= number and node["op"] != VARIABLE:
            found.append(node["name"])
        furthest = max(furthest, last_use.get(number, number))
    return found


def _reached(nodes: list[dict[str, Any]], heads: list[int]) -> set[int]:
    reached, waiting = set(), list(heads)
    while waiting:
        if (number := waiting.pop()) not in reached:
            reached.add(number)
            waiting += [i for i, *_ in nodes[number]["inputs"]]
    return reached
