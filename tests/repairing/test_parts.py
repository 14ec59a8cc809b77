"""The parts of a repair: order of inputs, augmentation, distances, likeness, pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support import learned
from torch import nn

from elsa_edge.errors import InputError, UsageError
from elsa_edge.repairing.augment import Augmentation, augmentation_named, fitting_augmentation
from elsa_edge.repairing.checks import likeness
from elsa_edge.repairing.distance import Agreement, Distance
from elsa_edge.repairing.images import read_folder, scaled_like_training
from elsa_edge.repairing.samples import Samples, _stream
from elsa_edge.repairing.settings import RepairSettings
from elsa_edge.repairing.sources import source_of
from elsa_edge.repairing.teacher import Teacher
from elsa_edge.sparsify.likeness import Likeness
from elsa_edge.tensors import TensorSpec


@given(count=st.integers(1, 30), size=st.integers(1, 40), steps=st.integers(1, 6))
def test_batches_follow_each_other_through_whole_permutations(count, size, steps):
    """Batches of any size, put together, are permutations of all places; each batch can be made alone."""
    places = torch.cat([_stream(count, step * size, size, (7,)) for step in range(steps)])

    assert len(places) == steps * size
    for start in range(0, len(places) - count + 1, count):
        assert sorted(places[start : start + count].tolist()) == list(range(count))


def test_held_out_inputs_are_never_trained_on_and_filled_up_by_copies():
    """Of 40 inputs 8 are held out, a quarter at most; augmented copies make 256 of them; a seed decides which."""
    inputs = torch.arange(40.0).reshape(40, 1, 1, 1).expand(40, 1, 8, 8).contiguous()
    samples = Samples(
        source_of(nn.Identity(), inputs), held_out=0.1, augmentation=Augmentation(crop=True), seed=3
    )
    kept = torch.cat([images for (images,), _ in samples.held_out(16)])
    trained = torch.cat([samples.training(0, step, 16)[0][0] for step in range(20)])

    assert len(kept) >= 256
    assert len(kept[:, 0, 0, 0].unique()) == 8
    assert not set(kept.unique().tolist()) & set(trained.unique().tolist())


class _Films:
    """Frames `(n, 1)` that know their film."""

    def __init__(self, origins: np.ndarray) -> None:
        self.origins = origins

    def __len__(self) -> int:
        return 60

    def take(self, places):
        """Return the numbers of the frames."""
        return (places.float()[:, None],), {}


@pytest.mark.parametrize(
    ("films", "held_out", "expected"), [(5, 0.1, 1), (12, 0.1, 3), (12, 0.5, 6), (60, 0.1, 8)]
)
def test_inputs_of_one_origin_are_held_out_together(films, held_out, expected):
    """No film is on both sides; of few films more than the asked share is held out, so that a look says something."""
    origins = np.arange(60) % films
    samples = Samples(_Films(origins), held_out=held_out, augmentation=Augmentation(), seed=1)
    held, trained = (
        set(origins[places].tolist()) for places in (samples.held_out_places, samples.train_places)
    )
    assert len(held) == expected
    assert held | trained == set(range(films))
    assert not held & trained


@pytest.mark.parametrize("seed", range(6))
def test_a_large_origin_is_never_what_is_held_out(seed):
    """Of 40, 8, 6 and 6 inputs the three small origins can be."""
    samples = Samples(
        _Films(np.repeat([0, 1, 2, 3], [40, 8, 6, 6])), held_out=0.1, augmentation=Augmentation(), seed=seed
    )
    assert 6 <= len(samples.held_out_places) <= 8
    assert set(range(40)) <= set(samples.train_places.tolist())


def test_a_dataset_of_torch_can_name_origins():
    """As any source can."""

    class Frames(torch.utils.data.Dataset):
        origins = np.arange(60) % 5

        def __len__(self) -> int:
            return 60

        def __getitem__(self, place: int) -> torch.Tensor:
            return torch.full((2,), float(place))

    samples = Samples(source_of(nn.Identity(), Frames()), held_out=0.1, augmentation=Augmentation(), seed=0)
    assert len(samples.held_out_places) == 12


def test_origins_that_do_not_fit_are_refused():
    """One number an input, and something to hold out."""
    uneven = np.arange(60) > 0
    for origins, text in (
        (np.zeros(3, int), "60 integers"),
        (np.zeros(60, int), "one origin"),
        (uneven, "Too much comes from one origin"),
    ):
        with pytest.raises(InputError, match=text):
            Samples(_Films(origins), held_out=0.1, augmentation=Augmentation(), seed=0)


def test_grey_pictures_of_16_bits_are_scaled_and_not_clipped(tmp_path):
    """They look like the same picture in 8 bits."""
    grey = np.add.outer(np.arange(16), np.arange(16)).astype(np.uint16) * 8
    Image.fromarray(grey.astype(np.uint8)).save(tmp_path / "8.png")
    Image.fromarray(grey * np.uint16(257)).save(tmp_path / "16.png")
    found = read_folder(tmp_path, TensorSpec("x", (1, 3, 16, 16)))
    assert np.array_equal(found[0], found[1])
    assert found.max() == 240


@pytest.mark.parametrize("side", [12, 64])
def test_an_augmentation_keeps_shape_and_range_and_varies_each_image(side):
    """Images stay images of the same size within the same bounds; other arguments are not touched."""
    images = torch.rand(8, 3, side, side, generator=torch.Generator().manual_seed(0))
    tokens = torch.arange(8)
    augmentation = augmentation_named("crop-flip")
    (varied, same), _ = augmentation.apply(((images, tokens), {}), torch.Generator().manual_seed(1))

    assert augmentation == Augmentation(crop=True, flip=True)
    assert same is tokens
    assert varied.shape == images.shape
    assert float(varied.min()) >= 0.0
    assert float(varied.max()) <= 1.0
    assert all(not torch.equal(a, b) for a, b in zip(varied, images, strict=True))


def test_images_are_varied_as_far_as_the_network_stays_sure():
    """A network that looks at the mean does not mind a mirror; one that compares halves does; many need nothing."""
    images = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    images[..., :4] += 3.0  # bright on the left

    def halves(arguments):
        pixels = arguments[0][0]
        left = pixels[..., :4].mean((1, 2, 3)) - pixels[..., 4:].mean((1, 2, 3))
        return float(left.clamp(min=0.01).mean())

    for sureness, count, expected in (
        (lambda arguments: float(arguments[0][0].mean()), 64, Augmentation(crop=True, flip=True)),
        (halves, 64, Augmentation()),
        (halves, 5000, Augmentation()),
    ):
        assert fitting_augmentation(((images,), {}), count, sureness, 0) == expected
    assert fitting_augmentation(((torch.randn(64, 5),), {}), 64, halves, 0) == Augmentation()


def test_the_examples_crops_are_scaled_as_the_network_was_trained():
    """Of each photograph as many as asked for, different ones, of pixels -1 to 1."""
    from examples.efficientnet_lite0 import SCENES, crops

    made = crops(each=2)
    assert made.shape == (2 * len(SCENES), 3, 224, 224)
    assert made.dtype == np.float32
    assert -1.0 <= made.min() < 0.0 < made.max() <= 1.0
    assert not np.array_equal(made[0], made[1])


def test_a_shift_by_nothing_is_possible_and_exact():
    """Shifted pixels are pixels of the image: none is interpolated."""
    images = torch.arange(144.0).reshape(1, 1, 12, 12)
    (varied,), _ = Augmentation(crop=True).apply(((images,), {}), torch.Generator().manual_seed(2))
    assert set(varied.flatten().tolist()) <= set(images.flatten().tolist())


def test_kl_of_probabilities_and_of_their_logits_is_the_same():
    """A network that ends in softmax is taught like one that does not."""
    generator = torch.Generator().manual_seed(0)
    teacher, student = (torch.randn(32, 5, generator=generator) for _ in range(2))
    of_logits = Distance("auto", 2.0, [teacher])(student, teacher)
    of_shares = Distance("auto", 2.0, [teacher.softmax(1)])(student.softmax(1), teacher.softmax(1))
    p, q = (teacher / 2).softmax(1), (student / 2).softmax(1)

    assert float(of_logits) == pytest.approx(float(4 * (p * (p / q).log()).sum(1).mean()), rel=1e-5)
    assert float(of_shares) == pytest.approx(float(of_logits), rel=1e-4)


def test_agreement_adds_up_over_batches_of_any_size():
    """Top-1 and reproduced variance are those of all samples together."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(50, 4, generator=generator)
    found = target + 0.5 * torch.randn(50, 4, generator=generator)
    for kind, expected in (
        ("kl", float((found.argmax(1) == target.argmax(1)).float().mean())),
        ("mse", 1 - float((found - target).square().sum() / (target - target.mean(0)).square().sum())),
    ):
        counted = Agreement([kind])
        for part in (slice(0, 7), slice(7, 50)):
            counted.add([found[part]], [target[part]])
        assert counted.value == pytest.approx(expected, rel=1e-5)


def test_a_loss_that_does_not_fit_the_outputs_is_refused():
    """`kl` needs classes; outputs that are NaN teach nothing."""
    with pytest.raises(UsageError, match="Use mse"):
        Distance("kl", 2.0, [torch.randn(4, 3, 8, 8)])
    with pytest.raises(InputError, match="NaN or infinite"):
        Distance("auto", 2.0, [torch.full((4, 3), float("nan"))])


def test_inputs_of_the_training_are_alike_and_others_are_not():
    """BatchNorm's stored statistics tell inputs of the training's scale from others; without BatchNorm nobody can."""
    model = learned.learned()
    images = learned.images(200, 5)[0]
    alike = likeness(model, [((images,), {})])
    far = likeness(model, [((images * 100,), {})])

    assert alike.alike
    assert alike.distance < 0.3
    assert not far.alike
    assert likeness(nn.Linear(2, 2), [((torch.randn(4, 2),), {})]) is None


@pytest.fixture
def pictures(tmp_path):
    """Twenty pictures in two folders, and one file that is none."""
    generator = np.random.default_rng(0)
    for number in range(20):
        folder = tmp_path / f"class{number % 2}"
        folder.mkdir(exist_ok=True)
        pixels = generator.integers(0, 256, (9 + number, 12, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_a_folder_of_pictures_becomes_inputs_at_the_scale_that_batchnorm_remembers(pictures):
    """`auto` finds the scaling of the training among the known ones; pixels are what Pillow reads."""
    pixels = read_folder(pictures, TensorSpec("", (1, 3, 8, 8)))
    model = nn.Sequential(nn.BatchNorm2d(3))
    mean, std = pixels.mean() / 255.0, pixels.std() / 255.0
    for scaling, shift, scale in (("unit", 0.0, 1.0), ("signed", 0.5, 2.0), ("bytes", 0.0, 255.0)):
        model[0].running_mean.fill_((mean - shift) * scale)
        model[0].running_var.fill_((std * scale) ** 2)
        folder, note = scaled_like_training(model, pixels, "", "auto")
        assert folder.scaling == scaling
        assert scaling in note
    (images,), _ = folder.take(torch.tensor([1, 0]))
    assert pixels.shape == (20, 8, 8, 3)
    np.testing.assert_allclose(images.numpy(), pixels[[1, 0]].transpose(0, 3, 1, 2), atol=1e-4)


def test_pictures_that_cannot_serve_are_refused(pictures, tmp_path):
    """No picture, a broken one, an input that takes none, and a scale that nobody can know."""
    spec = TensorSpec("", (1, 3, 8, 8))
    with pytest.raises(UsageError, match="Give --scale"):
        scaled_like_training(nn.Linear(2, 2), np.zeros((20, 8, 8, 3), np.uint8), "", "auto")
    with pytest.raises(UsageError, match="input of pictures"):
        read_folder(pictures, TensorSpec("", (1, 128)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no picture"):
        read_folder(tmp_path / "empty", spec)
    (pictures / "class0" / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"broken\.png cannot be read"):
        read_folder(pictures, spec)


def test_a_look_does_not_depend_on_the_batch_that_is_trained_on():
    """Varied copies of the held-out inputs are the same ones whatever `batch_size` is."""
    inputs = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    samples = Samples(source_of(model, inputs), held_out=0.2, augmentation=Augmentation(crop=True), seed=0)
    looks = []
    for size in (4, 32):
        teacher = Teacher(model, samples, RepairSettings(batch_size=size), "cpu")
        looks.append(torch.cat([images for ((images,), _), _ in teacher.held_out]))
        assert teacher.looked_at == len(looks[-1]) >= 256
    assert torch.equal(*looks)


def test_pictures_are_files_and_a_broken_one_says_what_to_do(tmp_path):
    """A folder may be named as a picture is."""
    (tmp_path / "folder.png").mkdir()
    Image.new("L", (8, 8), 9).save(tmp_path / "folder.png" / "one.png")
    spec = TensorSpec("x", (1, 1, 8, 8))
    assert len(read_folder(tmp_path, spec)) == 1
    (tmp_path / "two.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"two\.png.*Repair or remove that file"):
        read_folder(tmp_path, spec)


def test_likeness_is_not_rounded_to_the_limit_that_it_misses():
    """A tenth of the variance is allowed, a little less is refused: the text tells them apart."""
    assert not Likeness(0.0, 0.0994).alike
    assert "0.0994 times" in Likeness(0.0, 0.0994).sentence


def _refused_inputs():
    def item(place: int) -> torch.Tensor:
        return torch.zeros(place + 1)

    class Ragged(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 60

        def __getitem__(self, place: int) -> torch.Tensor:
            return item(place)

    return {
        "strings": ({"x": np.array(["a", "b"])}, "no array of numbers"),
        "objects": ({"x": np.array([None, 1], object)}, "no array of numbers"),
        "ragged lists": ({"x": [[1.0], [1.0, 2.0]]}, "no array of numbers"),
        "a number": (7, "These are no inputs"),
        "a text": ("inputs.npz", "These are no inputs"),
        "batches of two widths": ([torch.zeros(4, 2), torch.zeros(4, 3)], "do not go together"),
        "ragged items": (Ragged(), "cannot be put together"),
        "NaN in a batch": ([torch.full((4, 2), float("nan"))], "NaN or infinity"),
    }


@pytest.mark.parametrize("name", _refused_inputs())
def test_what_is_no_input_is_said_in_a_sentence(name):
    """Whatever somebody brings, the answer names what is wrong with it."""
    data, message = _refused_inputs()[name]
    with pytest.raises(InputError, match=message):
        source_of(nn.Identity(), data).take(torch.arange(2))


@pytest.mark.parametrize(
    "origins",
    [[None] * 60, [[1], [1, 2], *[[3]] * 58], np.full(60, np.nan), np.arange(60) / 8],
    ids=["None", "ragged", "NaN", "fractions"],
)
def test_origins_are_integers(origins):
    """Anything else is refused, not rounded."""
    with pytest.raises(InputError, match="60 integers"):
        Samples(_Films(origins), held_out=0.1, augmentation=Augmentation(), seed=0)
