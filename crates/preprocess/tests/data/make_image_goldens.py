#!/usr/bin/env python3
"""Writes tests/data/image: small pictures of every mode and format, and what the references make of them.

    python make_image_goldens.py [OUT]

Oracle: Pillow 13.0.0, transformers 4.51.3, cn_clip 1.6.0 (with torchvision 0.29.2). A second run writes the same bytes.
expected.json:
  files   for each picture: Pillow's format, mode and size; CRC-32 of `load_image` as RGB; CRC-32 of the f32 pixel values for each
          configuration of CONFIGS and each dialect
  resize  for each source size, channel count, target size and filter: CRC-32 of the resized bytes. The source is `noise(...)`,
          which the test draws again
*.rgb     RGB bytes of `load_image`, where a decoder may differ from Pillow's
"""
import io
import json
import struct
import sys
import warnings
import zlib
from pathlib import Path

import cn_clip.clip.utils as cn_utils
import numpy as np
import PIL
import torchvision
import transformers
from noise import noise
from PIL import Image
from torchvision.transforms import Compose, InterpolationMode, Normalize, Resize, ToTensor
from transformers import ChineseCLIPImageProcessor
from transformers.image_transforms import get_resize_output_image_size
from transformers.image_utils import load_image

PINS = {"Pillow": (PIL.__version__, "13.0.0"), "transformers": (transformers.__version__, "4.51.3"), "torchvision": (torchvision.__version__.split("+")[0], "0.29.2")}
for package, (found, wanted) in PINS.items():
    assert found == wanted, f"{package} {wanted} is pinned, found {found}"
warnings.simplefilter("ignore")
W, H = 29, 23

# Configurations of the processor; `size` is (height, width) or a shortest edge.
CONFIGS = {
    "squash": {"size": [32, 32]},
    "squash_up_bilinear": {"size": [40, 50], "resample": 2},
    "down_lanczos": {"size": [9, 7], "resample": 1},
    "nearest": {"size": [17, 31], "resample": 0},
    "box": {"size": [11, 40], "resample": 4},
    "hamming": {"size": [12, 12], "resample": 5},
    "shortest_crop": {"size": 20, "crop": [18, 18]},
    "crop_pads_odd": {"size": [16, 15], "crop": [21, 18]},
    "crop_only_odd": {"crop": [24, 24]},
    "no_rescale": {"size": [8, 8], "do_rescale": False},
    "no_normalize": {"size": [8, 8], "do_normalize": False},
    "raw": {"do_rescale": False, "do_normalize": False},
    "other_numbers": {"size": [8, 8], "rescale_factor": 1 / 127.5, "mean": [1.0, 0.5, 0.25], "std": [0.5, 0.3, 0.7]},
}
CROPS = ("shortest_crop", "crop_pads_odd", "crop_only_odd", "other_numbers")  # cn_clip knows neither


def crc(data):
    return zlib.crc32(bytes(data))


def scene(w=W, h=H):
    """Gradients, edges and noise: enough for every rounding to show."""
    y, x = np.mgrid[0:h, 0:w]
    px = np.stack([x * 255 // max(w - 1, 1), y * 255 // max(h - 1, 1), (x * 7 + y * 13) % 256], -1)
    px = px + np.frombuffer(noise(w * h * 3, 1), np.uint8).reshape(h, w, 3) % 32 - 16
    px[h // 3: h // 2, w // 4: w // 2] = (250, 20, 30)
    return np.clip(px, 0, 255).astype(np.uint8)


def alpha():
    y, x = np.mgrid[0:H, 0:W]
    return np.clip(330 - np.hypot((x - W / 2) * 24, (y - H / 2) * 28), 0, 255).astype(np.uint8)


def png(px, depth, kind, palette=None, trns=None, interlaced=False):
    """A PNG of any depth; `px` is [H, W] or [H, W, C]."""
    px = np.asarray(px)
    h, w = px.shape[:2]

    def rows(part):
        out = b""
        for row in part.reshape(part.shape[0], -1):
            if depth == 16:
                data = row.astype(">u2").tobytes()
            elif depth == 8:
                data = row.astype(np.uint8).tobytes()
            else:
                bits = (row[:, None] >> np.arange(depth - 1, -1, -1)) & 1
                data = np.packbits(bits.astype(np.uint8).reshape(-1)).tobytes()
            out += b"\0" + data
        return out

    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)] if interlaced else [(0, 0, 1, 1)]
    raw = b"".join(rows(px[y::dy, x::dx]) for y, x, dy, dx in passes if px[y::dy, x::dx].size)

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, kind, 0, 0, int(interlaced)))
            + (chunk(b"PLTE", palette) if palette else b"") + (chunk(b"tRNS", trns) if trns else b"")
            + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


def saved(im, format, **kw):
    out = io.BytesIO()
    im.save(out, format, **kw)
    return out.getvalue()


def orientation(code):
    exif = Image.Exif()
    exif[0x0112] = code
    return exif


def sources():
    px = scene()
    rgb, grey, a = Image.fromarray(px), Image.fromarray(px).convert("L"), Image.fromarray(alpha())
    rgba = rgb.copy()
    rgba.putalpha(a)
    la = rgba.convert("LA")
    cmyk = Image.merge("CMYK", [*Image.fromarray(255 - px).split(), grey.point(lambda v: v // 3)])
    bilevel = grey.point(lambda v: 255 * (v % 64 > 31)).convert("1")
    pal = rgb.quantize(200)
    wide = px.astype(np.uint16) * 257 + np.frombuffer(noise(W * H * 3, 2), np.uint8).reshape(H, W, 3)
    g8, a8 = np.asarray(grey), np.asarray(a)
    g16 = (np.arange(W * H, dtype=np.uint32) * 97 % 700).astype(np.uint16).reshape(H, W)  # around 255, where the clip is
    colors = noise(768, 3)

    yield "png_1.png", png(np.asarray(bilevel).astype(np.uint8), 1, 0)
    yield "png_l2.png", png(g8 >> 6, 2, 0)
    yield "png_l4.png", png(g8 >> 4, 4, 0)
    yield "png_l8.png", png(g8, 8, 0)
    yield "png_l8_trns.png", png(g8, 8, 0, trns=b"\0\x80")
    yield "png_l16.png", png(g16, 16, 0)
    yield "png_l16_bright.png", png(wide[..., 0], 16, 0)
    yield "png_la8.png", png(np.dstack([g8, a8]), 8, 4)
    yield "png_la16.png", png(np.dstack([g8, a8]).astype(np.uint16) * 257 - 1 * (g8[..., None] > 99), 16, 4)
    yield "png_rgb8.png", png(px, 8, 2)
    yield "png_rgb8_trns.png", png(px, 8, 2, trns=struct.pack(">HHH", 250, 20, 30))
    yield "png_rgb16.png", png(wide, 16, 2)
    yield "png_rgba8.png", png(np.asarray(rgba), 8, 6)
    yield "png_rgba16.png", png(np.asarray(rgba).astype(np.uint16) * 257, 16, 6)
    for bits in (1, 2, 4, 8):
        indices = g8 >> (8 - bits)
        yield f"png_p{bits}.png", png(indices, bits, 3, palette=colors[:3 << bits])
        yield f"png_p{bits}_interlaced.png", png(indices, bits, 3, palette=colors[:3 << bits], interlaced=True)
    yield "png_p8_short_palette.png", png(g8, 8, 3, palette=colors[:300])
    yield "png_p8_trns_one.png", png(g8, 8, 3, palette=colors, trns=b"\xff" * 7 + b"\0")
    yield "png_p8_trns_many.png", png(g8, 8, 3, palette=colors, trns=noise(256, 4))
    yield "png_l1_interlaced.png", png(g8 >> 7, 1, 0, interlaced=True)
    yield "png_rgb8_interlaced.png", png(px, 8, 2, interlaced=True)
    yield "png_rgba16_interlaced.png", png(np.asarray(rgba).astype(np.uint16) * 257, 16, 6, interlaced=True)
    yield "png_animated.png", saved(rgb, "PNG", save_all=True, append_images=[rgb.rotate(180)], duration=9)
    yield "png_exif6.png", saved(rgb, "PNG", exif=orientation(6))
    for w, h in ((1, 1), (1, 7), (7, 1), (37, 53), (640, 5), (5, 320)):
        yield f"size_{w}x{h}.png", png(scene(w, h), 8, 2)

    frame = saved(pal, "GIF")
    yield "gif_p.gif", frame
    yield "gif_l.gif", saved(grey, "GIF")
    yield "gif_transparent.gif", saved(pal, "GIF", transparency=5)
    yield "gif_animated.gif", saved(pal, "GIF", save_all=True, append_images=[rgb.rotate(180).quantize(64)], duration=90)
    screen = struct.pack("<HH", W + 9, H + 4)
    yield "gif_small_frame.gif", frame[:6] + screen + frame[10:]
    frame = saved(pal, "GIF", transparency=7)
    yield "gif_small_frame_transparent.gif", frame[:6] + screen + frame[10:]
    yield "gif_large_frame.gif", frame[:6] + struct.pack("<HH", W - 9, H - 4) + frame[10:]

    for name, im in {"1": bilevel, "l": grey, "p": pal, "rgb": rgb, "rgba": rgba}.items():
        yield f"bmp_{name}.bmp", saved(im, "BMP")
    yield "webp_lossy.webp", saved(rgb, "WEBP", quality=80)
    yield "webp_lossy_alpha.webp", saved(rgba, "WEBP", quality=80)
    yield "webp_lossless.webp", saved(rgb, "WEBP", lossless=True)
    yield "webp_lossless_alpha.webp", saved(rgba, "WEBP", lossless=True, exact=True)
    yield "webp_animated.webp", saved(rgb, "WEBP", lossless=True, save_all=True, append_images=[rgb.rotate(180)], duration=90)
    yield "webp_exif8.webp", saved(rgb, "WEBP", lossless=True, exif=orientation(8))
    for name, im in {"1": bilevel, "l": grey, "la": la, "p": pal, "rgb": rgb, "rgba": rgba, "cmyk": cmyk, "i16": Image.fromarray(g16)}.items():
        yield f"tiff_{name}.tif", saved(im, "TIFF")
    for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        yield f"tiff_rgb_{name.removeprefix('tiff_')}.tif", saved(rgb, "TIFF", compression=name)
    yield "tiff_orientation3.tif", saved(rgb, "TIFF", tiffinfo={0x0112: 3})
    yield "pnm_1.pbm", saved(bilevel, "PPM")
    yield "pnm_l.pgm", saved(grey, "PPM")
    yield "pnm_rgb.ppm", saved(rgb, "PPM")
    yield "pnm_l16.pgm", b"P5 %d %d 65535\n" % (W, H) + g16.astype(">u2").tobytes()
    yield "pnm_rgb16.ppm", b"P6 %d %d 65535\n" % (W, H) + wide.astype(">u2").tobytes()
    yield "pnm_l_max15.pgm", b"P5 %d %d 15\n" % (W, H) + (g8 >> 4).tobytes()
    yield "pnm_text.ppm", b"P3 %d %d 255\n" % (W, H) + " ".join(map(str, px.reshape(-1))).encode()
    for name, im in {"l": grey, "rgb": rgb, "rgba": rgba, "p": pal}.items():
        yield f"tga_{name}.tga", saved(im, "TGA")
    yield "tga_rgb_rle.tga", saved(rgb, "TGA", compression="tga_rle")
    yield "ico_rgba.ico", saved(rgba.resize((24, 24)), "ICO", sizes=[(16, 16), (24, 24)])
    yield "qoi_rgba.qoi", saved(rgba, "QOI")

    for name, kw in {"420": {"subsampling": 2}, "422": {"subsampling": 1}, "444": {"subsampling": 0}, "progressive": {"progressive": True},
                     "restart": {"restart_marker_rows": 1}, "adobe_rgb": {"keep_rgb": True}, "q30": {"quality": 30}}.items():
        yield f"jpeg_{name}.jpg", saved(rgb, "JPEG", **{"quality": 90, **kw})
    yield "jpeg_l.jpg", saved(grey, "JPEG", quality=90)
    yield "jpeg_cmyk.jpg", saved(cmyk, "JPEG", quality=90)
    for code in range(1, 9):
        yield f"jpeg_exif{code}.jpg", saved(rgb, "JPEG", quality=90, exif=orientation(code))
    yield "jpeg_xmp5.jpg", saved(rgb, "JPEG", quality=90, xmp=b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="5"/></x:xmpmeta>')


def processed(rgb, config):
    """ChineseCLIPImageProcessor. It fails on a shortest edge: what it would ask for is computed by its own function."""
    size = config.get("size")
    if isinstance(size, int):
        size = get_resize_output_image_size(np.asarray(rgb), size, default_to_square=False, input_data_format="channels_last")
    kw = {k: config[k] for k in ("resample", "do_rescale", "do_normalize", "rescale_factor") if k in config}
    if "mean" in config:
        kw |= {"image_mean": config["mean"], "image_std": config["std"]}
    crop = config.get("crop")
    out = ChineseCLIPImageProcessor()(
        rgb, do_resize=size is not None, size={"height": size[0], "width": size[1]} if size else {"height": 1, "width": 1},
        do_center_crop=crop is not None, crop_size={"height": crop[0], "width": crop[1]} if crop else None,
        input_data_format="channels_last", **kw)["pixel_values"][0]
    return np.ascontiguousarray(out).astype(np.float32)


def transformed(im, config):
    """cn_clip's image_transform, with the size and filter of the configuration."""
    filters = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
    published = cn_utils.image_transform(8).transforms
    steps = [Resize(config["size"], InterpolationMode(filters[config.get("resample", 3)]))] if "size" in config else []
    steps += [published[1]]
    if not config.get("do_rescale", True):
        steps += [lambda im: np.asarray(im).astype(np.float32).transpose(2, 0, 1)]
        if config.get("do_normalize", True):
            mean, std = (np.array(v, np.float32)[:, None, None] for v in (published[3].mean, published[3].std))
            steps += [lambda t: (t - mean) / std]
    else:
        steps += [ToTensor()]
        if config.get("do_normalize", True):
            steps += [Normalize(published[3].mean, published[3].std)]
    return np.ascontiguousarray(np.asarray(Compose(steps)(im)), np.float32)


def resizes():
    sizes = [(1, 1), (1, 7), (7, 1), (2, 3), (37, 53), (64, 48), (320, 3), (3, 320), (101, 67), (40, 90)]
    targets = [(1, 1), (5, 9), (37, 53), (64, 64), (100, 30), (224, 2), (3, 224), (30, 60), (30, 71)]
    for number, (w, h) in enumerate(sizes):
        for channels in (1, 2, 3, 4):
            data = noise(w * h * channels, 100 + number * 4 + channels)
            planes = np.frombuffer(data, np.uint8).reshape(h, w, channels)
            bands = [Image.fromarray(np.ascontiguousarray(planes[..., c])) for c in range(channels)]
            for to in targets:
                for code in range(6):
                    out = np.dstack([np.asarray(band.resize(to, code)) for band in bands])
                    if channels == 3:
                        assert (np.asarray(Image.merge("RGB", bands).resize(to, code)) == out).all()
                    yield [w, h, channels, *to, code, crc(out.tobytes())]


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "image"
    out.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, data in sources():
        (out / name).write_bytes(data)
        im = Image.open(io.BytesIO(data))
        row = {"format": im.format, "mode": im.mode, "size": im.size}
        rgb = load_image(str(out / name))
        row |= {"upright": rgb.size, "rgb": crc(rgb.tobytes()), "hf": {}, "cn_clip": {}}
        for key, config in CONFIGS.items():
            row["hf"][key] = crc(processed(rgb, config).tobytes())
            if key not in CROPS:
                row["cn_clip"][key] = crc(transformed(Image.open(io.BytesIO(data)), config).tobytes())
        if name.startswith(("jpeg", "webp_lossy")):
            (out / (name + ".rgb")).write_bytes(rgb.tobytes())
        files[name] = row
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(row)}" for name, row in files.items())
    cases = ",\n".join(json.dumps(case) for case in resizes())
    pins = {package: wanted for package, (_, wanted) in PINS.items()}
    (out / "expected.json").write_text(
        f'{{"pins": {json.dumps(pins)},\n"configs": {json.dumps(CONFIGS)},\n"files": {{\n{rows}\n}},\n"resize": [\n{cases}\n]}}\n')
    print(len(files), "pictures")


if __name__ == "__main__":
    main()
