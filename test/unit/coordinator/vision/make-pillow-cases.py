"""Writes pillow-cases.json: small pictures of every awkward kind with the RGB bytes that Pillow decodes them to.

Run by hand with Pillow 12 and numpy installed (python3 make-pillow-cases.py); the tests read its output and need
neither. Not with Pillow 13: it changed the order of the two passes of a resize, and the models' own preprocessing is
older (12.2 and 12.3 changed it for pictures more than 100 times as high as wide, of which there is none here).
"""

import base64
import hashlib
import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageCms

WIDTH, HEIGHT = 37, 23
rng = np.random.default_rng(5)


def smooth(channels: int) -> np.ndarray:
    """A gradient with noise: exercises chroma upsampling, and compresses."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    planes = [(x * (7 + c) + y * (11 - c) + rng.integers(0, 40, (HEIGHT, WIDTH))) % 256 for c in range(channels)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def png(bit_depth: int, color_type: int, rows: list[bytes], extra: list[tuple[bytes, bytes]] = ()) -> bytes:
    """A PNG from raw rows; for kinds that Pillow reads but does not write."""
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))

    header = struct.pack('>IIBBBBB', WIDTH, HEIGHT, bit_depth, color_type, 0, 0, 0)
    data = zlib.compress(b''.join(b'\0' + row for row in rows))
    middle = b''.join(chunk(name, content) for name, content in extra)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + middle + chunk(b'IDAT', data) + chunk(b'IEND', b'')


def gif(screen, palette_bits, frames, version=b'GIF89a', local=False, interlaced=False) -> bytes:
    """A GIF from (left, top, width, height, transparent index or None, indices); LZW with literal codes only."""
    palette = bytes(rng.integers(0, 256, 3 << palette_bits, dtype=np.uint8))
    flags = 0 if local else 0x80 | (palette_bits - 1)
    out = version + struct.pack('<HHBBB', *screen, flags, 3, 0) + (b'' if local else palette)
    for left, top, width, height, transparent, indices in frames:
        if transparent is not None:
            out += b'\x21\xf9\x04' + struct.pack('<BHB', 1, 10, transparent) + b'\0'
        out += b'\x2c' + struct.pack('<HHHHB', left, top, width, height, (0x80 | (palette_bits - 1) if local else 0) | (0x40 if interlaced else 0))
        out += palette if local else b''
        bits, count = 0, 0
        for position, index in enumerate(indices):
            for code in ([256] if position % 200 == 0 else []) + [int(index)]:
                bits |= code << count
                count += 9
        bits |= 257 << count
        data = bits.to_bytes((count + 9 + 7) // 8, 'little')
        blocks = [data[i:i + 255] for i in range(0, len(data), 255)]
        out += b'\x08' + b''.join(bytes([len(block)]) + block for block in blocks) + b'\0'
    return out + b'\x3b'


def saved(image: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def pictures() -> dict[str, bytes]:
    rgb = Image.fromarray(smooth(3))
    grey = Image.fromarray(smooth(1)[:, :, 0])
    alpha = Image.fromarray(smooth(4), 'RGBA')
    grey_alpha = Image.fromarray(smooth(2), 'LA')
    cmyk = Image.fromarray(smooth(4), 'CMYK')
    palette = rgb.quantize(17)
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('LAB')).tobytes()
    wide = rng.integers(0, 65536, (HEIGHT, WIDTH, 4), dtype=np.uint16)
    wide[:, :, 0] //= rng.integers(1, 400, (HEIGHT, WIDTH), dtype=np.uint16)

    def wide_rows(channels: int) -> list[bytes]:
        return [row[:, :channels].astype('>u2').tobytes() for row in wide]

    def low_rows(bits: int) -> list[bytes]:
        return [bytes(rng.integers(0, 256, (WIDTH * bits + 7) // 8, dtype=np.uint8)) for _ in range(HEIGHT)]

    cases = {}
    for name, subsampling in (('444', 0), ('422', 1), ('420', 2)):
        cases[f'jpeg rgb {name}'] = saved(rgb, 'JPEG', quality=80, subsampling=subsampling)
    cases['jpeg progressive'] = saved(rgb, 'JPEG', quality=70, progressive=True)
    cases['jpeg quality 100'] = saved(rgb, 'JPEG', quality=100)
    cases['jpeg grey'] = saved(grey, 'JPEG')
    cases['jpeg cmyk'] = saved(cmyk, 'JPEG', quality=90)
    cases['jpeg exif rotated'] = saved(rgb, 'JPEG', exif=exif)
    cases['jpeg with profile'] = saved(rgb, 'JPEG', icc_profile=profile)
    cases['jpeg kept as rgb'] = saved(rgb, 'JPEG', keep_rgb=True)
    cases['png rgb'] = saved(rgb, 'PNG')
    cases['png with profile'] = saved(rgb, 'PNG', icc_profile=profile)
    cases['png rgba'] = saved(alpha, 'PNG')
    cases['png grey'] = saved(grey, 'PNG')
    cases['png grey alpha'] = saved(grey_alpha, 'PNG')
    cases['png bilevel'] = saved(grey.convert('1'), 'PNG')
    cases['png palette'] = saved(palette, 'PNG')
    cases['png palette transparent'] = saved(palette, 'PNG', transparency=3)
    cases['png palette many alphas'] = saved(palette, 'PNG', transparency=bytes(range(0, 170, 10)))
    cases['png rgb transparent colour'] = saved(rgb, 'PNG', transparency=rgb.getpixel((0, 0)))
    cases['png grey transparent level'] = saved(grey, 'PNG', transparency=grey.getpixel((0, 0)))
    cases['png exif rotated'] = saved(rgb, 'PNG', exif=exif)
    cases['png grey 16'] = png(16, 0, wide_rows(1))
    cases['png grey 16 transparent level'] = png(16, 0, wide_rows(1), [(b'tRNS', b'\0\7')])
    cases['png rgb 16'] = png(16, 2, wide_rows(3))
    cases['png grey alpha 16'] = png(16, 4, wide_rows(2))
    cases['png rgba 16'] = png(16, 6, wide_rows(4))
    cases['png grey 2'] = png(2, 0, low_rows(2))
    cases['png grey 4'] = png(4, 0, low_rows(4))
    cases['png gamma'] = png(8, 2, [row.tobytes() for row in smooth(3)], [(b'gAMA', struct.pack('>I', 100000))])
    cases['webp lossy'] = saved(rgb, 'WEBP', quality=60)
    cases['webp lossless'] = saved(rgb, 'WEBP', lossless=True)
    cases['webp alpha'] = saved(alpha, 'WEBP', lossless=True, exact=True)
    cases['webp lossy alpha'] = saved(alpha, 'WEBP', quality=70)
    cases['webp exif rotated'] = saved(rgb, 'WEBP', exif=exif)
    frames = [Image.fromarray(smooth(3)) for _ in range(3)]
    cases['webp animated'] = saved(rgb, 'WEBP', save_all=True, append_images=frames)
    cases['gif'] = saved(palette, 'GIF')
    cases['gif not interlaced'] = saved(palette, 'GIF', interlace=0)
    cases['gif of noise'] = saved(Image.fromarray(rng.integers(0, 256, (120, 90), dtype=np.uint8)), 'GIF')
    cases['gif transparent'] = saved(palette, 'GIF', transparency=5)
    cases['gif animated'] = saved(palette, 'GIF', save_all=True, append_images=frames)
    noise = rng.integers(0, 256, 20 * 10)
    few = rng.integers(0, 16, 20 * 10)
    cases['gif frame inside screen'] = gif((WIDTH, HEIGHT), 8, [(5, 4, 20, 10, None, noise)])
    cases['gif transparent frame inside screen'] = gif((WIDTH, HEIGHT), 8, [(5, 4, 20, 10, 9, noise)])
    cases['gif frame beyond screen'] = gif((10, 7), 8, [(5, 4, 20, 10, None, noise)])
    cases['gif local palette'] = gif((20, 10), 8, [(0, 0, 20, 10, None, noise)], local=True)
    cases['gif interlaced by hand'] = gif((20, 10), 8, [(0, 0, 20, 10, 250, noise)], interlaced=True)
    cases['gif indices beyond palette'] = gif((20, 10), 3, [(0, 0, 20, 10, None, few)])
    return cases


def main() -> None:
    cases = []
    for name, data in pictures().items():
        image = Image.open(io.BytesIO(data)).convert('RGB')
        cases.append({
            'name': name,
            'width': image.width,
            'height': image.height,
            'rgbSha256': hashlib.sha256(image.tobytes()).hexdigest(),
            'file': base64.b64encode(data).decode(),
        })
    resizes = []
    source = Image.fromarray(smooth(3))
    for width, height in [(1, 1), (7, 5), (37, 60), (64, 23), (36, 22), (38, 24), (200, 3), (2, 300), (112, 112)]:
        resized = source.resize((width, height), Image.Resampling.BICUBIC)
        resizes.append({'width': width, 'height': height, 'rgbSha256': hashlib.sha256(resized.tobytes()).hexdigest()})
    document = {
        'pillow': PIL.__version__,
        'decoding': cases,
        'resizing': {'source': base64.b64encode(saved(source, 'PNG')).decode(), 'cases': resizes},
    }
    Path(__file__).with_name('pillow-cases.json').write_text(json.dumps(document, indent=1) + '\n')


if __name__ == '__main__':
    main()
