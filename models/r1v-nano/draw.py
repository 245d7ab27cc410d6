#!/usr/bin/env python3
"""Draws the pictures that r1v-nano was trained on, and asks about them: `python3 draw.py --task count-colour --seed 7`.

Owns pictures: what they consist of, their pixels, their PNG files. Plain Python 3, no packages, and only integer
geometry, so that every machine draws the same bytes. The questions are in training/questions.py.
"""

import argparse
import struct
import sys
import zlib
from dataclasses import dataclass, field

SIDE = 224  # pixels
CELL = 74  # pixels: three cells and two grid lines of one pixel fill the side

# Index in a canvas -> RGB. The first three are paper, faint lines and ink.
PALETTE = (
    (255, 255, 255),
    (222, 222, 222),
    (32, 32, 32),
    (214, 40, 40),
    (38, 160, 70),
    (40, 84, 214),
    (246, 212, 30),
    (150, 56, 190),
    (250, 134, 10),
)
PAPER, LINE, INK = 0, 1, 2
COLOURS = {'red': 3, 'green': 4, 'blue': 5, 'yellow': 6, 'purple': 7, 'orange': 8}

NOTHING, CIRCLE, SQUARE, TRIANGLE = 0, 1, 2, 3
SHAPES = {'circle': CIRCLE, 'square': SQUARE, 'triangle': TRIANGLE}

MAX_BARS = 5
MAX_UNITS = 9
UNIT = 20  # pixels: height of one unit of a bar chart
BASELINE = 205  # y of the first row below the bars

# Seven-segment digits: the segments that are lit, and each one's rectangle in a digit of 26 x 48 pixels.
DIGIT_WIDTH, DIGIT_HEIGHT = 26, 48
ADVANCE = 36
SEGMENTS = {
    'a': (0, 0, 26, 6),
    'b': (20, 0, 26, 24),
    'c': (20, 24, 26, 48),
    'd': (0, 42, 26, 48),
    'e': (0, 24, 6, 48),
    'f': (0, 0, 6, 24),
    'g': (0, 21, 26, 27),
}
LIT = ('abcdef', 'bc', 'abged', 'abgcd', 'fgbc', 'afgcd', 'afgecd', 'abc', 'abcdefg', 'abcdfg')


@dataclass
class Picture:
    """Rectangles (x0, y0, x1, y1, colour; half open), painted in order, then shapes (kind, cx, cy, r, colour).

    There is one shape entry per cell of the grid, row by row, and a shape never leaves its cell.
    """

    rectangles: list = field(default_factory=list)
    shapes: list = field(default_factory=list)


def cell_origin(cell: int) -> tuple:
    """Top left pixel of a cell, 0 to 8, row by row."""
    return (cell % 3) * (CELL + 1), (cell // 3) * (CELL + 1)


def grid_picture(cells: list) -> Picture:
    """cells: nine of None or (shape, colour, dx, dy, r): names, offset from the middle of the cell, radius."""
    picture = Picture()
    for k in (1, 2):
        at = k * (CELL + 1) - 1
        picture.rectangles.append((at, 0, at + 1, SIDE, LINE))
        picture.rectangles.append((0, at, SIDE, at + 1, LINE))
    for index, cell in enumerate(cells):
        if cell is None:
            picture.shapes.append((NOTHING, 0, 0, 0, 0))
            continue
        shape, colour, dx, dy, r = cell
        x, y = cell_origin(index)
        picture.shapes.append((SHAPES[shape], x + CELL // 2 + dx, y + CELL // 2 + dy, r, COLOURS[colour]))
    return picture


def chart_picture(bars: list, left: int) -> Picture:
    """bars: (colour, height in units), from left to right; left: x of the first bar's slot."""
    picture = Picture()
    for unit in range(1, MAX_UNITS + 1):
        y = BASELINE - unit * UNIT
        picture.rectangles.append((8, y, SIDE, y + 1, LINE))
    picture.rectangles.append((6, 10, 8, BASELINE + 2, INK))
    picture.rectangles.append((6, BASELINE, SIDE, BASELINE + 2, INK))
    for index, (colour, height) in enumerate(bars):
        x = left + index * 40 + 6
        picture.rectangles.append((x, BASELINE - height * UNIT, x + 28, BASELINE, COLOURS[colour]))
    return picture


def sum_picture(text: str, x: int, y: int, colour: int) -> Picture:
    """text: digits and '+'; its top left corner at (x, y)."""
    picture = Picture()
    for character in text:
        if character == '+':
            picture.rectangles.append((x + 3, y + 21, x + 23, y + 27, colour))
            picture.rectangles.append((x + 10, y + 14, x + 16, y + 34, colour))
        else:
            for segment in LIT[int(character)]:
                x0, y0, x1, y1 = SEGMENTS[segment]
                picture.rectangles.append((x + x0, y + y0, x + x1, y + y1, colour))
        x += ADVANCE
    return picture


def _fill(canvas: bytearray, y: int, x0: int, x1: int, colour: int) -> None:
    canvas[y * SIDE + x0 : y * SIDE + x1] = bytes((colour,)) * (x1 - x0)


def _paint_shape(canvas: bytearray, kind: int, cx: int, cy: int, r: int, colour: int) -> None:
    half = r * 7 // 8
    for dy in range(-r, r + 1):
        if kind == CIRCLE:
            reach = max(dx for dx in range(r + 1) if dx * dx + dy * dy <= r * r)
        elif kind == SQUARE:
            reach = half if abs(dy) <= half else -1
        else:
            reach = (dy + r) // 2
        if reach >= 0:
            _fill(canvas, cy + dy, cx - reach, cx + reach + 1, colour)


def paint(picture: Picture) -> bytes:
    """Palette indices, row by row, SIDE x SIDE."""
    canvas = bytearray(SIDE * SIDE)
    for x0, y0, x1, y1, colour in picture.rectangles:
        for y in range(y0, y1):
            _fill(canvas, y, x0, x1, colour)
    for kind, cx, cy, r, colour in picture.shapes:
        if kind != NOTHING:
            _paint_shape(canvas, kind, cx, cy, r, colour)
    return bytes(canvas)


def encode_png(canvas: bytes, scale: int = 1) -> bytes:
    """A palette PNG; scale repeats every pixel that many times in both directions."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))

    rows = bytearray()
    for y in range(SIDE):
        row = canvas[y * SIDE : (y + 1) * SIDE]
        row = b''.join(bytes((value,)) * scale for value in row) if scale > 1 else row
        rows += (b'\0' + row) * scale
    header = struct.pack('>IIBBBBB', SIDE * scale, SIDE * scale, 8, 3, 0, 0, 0)
    palette = bytes(value for colour in PALETTE for value in colour)
    return b''.join(
        (
            b'\x89PNG\r\n\x1a\n',
            chunk(b'IHDR', header),
            chunk(b'PLTE', palette),
            chunk(b'IDAT', zlib.compress(bytes(rows), 9)),
            chunk(b'IEND', b''),
        )
    )


def main() -> None:
    from training.questions import PICTURE_TASKS, draw_sample

    parser = argparse.ArgumentParser(description='Draw one picture and ask one question about it.')
    parser.add_argument('--task', choices=PICTURE_TASKS, default='count-colour')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--scale', type=int, choices=(1, 2, 3, 4), default=1)
    parser.add_argument('--out', default='picture.png')
    options = parser.parse_args()
    sample = draw_sample(options.task, options.seed)
    with open(options.out, 'wb') as file:
        file.write(encode_png(paint(sample.picture), options.scale))
    sys.stdout.write(f'{options.out}\nquestion: {sample.question}\nanswer: {sample.answer}\n')


if __name__ == '__main__':
    main()
