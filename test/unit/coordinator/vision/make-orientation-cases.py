"""Writes orientation-cases.json: pictures that say how they are to be turned, with the RGB bytes of Pillow's
exif_transpose.

Run by hand with Pillow 12 and numpy installed (python3 make-orientation-cases.py); the tests read its output and need
neither.
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
from PIL import Image, ImageOps, PngImagePlugin

WIDTH, HEIGHT = 19, 11
ORIENTATION = 0x0112
rng = np.random.default_rng(8)


def smooth(channels: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    planes = [(x * (7 + c) + y * (11 - c) + rng.integers(0, 40, (height, width))) % 256 for c in range(channels)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags


def raw_exif(orientation: int, order: str = '>', kind: int = 3, others: int = 0) -> bytes:
    """A TIFF header and one directory; kind 3 is SHORT, 4 LONG; `others` tags stand before the orientation."""
    entries = [struct.pack(order + 'HHI4s', 0x0100 + i, 3, 1, struct.pack(order + 'HH', 7, 0)) for i in range(others)]
    value = struct.pack(order + ('HH' if kind == 3 else 'I'), *((orientation, 0) if kind == 3 else (orientation,)))
    entries.append(struct.pack(order + 'HHI4s', ORIENTATION, kind, 1, value))
    header = (b'MM' if order == '>' else b'II') + struct.pack(order + 'HI', 42, 8)
    return header + struct.pack(order + 'H', len(entries)) + b''.join(entries) + b'\0\0\0\0'


def saved(image: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png_with(data: bytes, name: bytes, content: bytes, after_pixels: bool = False) -> bytes:
    """A chunk put behind IHDR or before IEND."""
    chunk = struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))
    place = len(data) - 12 if after_pixels else 33
    return data[:place] + chunk + data[place:]


def jpeg_with(data: bytes, *segments: bytes) -> bytes:
    """APP1 segments put behind the start of the image."""
    return data[:2] + b''.join(b'\xff\xe1' + struct.pack('>H', len(s) + 2) + s for s in segments) + data[2:]


def xmp(orientation: int, as_element: bool = False) -> bytes:
    inner = (f'<rdf:Description rdf:about=""><tiff:Orientation>{orientation}</tiff:Orientation></rdf:Description>' if as_element
             else f'<rdf:Description rdf:about="" tiff:Orientation="{orientation}"/>')
    return (f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
            f'xmlns:tiff="http://ns.adobe.com/tiff/1.0/">{inner}</rdf:RDF></x:xmpmeta>').encode()


def pictures() -> dict[str, bytes]:
    rgb = Image.fromarray(smooth(3))
    grey = Image.fromarray(smooth(1)[:, :, 0])
    cmyk = Image.fromarray(smooth(4), 'CMYK')
    alpha = Image.fromarray(smooth(4), 'RGBA')
    wide = Image.fromarray((smooth(1)[:, :, 0].astype(np.uint16) * 3), 'I;16')
    jpeg, png = saved(rgb, 'JPEG', quality=85), saved(rgb, 'PNG')
    cases = {}
    for value in range(1, 9):
        cases[f'jpeg {value}'] = saved(rgb, 'JPEG', quality=85, exif=exif(value))
        cases[f'png {value}'] = saved(rgb, 'PNG', exif=exif(value))
        cases[f'webp {value}'] = saved(rgb, 'WEBP', quality=70, exif=exif(value))
    for value in (0, 9, 258):
        cases[f'jpeg {value}, which means nothing'] = saved(rgb, 'JPEG', exif=exif(value))
    cases['jpeg grey'] = saved(grey, 'JPEG', exif=exif(6))
    cases['jpeg cmyk'] = saved(cmyk, 'JPEG', exif=exif(5))
    cases['jpeg progressive 4:2:0'] = saved(rgb, 'JPEG', progressive=True, subsampling=2, exif=exif(7))
    cases['jpeg one column'] = saved(Image.fromarray(smooth(3, 1, 9)), 'JPEG', exif=exif(8))
    cases['jpeg big-endian'] = jpeg_with(jpeg, b'Exif\0\0' + raw_exif(6))
    cases['jpeg long value'] = jpeg_with(jpeg, b'Exif\0\0' + raw_exif(6, '<', 4))
    cases['jpeg big-endian long value'] = jpeg_with(jpeg, b'Exif\0\0' + raw_exif(8, '>', 4))
    cases['jpeg behind other tags'] = jpeg_with(jpeg, b'Exif\0\0' + raw_exif(3, '>', 3, 12))
    block = raw_exif(6, '<', 3, 4)
    cases['jpeg block in two segments'] = jpeg_with(jpeg, b'Exif\0\0' + block[:30], b'Exif\0\0' + block[30:])
    cases['jpeg xmp before exif'] = jpeg_with(jpeg, b'http://ns.adobe.com/xap/1.0/\0' + xmp(3), b'Exif\0\0' + raw_exif(6))
    cases['jpeg xmp alone'] = jpeg_with(jpeg, b'http://ns.adobe.com/xap/1.0/\0' + xmp(6))
    cases['jpeg xmp element'] = jpeg_with(jpeg, b'http://ns.adobe.com/xap/1.0/\0' + xmp(8, True))
    without = Image.Exif()
    without[0x010e] = 'no orientation'
    cases['jpeg xmp beside exif without it'] = jpeg_with(
        saved(rgb, 'JPEG', exif=without), b'http://ns.adobe.com/xap/1.0/\0' + xmp(6))
    cases['png big-endian'] = png_with(png, b'eXIf', raw_exif(5))
    cases['png behind the pixels'] = png_with(png, b'eXIf', raw_exif(7), after_pixels=True)
    text = PngImagePlugin.PngInfo()
    body = b'Exif\0\0' + raw_exif(6, '<')
    profile = '\nexif\n' + str(len(body)).rjust(8) + '\n' + '\n'.join(body.hex()[i:i + 72] for i in range(0, len(body.hex()), 72)) + '\n'
    text.add_text('Raw profile type exif', profile, zip=True)
    cases['png raw profile'] = saved(rgb, 'PNG', pnginfo=text)
    text = PngImagePlugin.PngInfo()
    text.add_itxt('XML:com.adobe.xmp', xmp(6).decode())
    cases['png xmp alone'] = saved(rgb, 'PNG', pnginfo=text)
    cases['png palette'] = saved(rgb.quantize(9), 'PNG', exif=exif(6))
    cases['png alpha'] = saved(alpha, 'PNG', exif=exif(8))
    cases['png grey 16'] = saved(wide, 'PNG', exif=exif(6))
    cases['webp lossless alpha'] = saved(alpha, 'WEBP', lossless=True, exact=True, exif=exif(6))
    cases['webp big-endian'] = saved(rgb, 'WEBP', exif=raw_exif(8))
    cases['webp xmp alone'] = saved(rgb, 'WEBP', xmp=xmp(6))
    cases['gif'] = saved(rgb.quantize(9), 'GIF')
    return cases


def main() -> None:
    cases = []
    for name, data in pictures().items():
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert('RGB')
        as_stored = Image.open(io.BytesIO(data)).convert('RGB')
        cases.append({
            'name': name,
            'width': image.width,
            'height': image.height,
            'rgbSha256': hashlib.sha256(image.tobytes()).hexdigest(),
            'storedSha256': hashlib.sha256(as_stored.tobytes()).hexdigest(),
            'file': base64.b64encode(data).decode(),
        })
    document = {'pillow': PIL.__version__, 'cases': cases}
    Path(__file__).with_name('orientation-cases.json').write_text(json.dumps(document, indent=1) + '\n')


if __name__ == '__main__':
    main()
