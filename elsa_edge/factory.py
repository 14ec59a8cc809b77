"""Load and call what a user names as `PKG.MODULE:FACTORY`, from sys.path or the current folder."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elsa_edge.errors import ElsaError, UsageError, closest

if TYPE_CHECKING:
    from torch import nn

__all__ = ["build_model", "call_factory", "load_factory"]


def _import(module_name: str, spec: str) -> Any:
    folder = str(Path.cwd())
    if folder not in sys.path and "" not in sys.path:
        sys.path.insert(0, folder)  # stays: a factory may import its neighbours when it is called
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise UsageError(
                f"The module of {spec!r} was not found: no {error.name!r} on sys.path or in {folder}",
                fix="Run the command in the folder that holds it, or install it",
            ) from error
        raise UsageError(
            f"Importing {module_name} failed: it needs {error.name!r}, which is not installed"
        ) from error
    except Exception as error:
        raise UsageError(f"Importing {module_name} failed ({type(error).__name__}: {error})") from error


def load_factory(spec: str) -> Callable[..., Any]:
    """Return the callable that `spec` names.

    Args:
        spec: `PKG.MODULE:FACTORY`, such as `examples.cnn:make_model`; FACTORY may have dots (`Class.method`).

    Raises:
        UsageError: When the text has another form, or the module or name cannot be found or imported.
    """
    module_name, _, attribute = spec.partition(":")
    parts = attribute.split(".")
    if not all(part.isidentifier() for part in [*module_name.split("."), *parts]):
        raise UsageError("A factory is named in another way", expected="PKG.MODULE:FACTORY", found=repr(spec))
    found: Any = _import(module_name, spec)
    for part in parts:
        if not hasattr(found, part):
            near = closest(part, [name for name in dir(found) if not name.startswith("_")])
            raise UsageError(
                f"{module_name} has nothing named {attribute!r}", fix=f"Nearest: {near!r}" if near else None
            )
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(
            f"{spec} cannot be called", expected="a function or class", found=type(found).__name__
        )
    return found  # type: ignore[no-any-return]  # a callable by the check above; getattr is untyped


def call_factory(spec: str) -> Any:
    """Load the factory that `spec` names and return what it makes when called without arguments.

    Raises:
        UsageError: When it cannot be loaded or needs arguments.
        ElsaError: When it raises.
    """
    factory = load_factory(spec)
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise UsageError(
            f"{spec} cannot be called without arguments ({error})",
            fix="Wrap it in a function that takes none",
        ) from error
    except ValueError:
        pass  # some C callables have no signature; calling tells
    try:
        return factory()
    except ElsaError:
        raise
    except Exception as error:
        raise ElsaError(f"{spec} failed ({type(error).__name__}: {error})") from error


def build_model(spec: str) -> nn.Module:
    """Make the network that a model factory describes.

    Raises:
        UsageError: When the factory cannot be loaded, or makes something that is not an `nn.Module`.
        ElsaError: When it raises.
    """
    from torch import nn

    model = call_factory(spec)
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"{spec} returned no network", expected="a torch.nn.Module", found=type(model).__name__
        )
    return model
