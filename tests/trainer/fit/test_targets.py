"""Rows of targets: smoothed, mixed, weighted; and the loss on them."""

from typing import Any

import mxnet as mx
import numpy as np
import pytest
from finetune_trainer.fit.targets import Targets, _outside_a_box, balanced, with_targets

LABELS = [0, 2, 1, 2]


def batch(labels: list[int] = LABELS, pad: int = 0) -> mx.io.DataBatch:
    data = mx.nd.arange(len(labels) * 5).reshape((len(labels), 5)) / 7
    return mx.io.DataBatch([data], [mx.nd.array(labels)], pad=pad)


def rows(targets: Targets, seed: int = 0) -> Any:
    return targets.of(batch(), seed=seed).label[0].asnumpy()


def test_without_settings_a_row_names_one_class() -> None:
    assert rows(Targets(3)).tolist() == np.eye(3)[LABELS].tolist()


def test_smoothing_spreads_a_share_over_all_classes() -> None:
    np.testing.assert_allclose(rows(Targets(4, smoothing=0.2))[0], [0.85, 0.05, 0.05, 0.05])


def test_balanced_weights_make_the_classes_count_alike() -> None:
    counts = np.array([10, 40, 50])
    weights = balanced(counts)
    np.testing.assert_allclose(weights * counts, [100 / 3] * 3, rtol=1e-6)
    np.testing.assert_allclose(rows(Targets(3, weights=weights)).sum(axis=1), weights[LABELS])


def test_mixup_mixes_images_and_targets_by_the_same_share() -> None:
    targets = Targets(3, mixup=0.4)
    plain, mixed = batch(), targets.of(batch(pad=1), seed=3)
    assert mixed.pad == 1
    images, labels = mixed.data[0].asnumpy(), mixed.label[0].asnumpy()
    # Image k has the values 5k/7 to (5k+4)/7: the mixture shows with which image it was mixed.
    for k, (image, row) in enumerate(zip(images, labels, strict=True)):
        found = [
            (share, other)
            for other in range(4)
            for share in np.linspace(0, 1, 10001)
            if abs(share * k + (1 - share) * other - image[0] * 7 / 5) < 1e-3
            and np.allclose(
                share * np.eye(3)[LABELS[k]] + (1 - share) * np.eye(3)[LABELS[other]],
                row,
                atol=1e-3,
            )
        ]
        assert found
    assert not np.allclose(images, plain.data[0].asnumpy())


def test_the_same_seed_mixes_in_the_same_way_and_another_does_not() -> None:
    targets = Targets(3, mixup=0.4)
    assert np.array_equal(rows(targets, seed=1), rows(targets, seed=1))
    assert not np.array_equal(rows(targets, seed=1), rows(targets, seed=2))


def pictures(count: int, *, size: tuple[int, int] = (8, 12)) -> mx.io.DataBatch:
    """Return pictures whose pixels all have the picture's number as value."""
    data = np.broadcast_to(np.arange(count)[:, None, None, None], (count, 3, *size))
    labels = mx.nd.array(np.arange(count))
    return mx.io.DataBatch([mx.nd.array(data)], [labels], pad=1)


def test_cutmix_puts_a_box_of_one_other_image_into_each_and_counts_its_area() -> None:
    plain, shares, partners = pictures(6), [], set()
    for seed in range(40):
        cut = Targets(6, cutmix=1.0).of(plain, seed=seed)
        assert cut.pad == 1
        images, rows = cut.data[0].asnumpy(), cut.label[0].asnumpy()
        for number, (image, row) in enumerate(zip(images, rows, strict=True)):
            expected = [(image == label).mean() for label in range(6)]
            np.testing.assert_allclose(row, expected, atol=1e-6)
            partners |= {(number, label) for label in np.flatnonzero(expected)}
            box = np.argwhere(image[0] != number)
            if len(box):
                height, width = np.ptp(box, axis=0) + 1
                assert len(box) == height * width
                assert (image == image[:1]).all()
        shares.append(rows.max(axis=1).min())
    assert len(partners) > 25
    assert min(shares) < 0.6 < 0.9 < max(shares)
    assert np.array_equal(plain.data[0].asnumpy(), pictures(6).data[0].asnumpy())


def test_cutmix_keeps_the_share_of_its_distribution_where_no_edge_is_in_the_way() -> None:
    size, random = (100, 100), np.random.default_rng(0)
    kept = [_outside_a_box(size, 0.99, random) for _ in range(200)]
    assert np.median([mask.mean() for mask in kept]) == pytest.approx(0.99)
    assert _outside_a_box(size, 1.0, random).all()


def test_with_mixup_and_cutmix_each_batch_is_one_of_the_two() -> None:
    targets, kinds = Targets(6, mixup=1.0, cutmix=1.0), []
    for seed in range(40):
        images = targets.of(pictures(6), seed=seed).data[0].asnumpy()
        kinds.append(np.array_equal(images, images.round()))
    assert 10 < sum(kinds) < 30


def gradients(symbol: Any, labels: Any) -> tuple[Any, dict[str, Any]]:
    data = batch().data[0]
    module = mx.mod.Module(symbol)
    module.bind([("data", data.shape)], [("softmax_label", labels.shape)])
    mx.random.seed(4)
    module.init_params(mx.init.Normal(0.3))
    module.forward_backward(mx.io.DataBatch([data], [labels]))
    grads = dict(zip(module._exec_group.param_names, module._exec_group.grad_arrays, strict=True))
    return module.get_outputs()[0].asnumpy(), {n: g[0].asnumpy() for n, g in grads.items()}


def classifier() -> Any:
    fc = mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=3, name="fc1")
    return mx.sym.SoftmaxOutput(fc, name="softmax")


def test_rows_of_one_class_train_as_softmax_output_does() -> None:
    expected = gradients(classifier(), mx.nd.array(LABELS))
    found = gradients(with_targets(classifier()), mx.nd.array(np.eye(3)[LABELS]))
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    for name, gradient in expected[1].items():
        np.testing.assert_allclose(found[1][name], gradient, rtol=1e-4, atol=1e-6)


def test_the_gradient_of_the_logits_is_the_weighted_softmax_without_the_target() -> None:
    targets = rows(Targets(3, smoothing=0.1, weights=np.array([0.5, 1, 2], np.float32)))
    probabilities, found = gradients(with_targets(classifier()), mx.nd.array(targets))
    expected = targets.sum(axis=1, keepdims=True) * probabilities - targets
    np.testing.assert_allclose(found["fc1_bias"], expected.sum(axis=0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adamw_decays_the_weight_and_not_its_averages(decay: float) -> None:
    import finetune_trainer.fit.optimizers  # noqa: F401

    optimizer = mx.optimizer.create("adamw", learning_rate=0.01, wd=decay)
    weight, grad = mx.nd.array([1.0, -2.0, 3.0]), mx.nd.array([0.5, 0.25, -1.0])
    state = optimizer.create_state(0, weight)
    expected = weight.asnumpy()
    mean = square = np.zeros(3)
    for step in range(1, 6):
        optimizer.update(0, weight, grad, state)
        mean = 0.9 * mean + 0.1 * grad.asnumpy()
        square = 0.999 * square + 0.001 * grad.asnumpy() ** 2
        rate = 0.01 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        expected = expected * (1 - 0.01 * decay) - rate * mean / (np.sqrt(square) + 1e-8)
        np.testing.assert_allclose(weight.asnumpy(), expected, rtol=1e-5)
