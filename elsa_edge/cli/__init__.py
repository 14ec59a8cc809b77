"""The command `elsa-edge`: one module per verb, loaded only when the verb is used."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import traceback
from typing import Any, Final

import click

from elsa_edge import __version__
from elsa_edge.cli._interrupted import CODE, sentence
from elsa_edge.errors import ElsaError, UnknownNameError
from elsa_edge.extras import how_to_install

__all__ = ["VERBS", "cli", "main"]

# In the order in which a person meets them. The help line stands here so that `--help` imports no verb.
VERBS: Final = {
    "quickstart": "Train, sparsify, export, build and run a small network: the whole path in one command.",
    "sparsify": "Put nested sparsity levels into a trained checkpoint.",
    "repair": "Make the sparse levels of a trained checkpoint accurate, on inputs without labels.",
    "nest": "Make a ladder of checkpoints that are nested already.",
    "train": "Train nested levels as a YAML file describes.",
    "export": "Write a nested checkpoint as a canonical ONNX graph.",
    "evaluate": "Measure how accurate each level is, on labelled data.",
    "preflight": "Say which variants make sense on a device, before anything is trained or built.",
    "build": "Turn a canonical graph into a bundle for a device.",
    "verify": "Check a bundle: hashes, and numbers at every level.",
    "profile": "Measure latency and memory of every level on this machine.",
    "run": "Run a bundle under the controller.",
    "simulate": "Replay a trace through the controller.",
    "benchmark": "Compare engines on this board, and write one file to contribute.",
    "device": "Add, check and remove devices, by ssh or adb.",
    "deploy": "Put a bundle into service on devices: verified there, switched at once, rolled back by itself.",
    "inspect": "Say what is inside a checkpoint, a canonical graph or a bundle.",
    "report": "Say what to ship on a device and why: one page with every figure.",
    "devices": "List, show, create and check device profiles.",
    "doctor": "Look for what may go wrong on this machine.",
}


class _Failure(click.ClickException):
    """Our error in click's clothes: its sentences on stderr, exit code 1."""


class _Misuse(_Failure):
    """The same for a command that was written wrongly."""

    exit_code = 2


def _wants_traceback(context: click.Context) -> bool:
    return bool(context.find_root().meta.get("elsa_edge.debug"))


def _remember_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.find_root().meta["elsa_edge.debug"] = True


def _debug_option() -> click.Option:
    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        callback=_remember_debug,
        help="Show the traceback of an error.",
    )


class LazyGroup(click.Group):
    """Verbs are modules of this package with a click object `command`; one without a module is not listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the verbs that exist."""
        return [verb for verb in VERBS if importlib.util.find_spec(f"{__name__}.{verb}") is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb; `--debug` is understood after it as well as before."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"{__name__}.{cmd_name}").command
        if not any("--debug" in parameter.opts for parameter in command.params):
            command.params.append(_debug_option())
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        rows = [(verb, VERBS[verb]) for verb in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, naming the nearest one when there is none of that name."""
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            error = UnknownNameError("command", args[0], self.list_commands(ctx))
            raise click.UsageError(str(error), ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; the one place where an error becomes sentences and an exit code."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            click.echo(sentence(ctx.invoked_subcommand), err=True)
            raise click.exceptions.Exit(CODE) from None
        except click.ClickException as error:
            _tell_json(ctx, error, error.exit_code)
            raise
        except Exception as error:
            if _wants_traceback(ctx):
                traceback.print_exc()
            failure = _as_failure(error)
            _tell_json(ctx, error if isinstance(error, ElsaError) else failure, failure.exit_code)
            raise failure from error


def _tell_json(ctx: click.Context, error: ElsaError | click.ClickException, exit_code: int) -> None:
    """Print an error as one JSON object on stdout where `--json` was given; its sentences go to stderr all the same."""
    if not ctx.find_root().meta.get("elsa_edge.json"):
        return
    facts: dict[str, Any] = {
        "message": error.format_message() if isinstance(error, click.ClickException) else str(error)
    }
    if isinstance(error, ElsaError):
        for name in ("problem", "expected", "found", "fix"):
            value = getattr(error, name)
            facts[name] = None if value is None else str(value)
        facts["allowed"] = None if error.allowed is None else list(error.allowed)
    click.echo(json.dumps({"error": facts, "exit_code": exit_code}, indent=2))


def _as_failure(error: Exception) -> _Failure:
    if isinstance(error, ElsaError):
        return (_Misuse if error.exit_code == _Misuse.exit_code else _Failure)(str(error))
    if isinstance(error, MemoryError):
        return _Failure("There is not enough memory for this.")
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        return _Failure(f"{error.strerror}{where}.")
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _Failure(f"The Python module {error.name} is needed for this. {how_to_install(error.name)}.")
    kind = type(error).__name__
    return _Failure(f"Something unforeseen went wrong ({kind}: {error}). Please report it, with --debug.")


@click.command(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start with: elsa-edge quickstart --out quickstart",
)
@click.version_option(__version__, "-V", "--version", prog_name="elsa-edge")
@click.pass_context
def cli(context: click.Context) -> None:
    """One network, several nested sparsity levels inside it, one file, every device."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


cli.params.append(_debug_option())


def main() -> None:
    """Entry point of the console script."""
    try:
        cli(prog_name="elsa-edge")
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); give Python nothing left to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
