"""The quickstart's training: it learns, repeatably, and leaves the images alone."""

import numpy as np
import pytest
import torch

from elsa_edge.levels import Ladder
from elsa_edge.quickstart.data import accuracy, load_digits
from elsa_edge.quickstart.levels import _level_epochs
from elsa_edge.quickstart.model import digits_net
from elsa_edge.quickstart.training import BATCH_SIZE, epoch_of_batches, pace, train


@pytest.fixture(scope="module")
def digits():
    return load_digits()


def test_an_epoch_shows_each_image_at_most_once_and_shifted_by_at_most_two_pixels(digits):
    images, labels = digits.train_images[:256], digits.train_labels[:256]
    before = images.copy()
    batches = list(epoch_of_batches(images, labels, np.random.default_rng(0)))
    inks = sorted(float(image.sum()) for batch, _ in batches for image in batch)

    assert len(batches) == 256 // BATCH_SIZE
    assert inks == pytest.approx(sorted(float(image.sum()) for image in images))
    assert np.array_equal(images, before)


def trained(digits, count, epochs, seed=0):
    torch.manual_seed(0)
    model, losses = digits_net(), []
    train(
        model,
        digits.train_images[:count],
        digits.train_labels[:count],
        epochs=epochs,
        seed=seed,
        on_epoch=lambda _, loss: losses.append(loss),
    )
    return model, losses


def test_three_short_epochs_learn_digits(digits):
    model, losses = trained(digits, 1280, 3)
    with torch.no_grad():
        logits = model(torch.from_numpy(digits.test_images)).numpy()

    assert accuracy(logits, digits.test_labels) > 0.6
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    assert not model.training


def test_the_seed_decides_what_is_learnt(digits):
    first, again, other = (trained(digits, 128, 1, seed)[0].head.weight for seed in (0, 0, 1))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_accuracy_counts_rows_whose_largest_entry_is_the_label():
    logits = np.array([[0, 2, 1], [3, 0, 0], [0, 0, 1]], np.float32)

    assert accuracy(logits, np.array([1, 0, 1])) == pytest.approx(2 / 3)


def test_trying_the_pace_leaves_the_network_and_the_threads_alone(digits):
    torch.manual_seed(0)
    model = digits_net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    threads = torch.get_num_threads()
    chosen, epoch_s = pace(model, digits.train_images[:128], digits.train_labels[:128])

    assert chosen in {1, threads}
    assert epoch_s > 0
    assert torch.get_num_threads() == threads
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_sparsest_level_learns_longest_and_every_level_learns():
    ladder = Ladder.from_sparsities([0.95, 0.9, 0.5, 0.0])

    assert _level_epochs(6, ladder) == [4, 2, 2, 1]
    assert _level_epochs(1, ladder) == [1, 1, 1, 1]
    assert _level_epochs(6, Ladder.from_sparsities([0.0])) == [4]
