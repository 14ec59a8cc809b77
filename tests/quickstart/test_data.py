"""The quickstart's digits: real, balanced, split without overlap, the same for the same seed."""

import numpy as np
import pytest

from elsa_edge.quickstart.data import load_digits


@pytest.fixture(scope="module")
def digits():
    return load_digits(seed=3)


def test_the_test_part_has_a_hundred_of_each_digit(digits):
    assert np.bincount(digits.test_labels).tolist() == [100] * 10
    assert np.bincount(digits.train_labels).tolist() == [400] * 10


def test_images_are_real_digits_in_the_networks_form(digits):
    assert digits.train_images.shape == (4000, 1, 28, 28)
    assert digits.train_images.dtype == np.float32
    assert (digits.train_images.min(), digits.train_images.max()) == (0, 1)
    assert 0.1 < digits.train_images.mean() < 0.17  # MNIST's mean is 0.13


def test_no_image_is_in_both_parts(digits):
    train = {image.tobytes() for image in digits.train_images}

    assert not any(image.tobytes() in train for image in digits.test_images)


def test_the_seed_decides_the_split(digits):
    again, other = load_digits(seed=3), load_digits(seed=4)

    assert np.array_equal(again.test_images, digits.test_images)
    assert not np.array_equal(other.test_images, digits.test_images)
