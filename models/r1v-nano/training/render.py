"""Paints many pictures at once on the training device, byte for byte as draw.paint does.

Owns the packed form of pictures (arrays of rectangles and shapes) and their pixels as model input.
"""

import numpy as np
import torch
import torch.nn.functional as F

from draw import CELL, CIRCLE, PALETTE, SIDE, SQUARE, TRIANGLE, Picture, cell_origin

from .network import IMAGE_MEAN, IMAGE_STD


def pack(pictures: list) -> tuple:
    """Rectangles [n, most, 5] and shapes [n, 9 or 0, 5]; entries of zeros paint nothing."""
    most = max((len(picture.rectangles) for picture in pictures), default=0)
    num_shapes = max((len(picture.shapes) for picture in pictures), default=0)
    rectangles = np.zeros((len(pictures), most, 5), np.int16)
    shapes = np.zeros((len(pictures), num_shapes, 5), np.int16)
    for index, picture in enumerate(pictures):
        if picture.rectangles:
            rectangles[index, : len(picture.rectangles)] = picture.rectangles
        if picture.shapes:
            shapes[index] = picture.shapes
    return rectangles, shapes


def paint(rectangles: torch.Tensor, shapes: torch.Tensor) -> torch.Tensor:
    """Palette indices [n, SIDE, SIDE], uint8."""
    device = rectangles.device
    canvas = torch.zeros(len(rectangles), SIDE, SIDE, dtype=torch.uint8, device=device)
    along = torch.arange(SIDE, device=device, dtype=torch.int16)
    for index in range(rectangles.shape[1]):
        x0, y0, x1, y1, colour = (value[:, None] for value in rectangles[:, index].unbind(1))
        columns = (along >= x0) & (along < x1)
        rows = (along >= y0) & (along < y1)
        inside = rows[:, :, None] & columns[:, None, :]
        canvas = torch.where(inside, colour[:, :, None].to(torch.uint8), canvas)
    for index in range(shapes.shape[1]):
        _paint_cell(canvas, index, shapes[:, index])
    return canvas


def _paint_cell(canvas: torch.Tensor, index: int, shapes: torch.Tensor) -> None:
    x, y = cell_origin(index)
    along = torch.arange(CELL, device=canvas.device, dtype=torch.int16)
    kind, cx, cy, r, colour = (value[:, None, None] for value in shapes.unbind(1))
    dx = ((along + x)[None, None, :] - cx).abs()
    dy = (along + y)[None, :, None] - cy
    inside = (kind == CIRCLE) & (dx * dx + dy * dy <= r * r)
    half = r * 7 // 8
    inside |= (kind == SQUARE) & (dx <= half) & (dy.abs() <= half)
    inside |= (kind == TRIANGLE) & (dy >= -r) & (dy <= r) & (2 * dx <= dy + r)
    cell = canvas[:, y : y + CELL, x : x + CELL]
    cell.copy_(torch.where(inside, colour.to(torch.uint8), cell))


def normalise(rgb: torch.Tensor) -> torch.Tensor:
    """uint8 RGB [n, side, side, 3] -> [n, 3, side, side], float32."""
    mean, std = rgb.new_tensor(IMAGE_MEAN, dtype=torch.float32), rgb.new_tensor(IMAGE_STD, dtype=torch.float32)
    return ((rgb.float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def palette_pixels(canvas: torch.Tensor) -> torch.Tensor:
    """Palette indices -> model input [n, 3, SIDE, SIDE], float32."""
    palette = torch.tensor(PALETTE, dtype=torch.uint8, device=canvas.device)
    return normalise(palette[canvas.int()])


def soften(pixels: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """Blurs a random share of the pictures a little, as resizing a larger picture does."""
    n = len(pixels)
    draws = torch.rand(2, n, generator=generator, device=pixels.device)
    amount = torch.where(draws[0] < share, draws[1], torch.zeros_like(draws[1])).to(pixels.dtype)[:, None, None, None]
    blurred = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode='replicate'), 3, stride=1)
    return pixels + amount * (blurred - pixels)


def check_against_draw(pictures: list, device: torch.device) -> None:
    """Fails unless this module and draw.paint give the same bytes."""
    from draw import paint as paint_one

    rectangles, shapes = (torch.from_numpy(array).to(device) for array in pack(pictures))
    painted = paint(rectangles, shapes).cpu().numpy()
    for index, picture in enumerate(pictures):
        if painted[index].tobytes() != paint_one(picture):
            raise AssertionError(f'picture {index} of {len(pictures)} differs between render.paint and draw.paint')
