"""The program's entrance: runs a command and turns what ended it into a message and an exit code."""

import signal
import sys

from dispatcher.domain.errors import ConfigError, DispatcherError

BUG = 1
MENDABLE = 2
LEFT_AT_ONCE = 130


def main() -> None:
    """Run the command that the arguments name and leave the process with its exit code."""
    # Until a command takes the signals over, SIGTERM ends it as Ctrl-C does: with its clean-up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        from dispatcher.cli.root import app  # noqa: PLC0415 - a Ctrl-C may come while it is read

        app(prog_name="dispatcher")
    except ConfigError as error:
        # Each line says its place, as compilers do, so that editors jump there.
        sys.stderr.write(f"{error}\n")
        sys.exit(MENDABLE)
    except DispatcherError as error:
        sys.stderr.write(f"dispatcher: {error}\n")
        sys.exit(MENDABLE)
    except KeyboardInterrupt:
        sys.exit(LEFT_AT_ONCE)
    except Exception:  # noqa: BLE001 - the one place where a bug ends up
        _log_bug()
        sys.exit(BUG)


def _log_bug() -> None:
    import structlog  # noqa: PLC0415 - only a bug needs it

    from dispatcher.telemetry import logs  # noqa: PLC0415 - same

    logs.configure()
    structlog.get_logger("dispatcher").critical("a bug in the dispatcher; please report it", exc_info=True)


if __name__ == "__main__":
    main()
