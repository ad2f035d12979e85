"""PyTorch's speed of training and of feature extraction: the other half of `bench.train`.

`python train_reference.py training|features NAME BATCH STEPS THREADS` runs where PyTorch is,
without the project, and prints images per second, in channels_last, which is fastest on CPUs.
"""

import sys
import time

import torch
from parity_reference import build

WARM = 3
SIZE, CLASSES = 224, 10


def main(what: str, name: str, batch: int, steps: int, threads: int) -> None:
    """Print the speed of `what`: training or features."""
    torch.set_num_threads(threads)
    network = build(name)
    images = torch.randn(batch, 3, SIZE, SIZE).to(memory_format=torch.channels_last)
    labels = torch.arange(batch) % CLASSES
    head = "fc" if hasattr(network, "fc") else "_fc"
    width = getattr(network, head).in_features
    trains = what == "training"
    setattr(network, head, torch.nn.Linear(width, CLASSES) if trains else torch.nn.Identity())
    network.to(memory_format=torch.channels_last).train(trains)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    loss = torch.nn.CrossEntropyLoss()

    def step() -> None:
        if trains:
            optimizer.zero_grad()
            loss(network(images), labels).backward()
            optimizer.step()
        else:
            with torch.inference_mode():
                network(images)

    for _ in range(WARM):
        step()
    began = time.perf_counter()
    for _ in range(steps):
        step()
    print(batch * steps / (time.perf_counter() - began))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
