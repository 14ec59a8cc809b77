"""What the verbs share: `--json`, `--device`, tables and progress on stderr, one JSON object on stdout."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import click

from elsa_edge.errors import UsageError
from elsa_edge.files.claims import Kind, claim
from elsa_edge.levels import Level

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "SECONDS",
    "cache_option",
    "device_option",
    "emit",
    "json_option",
    "new_file",
    "print_table",
    "refuse_existing",
    "say",
    "show",
    "stderr_console",
    "wants_json",
]

_PIPE_COLUMNS: Final = 200


class _Finite(click.FloatRange):
    """A range in which there is neither infinity nor what is no number."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number, or refuse it in words."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


SECONDS: Final = _Finite(min=0)

_F = TypeVar("_F", bound=Callable[..., Any])


def _remember_json(context: click.Context, _: click.Parameter, value: bool) -> bool:
    """Let the one place that words errors know that they are wanted as JSON, too."""
    context.find_root().meta[WANTS_JSON] = value
    return value


WANTS_JSON: Final = "elsa_edge.json"
json_option: Final = click.option(
    "--json",
    "as_json",
    is_flag=True,
    is_eager=True,
    callback=_remember_json,
    help="Print one JSON object on stdout, and nothing else; an error is one, too.",
)

device_option: Final = click.option(
    "--device",
    required=True,
    metavar="NAME_OR_YAML",
    help="A device profile: a name that `elsa-edge devices list` shows, or a YAML file.",
)


def _default_cache() -> Path | None:
    from elsa_edge.loading import default_cache

    return default_cache()


cache_option: Final = click.option(
    "--cache",
    type=click.Path(path_type=Path),
    default=_default_cache,
    show_default="$ELSA_EDGE_CACHE or ~/.cache/elsa-edge",
    help="Folder for files that the runtime derives on this machine.",
)


def new_file(
    flag: str = "-o",
    name: str = "--output",
    *,
    help: str,  # noqa: A002 - click's word
    kinds: Sequence[Kind] = (),
) -> Callable[[_F], _F]:
    """Return the options for the path that a verb writes, which is looked at before the verb begins.

    Refused without `--force`: a path that the verb also reads, and an existing file that is not of `kinds`. A place
    that cannot be written to is an error at once, not after the work.
    """

    def decorate(function: _F) -> _F:
        @functools.wraps(function)
        def checked(*args: Any, destination: Path, force: bool, **options: Any) -> Any:
            read = [value for value in options.values() if isinstance(value, Path)]
            claim(destination, kinds=kinds, inputs=read, force=force)
            return function(*args, destination=destination, **options)

        path = click.Path(path_type=Path)
        forced = click.option("--force", is_flag=True, help="Overwrite an input, or a file of another kind.")
        option = click.option(flag, name, "destination", required=True, type=path, help=help)
        return option(forced(cast("_F", checked)))

    return decorate


def stderr_console() -> Console:
    """Return a rich console on stderr, plain where stderr is not a terminal."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False)


def say(message: str) -> None:
    """Print a line for the person who watches, on stderr."""
    click.echo(message, err=True)


def show(message: str) -> None:
    """Print a line of the result: on stdout, so that it can be piped; on stderr where `--json` has stdout."""
    click.echo(_printable(message), err=wants_json())


def wants_json() -> bool:
    """Tell whether `--json` was given: stdout then has one JSON object, and progress is silent."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.find_root().meta.get(WANTS_JSON))


def emit(result: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the result as one JSON object on stdout when asked for; a number not finite becomes null."""
    if as_json:
        click.echo(json.dumps(_plain(result), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    if isinstance(value, float):
        return value if value - value == 0.0 else None  # inf - inf and nan - nan are nan
    if hasattr(value, "item"):  # a numpy scalar
        return _plain(value.item())
    return str(value)


def refuse_existing(path: Path) -> None:
    """Refuse to write where something is already, in a verb whose extra file no `--force` replaces.

    Raises:
        UsageError: Saying what to do.
    """
    if path.exists():
        raise UsageError(f"{path} exists already", fix="Choose another name, or remove it first")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table of the result, where `show` prints; None shows as a dash, floats with four significant digits."""
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    from rich.console import Console

    console = Console(stderr=wants_json(), highlight=False, markup=False)
    if not console.is_terminal:
        # A file or a pipe has no edge at which names must be broken.
        console = Console(stderr=wants_json(), highlight=False, markup=False, width=_PIPE_COLUMNS)
    console.print(table)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return _printable(str(value))


def _printable(text: str) -> str:
    """Return text without what a terminal takes for a command: names come from others' files."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)


def level_rows(ladder: Iterable[Level], keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return the levels as JSON values: their number, then these of their attributes."""
    return [
        {"level": number, **{key: getattr(level, key) for key in keys}} for number, level in enumerate(ladder)
    ]
