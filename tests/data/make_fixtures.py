"""Writes tests/data/fixtures/: small pictures of every kind that data/ reads, and beside each what Pillow makes of it.

/usr/bin/python3 tests/data/make_fixtures.py      (python3-pil, python3-numpy; the results are committed)

decode/NAME.*       a picture; decode/expected/NAME.png is exif_transpose(open(...)).convert("RGB") of it
resize/base.png     a picture; resize/WxH.png is base resized to it, resize/box.txt lists resizes of a part of it
"""
import io, struct, zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

root = Path(__file__).parent / "fixtures"
rng = np.random.default_rng(1)


def picture(width, height):
    """Smooth colours, a hard edge and a little noise."""
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([127 + 120 * np.sin(x / 7), 127 + 120 * np.cos(y / 5), (x * 5 + y * 3) % 256], -1)
    rgb[(x + y) % 29 < 9] = [230, 40, 90]
    return np.clip(rgb + rng.normal(0, 8, rgb.shape), 0, 255).astype(np.uint8)


def png(path, width, height, depth, color_type, rows, interlaced=False, palette=None, transparency=None, exif=None):
    """A PNG of the kinds that Pillow does not write. `rows` are bytes, without filter bytes; Adam7 takes 8-bit RGB."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    if interlaced:
        array, raw = np.frombuffer(b"".join(rows), np.uint8).reshape(height, width, 3), b""
        for x0, y0, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
            for row in array[y0::dy, x0::dx]:
                raw += b"\0" + row.tobytes() if row.size else b""
    else:
        raw = b"".join(b"\0" + bytes(row) for row in rows)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, int(interlaced)))
    data += chunk(b"eXIf", exif) if exif else b""
    data += chunk(b"PLTE", palette) if palette else b""
    data += chunk(b"tRNS", transparency) if transparency else b""
    path.write_bytes(data + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


def decode_fixtures():
    folder = root / "decode"
    (folder / "expected").mkdir(parents=True, exist_ok=True)
    rgb = picture(37, 29)
    height, width = rgb.shape[:2]
    image, grey = Image.fromarray(rgb), Image.fromarray(rgb[..., 0])
    alpha = np.mgrid[:height, :width][1] * 255 // width
    image.save(folder / "rgb.png", optimize=True)
    grey.save(folder / "grey.png", optimize=True)
    grey.convert("1").save(folder / "bits.png")
    image.quantize(16).save(folder / "palette.png")
    image.quantize(7).save(folder / "palette_transparent.png", transparency=2)
    Image.fromarray(np.dstack([rgb, alpha]).astype(np.uint8)).save(folder / "rgba.png")
    Image.fromarray(np.dstack([rgb[..., 0], alpha]).astype(np.uint8), "LA").save(folder / "grey_alpha.png")
    Image.fromarray(rgb[:1, :1]).save(folder / "one.png")
    wide = rgb.astype(">u2") * 256 + rng.integers(0, 256, rgb.shape).astype(">u2")
    png(folder / "rgb16.png", width, height, 16, 2, [row.astype(">u2").tobytes() for row in wide])
    png(folder / "grey16.png", width, height, 16, 0, [row[:, 0].astype(">u2").tobytes() for row in wide])
    png(folder / "grey4.png", 36, height, 4, 0, [bytes(int(a) >> 4 << 4 | int(b) >> 4 for a, b in zip(r[:36:2, 0], r[1:36:2, 0])) for r in rgb])
    png(folder / "interlaced.png", width, height, 8, 2, [row.tobytes() for row in rgb], interlaced=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    png(folder / "turned.png", width, height, 8, 2, [row.tobytes() for row in rgb], exif=exif.tobytes()[6:])

    for name, sampling in [("s444", 0), ("s422", 1), ("s420", 2)]:
        image.save(folder / f"{name}.jpg", quality=85, subsampling=sampling)
    image.save(folder / "progressive.jpg", quality=80, progressive=True)
    grey.save(folder / "grey.jpg", quality=85)
    image.convert("CMYK").save(folder / "cmyk.jpg", quality=85)
    Image.fromarray(rgb[:1, :1]).save(folder / "one.jpg")
    image.save(folder / "jpeg_named.png", "JPEG", quality=85)
    for orientation in range(1, 9):
        exif[0x0112] = orientation
        image.save(folder / f"orientation{orientation}.jpg", quality=85, exif=exif)
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        result = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        if path.name == "grey16.png":  # Pillow clips 16-bit grey at 255; Weft keeps the high byte
            result = Image.fromarray((wide[..., 0] >> 8).astype(np.uint8)).convert("RGB")
        result.save(folder / "expected" / (path.name + ".png"), optimize=True)


def resize_fixtures():
    folder = root / "resize"
    folder.mkdir(parents=True, exist_ok=True)
    base = Image.fromarray(picture(61, 47))
    base.save(folder / "base.png", optimize=True)
    for size in [(61, 47), (30, 23), (17, 13), (61, 20), (25, 47), (1, 1), (7, 90), (100, 80), (122, 94), (3, 2), (60, 46)]:
        base.resize(size, Image.BILINEAR).save(folder / f"{size[0]}x{size[1]}.png", optimize=True)
    with open(folder / "box.txt", "w") as f:  # width height left top right bottom
        for i, (size, box) in enumerate([((20, 20), (3, 5, 50, 40)), ((20, 20), (0.5, 1.25, 33.75, 46.5)), ((40, 30), (20.3, 10.7, 31.9, 19.1)),
                                         ((5, 9), (0, 0, 61, 46.9)), ((16, 16), (60, 46, 61, 47))]):
            base.resize(size, Image.BILINEAR, box=box).save(folder / f"box{i}.png", optimize=True)
            f.write(" ".join(map(str, size + box)) + "\n")


decode_fixtures()
resize_fixtures()
