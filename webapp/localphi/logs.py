"""What this program writes down about a failure: what kind it is and where it happened, never what was said.

The message of an exception may quote the prompt it could not handle, and a traceback ends with that message.
"""

from __future__ import annotations

import logging
import traceback
from pathlib import Path


def place_of(error: BaseException) -> str:
    """The type of an error and the calls that led to it, innermost first, then the same of its causes."""
    calls = reversed(traceback.extract_tb(error.__traceback__))
    places = ", ".join(
        f"{'/'.join(Path(call.filename).parts[-2:])}:{call.lineno} in {call.name}" for call in calls
    )
    told = f"{type(error).__name__} at {places or 'an unknown place'}"
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return f"{told}; after {place_of(before)}" if before is not None else told


class WithoutTexts(logging.Filter):
    """Puts `place_of` in the place of a record's traceback. Belongs to loggers, not to handlers."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            record.msg, record.args = f"{record.getMessage()}: {place_of(error)}", ()
        record.exc_info = record.exc_text = None
        return True


def keep_private(*loggers: str) -> None:
    """No record of these loggers shows the message of an exception from now on. May be called again."""
    for name in loggers:
        logger = logging.getLogger(name)
        if not any(isinstance(known, WithoutTexts) for known in logger.filters):
            logger.addFilter(WithoutTexts())
