"""The last blocks of a network, trained alone on activations that are computed once.

The cut is the output below them: all that the last blocks see of an image.
"""

import math

import mxnet as mx

from finetune_trainer.model.graph import VARIABLE, Node, graph_of, nodes_of, rebuild


def find_cut(symbol: mx.sym.Symbol, *, input_size: int) -> str | None:
    """Return the name of the output below the last blocks, None if there is no such place.

    No path from the images to the loss goes around it. It is the first of the smallest outputs at
    the resolution of the last ones (7 x 7 of 224): the layers below it detect edges and textures,
    which all photos have.
    """
    internals = symbol.get_internals()
    _, shapes, _ = internals.infer_shape(data=(1, 3, input_size, input_size))
    shape_of = dict(zip(internals.list_outputs(), shapes, strict=True))
    narrow = [f"{name}_output" for name in _on_every_path(nodes_of(symbol))]
    images = [name for name in narrow if len(shape := shape_of.get(name, ())) == 4 and shape[2] > 1]
    if not images:
        return None
    last = shape_of[images[-1]][2:]
    of_last = [name for name in images if shape_of[name][2:] == last]
    return min(of_last, key=lambda name: math.prod(shape_of[name]))


def layers_after(symbol: mx.sym.Symbol, cut: str) -> mx.sym.Symbol:
    """Return the layers after the cut, which becomes their variable `data`."""
    graph = graph_of(symbol)
    nodes: list[Node] = graph["nodes"]
    start = next(node for node in nodes if f"{node['name']}_output" == cut)
    start.clear()
    start.update(op=VARIABLE, name="data", inputs=[])
    kept = sorted(_reached(nodes, [node for node, *_ in graph["heads"]]))
    place = {old: new for new, old in enumerate(kept)}
    for number in kept:
        nodes[number]["inputs"] = [[place[i], *rest] for i, *rest in nodes[number]["inputs"]]
    return rebuild(graph, [nodes[number] for number in kept], place)


def _on_every_path(nodes: list[Node]) -> list[str]:
    """Return the layers on every path from the images to the loss, the lowest first."""
    names, furthest = [], -1
    last_use = {i: number for number, node in enumerate(nodes) for i, *_ in node["inputs"]}
    from_images: set[int] = set()
    for number, node in enumerate(nodes):
        if node["name"] != "data" and not any(i in from_images for i, *_ in node["inputs"]):
            continue  # a parameter
        from_images.add(number)
        if furthest <= number and node["op"] != VARIABLE:
            names.append(node["name"])
        furthest = max(furthest, last_use.get(number, number))
    return names


def _reached(nodes: list[Node], outputs: list[int]) -> set[int]:
    """Return the numbers of the nodes that these outputs are computed from."""
    reached, waiting = set(), list(outputs)
    while waiting:
        if (number := waiting.pop()) not in reached:
            reached.add(number)
            waiting += [i for i, *_ in nodes[number]["inputs"]]
    return reached
