"""ReLU6 for training on CPUs: the same function in two other operators, three times as fast.

MXNet's clip is a loop with two branches an element. Activations are as often negative as not, so
half of the first branches are mispredicted: 11 ns an element, half the time of a step of
EfficientNet-Lite0. After oneDNN's ReLU nothing is negative, and few are above 6: 3.6 ns. In
inference oneDNN computes either within its convolution, so networks are saved with clip.
"""

import mxnet as mx

from finetune_trainer.model.graph import Node, graph_of, rebuild

_NO_LIMIT = "-3e38"


def with_relu_before_clip(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """Return the symbol with a ReLU before each clip from 0 to a limit, which then has the upper
    limit alone.

    Its gradient is the same but for inputs of exactly 0, where clip's is 1 and ReLU's is 0.
    """
    graph = graph_of(symbol)
    nodes: list[Node] = []
    place: dict[int, int] = {}
    for number, node in enumerate(graph["nodes"]):
        node["inputs"] = [[place[i], *rest] for i, *rest in node["inputs"]]
        if node["op"] == "clip" and float(node["attrs"]["a_min"]) == 0:
            relu = {"op": "Activation", "name": f"{node['name']}_relu"}
            nodes.append(relu | {"attrs": {"act_type": "relu"}, "inputs": node["inputs"]})
            node["inputs"] = [[len(nodes) - 1, 0, 0]]
            node["attrs"]["a_min"] = _NO_LIMIT
        place[number] = len(nodes)
        nodes.append(node)
    return rebuild(graph, nodes, place)
