"""The command line. Each command parses, calls one public function and prints."""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
from typing import Any

import click

from edgeq import __version__

COMMANDS = {
    "init": "Write a commented edgeq.toml for a model.",
    "build": "Convert a model to integers, prove it, and write a bundle for each target.",
    "tune": "Try precisions layer by layer: accuracy against flash, RAM and latency.",
    "prune": "Remove the channels of a Keras model that matter least, and fine-tune it.",
    "distill": "Train a small Keras model on the answers of a large one.",
    "bench": "Check a bundle's outputs, then measure its latency.",
    "flash": "Write a bundle's firmware to its board.",
    "devices": "List what is connected: serial ports, phones, ssh hosts, and what to do next.",
    "compare": "Compare two results, and fail when the new one is worse.",
    "check": "Build, count in the emulator, and fail when a limit of edgeq.toml is passed.",
    "report": "Write results and bundles as one page, or as Markdown, JSON, CSV and JUnit.",
    "history": "List and compare results that are kept.",
    "eval": "Measure accuracy on data: float beside int8, or on a device.",
    "inspect": "Show a model's operators, costs and memory, and what the targets say of them.",
    "targets": "List, explain or check target descriptions.",
    "doctor": "Show what is installed that some command needs, and how to get the rest.",
}
"""Name -> short help. The command `name` is the function `command` of edgeq.cli.<name>_command."""


_ENDS = [signal.SIGTERM] if sys.platform == "win32" else [signal.SIGTERM, signal.SIGHUP]


class LazyGroup(click.Group):
    """Imports a command's module when it is used, so that `edgeq --help` stays instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command = importlib.import_module(f"edgeq.cli.{name}_command").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from edgeq.documents import nearest

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            guess = nearest(args[0], COMMANDS)
            suggestion = f" Did you mean {guess!r}?" if guess else ""
            ctx.fail(f"No such command {args[0]!r}.{suggestion}")
        return super().resolve_command(ctx, args)


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="edgeq")
def cli() -> None:
    """Take a trained network to a phone, a Raspberry Pi or a microcontroller as fully integer
    TFLite, prove that it computes what the host said, and measure how fast.

    \b
    edgeq build MODEL --target rpi --calibration-data samples.npz
    edgeq bench build/rpi
    """
    from edgeq.errors import UsageError

    try:
        os.getcwd()
    except OSError as e:
        raise UsageError(
            f"the current folder cannot be used: {e.strerror}",
            hint="it was removed or replaced since this shell went there; cd to another",
        ) from e


def main() -> None:
    """The console script: run, print an EdgeqError with its hint, exit with its code."""
    # A terminal may lack a character; we go on. Without any, what is said goes nowhere.
    sys.stdout, sys.stderr = (
        open(os.devnull, "w") if s is None else s for s in (sys.stdout, sys.stderr)
    )
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    for number in _ENDS:
        if signal.getsignal(number) != signal.SIG_IGN:  # As nohup has SIGHUP.
            signal.signal(number, _terminate)
    code = run(sys.argv[1:])
    sys.exit(_flush(code))


def _flush(code: int) -> int:
    """Write out what stdout still holds, while an error can be told; then the exit code."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _leave_stdout()
    except OSError as e:
        _leave_stdout()
        if code == 0:
            _complain(f"the output cannot be written: {e.strerror}")
            return 1
    return code


def _complain(message: str, hint: str | None = None) -> None:
    from edgeq.cli.console import print_error  # Slow to import, and most runs have no error.

    print_error(message, hint)


def _leave_stdout() -> None:
    """Let what stdout still holds go nowhere, or Python would complain of it at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminate(number: int, frame: object) -> None:
    """Leave as after Ctrl-C: temporary folders removed, child processes ended."""
    raise KeyboardInterrupt


def run(arguments: list[str]) -> int:
    """What `edgeq ARGUMENTS` does; the exit code. The only place that catches EdgeqError."""
    from edgeq.errors import EdgeqError

    try:
        result: Any = cli.main(arguments, prog_name="edgeq", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.ClickException as e:
        e.show()
        return e.exit_code
    except click.Abort:
        _complain("interrupted")
        return 130
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130
    except EdgeqError as e:
        _complain(e.message, e.hint)
        return e.exit_code
    except BrokenPipeError:
        return 0  # Who read our output has seen enough.
    except OSError as e:
        if e.filename is None:
            _complain(f"the output, or a temporary file, cannot be written: {e.strerror or e}")
        else:
            _complain(f"{e.filename}: {e.strerror or e}", "check the path")
        return 1
    except MemoryError:
        _complain("this computer has not enough memory for that", "use a smaller model or data")
        return 1
