"""The part of a decoding process that decodes one large image in bands of rows, as fast as they are asked for."""

import io
import os
import signal
from collections.abc import Callable
from typing import IO, Any

from polyexport.errors import ImageError, OutOfMemoryError, out_of_memory, reason_of
from polyexport.imaging.bands import open_bands
from polyexport.imaging.opening import opened
from polyexport.imaging.traits import Keep
from polyexport.pipeline.decoding.trait_messages import announced, carried
from polyexport.storage.files import open_regular

__all__ = ["found_large", "serve_rows"]


def found_large(file: str | bytearray, max_pixels: int, large_pixels: int) -> dict[str, Any]:
    """Return the entries of the answer for an image that can be decoded in bands only; none for others.

    Args:
        file: path of the file, untrusted; what is no path is not decoded in bands.
        max_pixels: largest width times height of an image that is decoded as a whole.
        large_pixels: largest width times height of an image that is accepted.
    """
    if not isinstance(file, str):
        return {}
    try:
        with io.FileIO(open_regular(file)) as opened_file, opened(opened_file, large_pixels) as (image, _):
            width, height = image.size
    except ImageError as error:
        return {"reason": str(error)}
    except OSError:
        return {}
    return {"state": "large", "reason": ""} if width * height > max_pixels else {}


def serve_rows(request: dict[str, Any], answers: IO[bytes], send: Callable[..., None]) -> None:
    """Answer a request for the rows of one image.

    The first answer describes the image, and each of the others has some rows. The pipe holds little: the process
    waits until they are read. A failure is the last answer.

    Args:
        request: JSON object of the request.
        answers: stream of the answers.
        send: writes one message.
    """
    try:
        with io.FileIO(open_regular(request["rows"])) as file:
            signal.alarm(int(request["timeout_s"]) + 5)
            with open_bands(
                file,
                max_pixels=int(request["max_pixels"]),
                channels=int(request["channels"]),
                band_rows=int(request["band_rows"]),
                keep=Keep(**request["keep"]),
            ) as bands:
                signal.alarm(0)  # it may wait for its reader as long as that takes
                send(
                    answers,
                    {
                        "state": "rows",
                        "size": [bands.height, bands.width],
                        "warnings": bands.warnings,
                        "traits": announced(bands.traits),
                    },
                    *carried(bands.traits),
                )
                while True:
                    signal.alarm(int(request["timeout_s"]) + 5)
                    rows = next(bands.rows, None)
                    signal.alarm(0)
                    if rows is None:
                        return
                    send(answers, {"state": "band", "rows": len(rows)}, rows)
    except BrokenPipeError:
        os._exit(0)  # the parent needs no more rows
    except OSError as error:
        reason, permanent = f"cannot be read ({error.strerror or error}); give a readable image file", False
    except ImageError as error:
        reason, permanent = str(error), True
    except Exception as error:  # noqa: BLE001 - no input may take the others with it; memory is the usual cause
        short = out_of_memory(error)
        reason, permanent = (
            str(OutOfMemoryError("it was decoded", reason_of(error))) if short else reason_of(error),
            False,
        )
        reason = f"cannot be decoded ({reason})"
    signal.alarm(0)
    send(answers, {"state": "failed", "reason": reason, "permanent": permanent})
