"""Exporter `tflite-int8`: static int8 with ranges of its own at every level, from real inputs.

Weights are symmetric, so a zero stays exactly zero; inputs and outputs stay float. Which operators become int8 is
decided by measuring: the first recipe below whose answers agree with the float network's is taken.

    everything      all operators that the quantiser knows; for convolutional networks and MLPs
    matrices        FULLY_CONNECTED and BATCH_MATMUL with one scale per tensor; for transformers, which the first breaks
    fully-connected only FULLY_CONNECTED; the last resort, and for recurrent networks
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from elsa_edge.bundle.golden import Golden, largest_difference
from elsa_edge.bundle.manifest import Variant
from elsa_edge.calibration import calibration_samples
from elsa_edge.errors import ContractError, ExportError, RuntimeUnavailableError, first_line
from elsa_edge.exporters.tflite.calibration import LIKE_INFINITY, batches, outputs, ranges
from elsa_edge.exporters.tflite.convert import Converted, missing_converter, quiet
from elsa_edge.exporters.tflite.eight_bit import EightBit, eight_bit
from elsa_edge.exporters.tflite.level_models import RUNTIME, convert_levels, write_variant
from elsa_edge.exporters.tflite.model import TfliteModel
from elsa_edge.graph.canonical import CanonicalGraph
from elsa_edge.graph.class_axis import class_axes
from elsa_edge.plugins import Preflight
from elsa_edge.profiles.schema import DeviceProfile
from elsa_edge.proof.comparing import agreement

__all__ = ["RECIPES", "TfliteInt8Exporter"]

_LARGEST_TOLERANCE: Final = 0.25  # relative to the largest output; beyond this it is not the same network
_LEAST_TOLERANCE: Final = 1e-3
_SMALL_ERROR: Final = 0.03  # 30 dB of signal over what int8 adds
_MARGIN: Final = 1.5  # other processors round other sums

Array = npt.NDArray[Any]

# Recipe name -> operators and weight granularity; None stands for all operators.
RECIPES: Final[Mapping[str, tuple[tuple[str, ...] | None, str]]] = {
    "everything": (None, "CHANNELWISE"),
    "matrices": (("FULLY_CONNECTED", "BATCH_MATMUL"), "TENSORWISE"),
    "fully-connected": (("FULLY_CONNECTED",), "CHANNELWISE"),
}
_BREAKS_EVERYTHING: Final = frozenset({"BATCH_MATMUL", "SOFTMAX"})
_RECURRENT: Final = frozenset({"UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM", "WHILE"})


@dataclass(frozen=True)
class _Quantised:
    """One level's int8 model and how it compares with the float one on the calibration data.

    Attributes:
        model: The model.
        recipe: How it was made.
        agreement: Share of answers that stay the same; None where no output has classes.
        difference: Largest difference relative to the output's largest value.
        error: Root mean square of the differences relative to how much the output varies, the worst output's.
        share: How much of it is in 8 bits.
    """

    model: TfliteModel
    recipe: str
    agreement: float | None
    difference: float
    error: float
    share: EightBit


def _candidates(model: TfliteModel) -> tuple[str, ...]:
    operators = {model.operator_name(operator) for operator in model.graph.operators}
    if operators & _RECURRENT:
        return ("fully-connected",)
    return ("matrices", "fully-connected") if operators & _BREAKS_EVERYTHING else tuple(RECIPES)


def _quantiser() -> Any:
    try:
        import litert_quantizer
        from litert_quantizer import quantizer, recipe_manager  # noqa: F401 - both are used through the package
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"tflite-int8 needs the quantiser litert-quantizer ({error})",
            fix="pip install litert-quantizer==0.11.0",
        ) from error
    return litert_quantizer


def _finite_padding(model: TfliteModel, values: Mapping[str, Mapping[str, Array]]) -> TfliteModel:
    """Return a copy that pads maxima with the smallest value of their input; int8 has nothing like minus infinity."""
    copy = TfliteModel.from_bytes(model.to_bytes())
    tensors = copy.graph.tensors
    for operator in copy.graph.operators:
        if copy.operator_name(operator) != "PADV2":
            continue
        source, _, filler = (tensors[int(index)] for index in operator.inputs)
        number = copy.constant(filler)
        seen = values.get(source.name.decode())
        if number is not None and seen is not None and np.all(number <= -LIKE_INFINITY):
            filler.buffer = copy.add_buffer(np.full(number.shape, seen["min"].reshape(-1)[0], np.float32))
    return copy


def quantise(model: TfliteModel, name: str, values: Mapping[str, Mapping[str, Array]]) -> TfliteModel:
    """Return the int8 form of a float model by one of `RECIPES`, with the given ranges."""
    package = _quantiser()
    types = package.qtyping
    operators, granularity = RECIPES[name]
    manager = package.recipe_manager.RecipeManager()
    wanted = (
        [types.TFLOperationName(op) for op in operators]
        if operators
        else [types.TFLOperationName.ALL_SUPPORTED]
    )
    for operator in wanted:
        manager.add_static_config(
            regex=".*",
            operation_name=operator,
            activation_num_bits=8,
            weight_num_bits=8,
            weight_granularity=types.QuantGranularity(granularity),
        )
    # Inputs and outputs stay float for the caller; the quantiser stumbles over PADV2 (a padded maximum).
    for left_out in (
        types.TFLOperationName.INPUT,
        types.TFLOperationName.OUTPUT,
        types.TFLOperationName.PADV2,
    ):
        manager.add_quantization_config(
            ".*", left_out, algorithm_key=package.algorithm_manager.AlgorithmName.NO_QUANTIZE
        )
    with quiet():
        try:
            worker = package.quantizer.Quantizer(
                bytearray(model.to_bytes()), manager.get_quantization_recipe()
            )
            result = worker.quantize(dict(values), enable_progress_bar=False, enable_progress_report=False)
        except (ValueError, KeyError, RuntimeError, IndexError, TypeError) as error:
            raise ExportError(
                f"The quantiser cannot do this network by the recipe {name!r}", found=first_line(error)
            ) from error
    return TfliteModel.from_bytes(bytes(result.quantized_model))


def _largest_relative(found: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
    worst = 0.0
    for name, value in expected.items():
        difference, scale = largest_difference(found[name], value)
        worst = max(worst, difference / scale if scale > 0.0 else difference)
    return worst


class TfliteInt8Exporter:
    """(canonical graph, device profile, real inputs) -> int8 TFLite files; see `elsa_edge.plugins.Exporter`."""

    name = "tflite-int8"
    runtime = RUNTIME

    def preflight(self, graph: CanonicalGraph, profile: DeviceProfile) -> Preflight:
        """Say where the ranges will come from."""
        del graph
        missing = missing_converter()
        if missing is not None:
            return Preflight(False, (missing,))
        origin = profile.tflite.calibration or "the golden inputs, which must be real ones"
        return Preflight(True, (f"ranges come from {origin}",))

    def export(self, graph: CanonicalGraph, profile: DeviceProfile, golden: Golden, folder: Path) -> Variant:
        """Write the variant; see `elsa_edge.plugins.Exporter`."""
        inputs, origin = calibration_samples(graph.inputs, profile, golden)
        _quantiser()
        levels = convert_levels(graph, profile, golden)
        axes = class_axes(graph.model)
        samples = batches(graph.inputs, inputs, levels.batch)
        golden_samples = batches(graph.inputs, golden.inputs, levels.batch)
        chosen: list[_Quantised] = []
        differences: list[float] = []
        agreements: list[float] = []
        for level, converted in zip(graph.ladder, levels.converted, strict=True):
            best = _quantise_level(converted, samples, profile, level.name, axes)
            reference = outputs(converted.model, converted.prepared, golden_samples)
            answer = outputs(best.model, converted.prepared, golden_samples)
            chosen.append(best)
            differences.append(_largest_relative(answer, reference))
            same = agreement(answer, reference, axes)
            agreements.append(1.0 if same is None else same)
        notes = {
            "calibration": origin,
            "recipes": [quantised.recipe for quantised in chosen],
            "calibration_agreement": [
                None if quantised.agreement is None else round(quantised.agreement, 6) for quantised in chosen
            ],
            "calibration_difference": [round(quantised.difference, 6) for quantised in chosen],
            "calibration_error": [round(quantised.error, 6) for quantised in chosen],
            "int8_weights": [round(quantised.share.weights, 4) for quantised in chosen],
            "int8_multiply_adds": [round(quantised.share.multiply_adds, 4) for quantised in chosen],
        }
        models = [quantised.model for quantised in chosen]
        tolerance = max(_MARGIN * max(differences), _LEAST_TOLERANCE)
        variant = write_variant(
            self.name, models, levels, profile, folder, relative_tolerance=tolerance, notes=notes
        )
        promised = max(0.0, min(agreements) - profile.tflite.int8_changed_answers) if axes else None
        return variant.model_copy(update={"minimum_agreement": promised})


def _quantise_level(
    converted: Converted,
    samples: list[dict[str, Array]],
    profile: DeviceProfile,
    level: str,
    axes: Mapping[str, int],
) -> _Quantised:
    """Try the recipes in order and return the first whose answers agree with the float model's."""
    model, prepared = converted.model, converted.prepared
    expected = outputs(model, prepared, samples)
    values = ranges(model, prepared, samples)
    tried: list[str] = []
    for recipe in _candidates(model):
        try:
            small = quantise(model, recipe, values)
            found = outputs(small, prepared, samples)
        except (ExportError, ContractError) as error:
            tried.append(f"{recipe}: {error.found or error.problem}")
            continue
        share = eight_bit(small)
        if share.weights == 0.0:
            tried.append(f"{recipe}: it quantises nothing in this network")
            continue
        same, difference = agreement(found, expected, axes), _largest_relative(found, expected)
        best = _Quantised(small, recipe, same, difference, _error(found, expected), share)
        if _good_enough(best, expected, axes, profile):
            return best
        answers = "" if same is None else f"{same:.1%} of the answers stay, "
        tried.append(f"{recipe}: {answers}error {best.error:.2g}, largest difference {difference:.2g}")
    raise ExportError(
        f"int8 changes too much of level {level}",
        expected=f"at least {1 - profile.tflite.int8_changed_answers:.1%} of the answers unchanged, "
        f"or maps within {_SMALL_ERROR:.0%}",
        found="; ".join(tried),
        fix="Calibrate with more and more typical inputs, or allow more with tflite.int8_changed_answers",
    )


def _good_enough(
    quantised: _Quantised, expected: Mapping[str, Array], axes: Mapping[str, int], profile: DeviceProfile
) -> bool:
    """Judge by the answers where there are classes; maps (images, signals) also by their error.

    The channels of a denoised image are no classes, and which of them is largest means nothing.
    """
    if quantised.difference > _LARGEST_TOLERANCE:
        return False
    if quantised.agreement is None or quantised.agreement >= 1 - profile.tflite.int8_changed_answers:
        return True
    maps = all(expected[name].ndim >= 3 for name in axes)
    return maps and quantised.error <= _SMALL_ERROR


def _error(found: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
    """Return the worst output's root mean square error, relative to its standard deviation."""
    worst = 0.0
    for name, array in expected.items():
        wanted = array.astype(np.float64)
        spread, error = float(np.std(wanted)), float(np.sqrt(np.mean((found[name] - wanted) ** 2)))
        worst = max(worst, error / spread if spread > 0.0 else error)
    return worst
