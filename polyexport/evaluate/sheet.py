"""Contact sheet of an evaluation: the first drawings of every split with the model's results, in one picture."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from polyexport.evaluate.score import LABELS, Evaluation, Example
from polyexport.evaluate.summary import lead
from polyexport.imaging.pixels import Pixels

__all__ = ["SHEET_EXAMPLES", "draw_sheet"]

SHEET_EXAMPLES = 20
"""Number of drawings of each split on a sheet."""

_CELL = 96
_GAP = 4
_HEADING = 22
_MARKED = (209, 36, 47)
_BEHIND = (225, 228, 232)  # darker than paper, so that the edge of a page can be seen


def draw_sheet(evaluation: Evaluation) -> Pixels:
    """Draw the examples of an evaluation, uint8 [H, W, 3].

    Each split has a heading with its mean PSNR and that of the better rival, and three rows: input, result of the
    model, target. The worst of its results is framed and marked with its PSNR.
    """
    columns = max(1, *map(len, evaluation.examples)) if evaluation.examples else 1
    step = _CELL + _GAP
    block = _HEADING + 3 * step
    sheet = Image.new("RGB", (max(480, _GAP + columns * step), _GAP + block * len(evaluation.splits)), _BEHIND)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for number, split in enumerate(evaluation.splits):
        top = _GAP + number * block
        ahead = lead(split)
        text = (
            f"{split.name}: mean PSNR {ahead.model_psnr_db:.2f} dB, "
            f"better rival ({LABELS[ahead.rival]}) {ahead.rival_psnr_db:.2f} dB"
        )
        pen.text((_GAP, top), text, fill=(0, 0, 0), font=font)
        examples = evaluation.examples[number] if evaluation.examples else ()
        for column, example in enumerate(examples):
            for row, pixels in enumerate((example.drawing, example.colored, example.target)):
                sheet.paste(_cell(pixels), (_GAP + column * step, top + _HEADING + row * step))
        if examples:
            worst = min(range(len(examples)), key=lambda column: examples[column].psnr_db)
            _mark(pen, examples[worst], _GAP + worst * step, top + _HEADING + step, font)
    return np.asarray(sheet)


def _cell(pixels: Pixels) -> Image.Image:
    cell = Image.new("RGB", (_CELL, _CELL), _BEHIND)
    image = Image.fromarray(pixels)
    image.thumbnail((_CELL, _CELL), Image.Resampling.BOX)
    cell.paste(image, ((_CELL - image.width) // 2, (_CELL - image.height) // 2))
    return cell


def _mark(
    pen: ImageDraw.ImageDraw,
    example: Example,
    left: int,
    top: int,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    pen.rectangle((left - 2, top - 2, left + _CELL + 1, top + _CELL + 1), outline=_MARKED, width=2)
    text = f"{example.psnr_db:.1f} dB"
    pen.rectangle(pen.textbbox((left + 2, top + 2), text, font=font), fill=(255, 255, 255))
    pen.text((left + 2, top + 2), text, fill=_MARKED, font=font)
