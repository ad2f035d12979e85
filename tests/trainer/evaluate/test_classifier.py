"""The classifier reads a picture in the size in which the photos of its training were stored."""

import io
from pathlib import Path

import pytest
from finetune_trainer.dataset.preprocessing import Preprocessing
from finetune_trainer.evaluate.classifier import Classifier
from PIL import Image

from tests.trainer.support.datasets import draw


@pytest.mark.parametrize(
    ("network", "stored", "size"),
    [
        pytest.param(240, 320, 320, id="as the model says"),
        pytest.param(240, None, 274, id="a model that does not say it"),
        pytest.param(299, 256, 299, id="a model whose photos were enlarged in training"),
    ],
)
def test_a_picture_is_read_in_the_size_of_the_training(
    network: int, stored: int | None, size: int, tmp_path: Path
) -> None:
    draw(1, size=(600, 400)).save(tmp_path / "one.jpg")
    preprocessing = Preprocessing(
        input_size=network, mean=(0.0,) * 3, std=(1.0,) * 3, resize_short=stored
    )
    classifier = Classifier(("a", "b"), preprocessing, lambda pixels: pixels, threads=1)
    jpeg = classifier.read((tmp_path / "one.jpg", None)).jpeg
    assert min(Image.open(io.BytesIO(jpeg)).size) == size
    assert preprocessing.centre_of(jpeg).shape == (3, network, network)
