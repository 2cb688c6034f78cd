"""Makes the golden vectors: pictures, and what the reference libraries make of them.

    python3 -m venv venv && venv/bin/pip install -r requirements-fidelity.txt
    venv/bin/python golden.py

It writes beside itself

    pictures/       small JPEGs and PNGs of many kinds
    cases.json      one entry per test: the picture, the output's keys as in the
                    config file, how closely the tensor must match
    expected.npz    the tensor of each case, by name
    ../../testdata/geometry.json
                    sizes and offsets as the preprocessors work them out

The references are written with the libraries' own calls and the published
arithmetic of the preprocessors, and share nothing with the code under test.
"""

import json
import pathlib
import struct
import zlib

import cv2
import numpy as np
import torch
from PIL import Image

HERE = pathlib.Path(__file__).parent
PICTURES = HERE / "pictures"
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
CLIP = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}


# Pictures


def draw(width, height, seed, noise=6):
    """A picture with smooth shades, sharp edges and some noise, RGB."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(float)
    planes = []
    for c in range(3):
        a, b, p = rng.uniform(0.5, 3, 3)
        planes.append(128 + 80 * np.sin(a * 3 * x / width + p) * np.cos(b * 3 * y / height + c))
    m = np.stack(planes, axis=2)
    for _ in range(6):
        cx, cy, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.05, 0.3) * max(width, height)
        m[(x - cx) ** 2 + (y - cy) ** 2 < r * r] = rng.uniform(0, 255, 3)
    m[:, : max(width // 12, 1)][::2] = 250  # fine stripes
    return (m + rng.normal(0, noise, m.shape)).clip(0, 255).astype(np.uint8)


def jpeg(name, pixels, **options):
    Image.fromarray(pixels).save(PICTURES / name, "JPEG", **({"quality": 85, "subsampling": "4:2:0"} | options))


def jpegs():
    jpeg("420.jpg", draw(200, 112, 1))
    jpeg("420-odd.jpg", draw(97, 61, 2))
    jpeg("422.jpg", draw(97, 61, 3), subsampling="4:2:2")
    jpeg("444.jpg", draw(64, 48, 4), subsampling="4:4:4")
    jpeg("gray.jpg", draw(64, 48, 5)[:, :, 1])
    jpeg("progressive.jpg", draw(120, 90, 6), progressive=True)
    jpeg("restart.jpg", draw(120, 90, 7), restart_marker_blocks=3)
    jpeg("tall.jpg", draw(31, 200, 8))
    jpeg("wide.jpg", draw(200, 7, 9))
    jpeg("pixel.jpg", draw(1, 1, 10))
    jpeg("large.jpg", draw(480, 270, 11, noise=3))
    cmyk = np.dstack([draw(40, 30, 13), draw(40, 30, 14)[:, :, 0]])
    Image.fromarray(cmyk, "CMYK").save(PICTURES / "cmyk.jpg", quality=90)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        jpeg(f"exif-{orientation}.jpg", draw(24, 16, 15), exif=exif)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def interlaced(pixels):
    """A PNG with Adam7 interlacing, which Pillow reads but does not write."""
    h, w = pixels.shape[:2]
    rows = b""
    for x, y, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        rows += b"".join(b"\0" + row.tobytes() for row in pixels[y::dy, x::dx] if row.size)
    header = struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 1)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def pngs():
    rgb = draw(40, 30, 20)
    alpha = draw(40, 30, 21)[:, :, 0]
    deep = rgb.astype(np.uint16) * 257 - (alpha.astype(np.uint16) << 2)[:, :, None] % 200
    for name, mode, pixels in [
        ("rgb.png", "RGB", rgb),
        ("rgba.png", "RGBA", np.dstack([rgb, alpha])),
        ("gray.png", "L", alpha),
        ("gray-alpha.png", "LA", np.dstack([rgb[:, :, 0], alpha])),
    ]:
        Image.fromarray(pixels, mode).save(PICTURES / name)
    Image.fromarray(alpha).point(lambda v: 255 * (v > 127)).convert("1").save(PICTURES / "bits.png")
    palette = Image.fromarray(rgb).quantize(32)
    palette.save(PICTURES / "palette.png", transparency=bytes(range(32)))
    cv2.imwrite(str(PICTURES / "rgb16.png"), deep[:, :, ::-1])
    cv2.imwrite(str(PICTURES / "gray16.png"), deep[:, :, 0])
    (PICTURES / "interlaced.png").write_bytes(interlaced(rgb))


# References


def read_cv2(name):
    """BGR. EXIF orientation is not applied."""
    data = np.frombuffer((PICTURES / name).read_bytes(), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)


def read_pillow(name):
    return Image.open(PICTURES / name).convert("RGB")


CV2 = {"opencv-nearest": cv2.INTER_NEAREST, "opencv-linear": cv2.INTER_LINEAR,
       "opencv-cubic": cv2.INTER_CUBIC, "opencv-area": cv2.INTER_AREA}
PILLOW = {"pillow-bilinear": Image.Resampling.BILINEAR, "pillow-bicubic": Image.Resampling.BICUBIC,
          "pillow-lanczos": Image.Resampling.LANCZOS}


def letterbox_sizes(shape, width, height):
    """What Ultralytics' LetterBox (auto=False, scaleup=True, center=True) makes of an image's shape."""
    r = min(height / shape[0], width / shape[1])
    new_unpad = max(round(shape[1] * r), 1), max(round(shape[0] * r), 1)
    dw, dh = (width - new_unpad[0]) / 2, (height - new_unpad[1]) / 2
    top, bottom = round(dh - 0.1), round(dh + 0.1)
    left, right = round(dw - 0.1), round(dw + 0.1)
    return new_unpad, top, bottom, left, right


def letterbox(image, width, height, interpolation, pad):
    """Ultralytics' LetterBox."""
    new_unpad, top, bottom, left, right = letterbox_sizes(image.shape[:2], width, height)
    if image.shape[1::-1] != new_unpad:
        image = cv2.resize(image, new_unpad, interpolation=interpolation)
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(pad,) * 3)


def torchvision_size(w, h, short):
    long = int(short * max(w, h) / min(w, h))
    return (short, long) if w <= h else (long, short)


def torchvision_resize(image, short, resample):
    """transforms.Resize(short) of a PIL image."""
    size = torchvision_size(*image.size, short)
    return image if image.size == size else image.resize(size, resample)


def torchvision_corner(w, h, side):
    return int(round((w - side) / 2.0)), int(round((h - side) / 2.0))


def torchvision_center_crop(image, side):
    """transforms.CenterCrop(side) of a PIL image that is at least as large."""
    left, top = torchvision_corner(*image.size, side)
    return image.crop((left, top, left + side, top + side))


def normalize(image, mean=(0, 0, 0), std=(1, 1, 1)):
    """torchvision's ToTensor and Normalize: HWC bytes to 1CHW float32."""
    x = image.astype(np.float32) / np.float32(255)
    x = (x - np.float32(mean)) / np.float32(std)
    return np.ascontiguousarray(x.transpose(2, 0, 1)[None])


# Cases

cases, expected = [], {}

EXACT = {}
OPENCV = {"max": 1, "share": 0.001}
FLOAT = {"max": 1e-6}
FLOATS = {"max": 1e-5}
BYTES = {"dtype": "uint8", "layout": "nhwc"}


def case(name, picture, output, tensor, match):
    assert name not in expected, name
    cases.append({"name": name, "picture": picture, "output": output, "match": match})
    expected[name] = np.ascontiguousarray(tensor)


def decoding():
    for path in sorted(PICTURES.iterdir()):
        if path.name == "large.jpg":
            continue  # like 420.jpg, and large in expected.npz
        bgr = read_cv2(path.name)
        match = EXACT
        if path.name == "cmyk.jpg":
            # cv2 truncates where Pillow rounds, twice.
            rgb = np.asarray(read_pillow(path.name))
            assert abs(rgb.astype(int) - bgr[:, :, ::-1]).max() <= 2
        elif path.name == "gray16.png":
            rgb = bgr[:, :, ::-1]  # Pillow clips 16 bits of gray to 8
        else:
            rgb = bgr[:, :, ::-1]
            assert np.array_equal(rgb, np.asarray(read_pillow(path.name))), path
        case(f"decode/{path.name}", path.name, {"preset": "raw"}, rgb[None], match)
    case("decode/gray-of-color", "420-odd.jpg", {"preset": "raw", "color": "gray"},
         cv2.cvtColor(read_cv2("420-odd.jpg"), cv2.COLOR_BGR2GRAY)[None, :, :, None], EXACT)
    case("decode/bgr", "420-odd.jpg", {"preset": "raw", "color": "bgr"}, read_cv2("420-odd.jpg")[None], EXACT)


def yolo():
    for picture, side in [("wide.jpg", 640), ("large.jpg", 160), ("420-odd.jpg", 128), ("tall.jpg", 96),
                          ("gray.jpg", 96), ("pixel.jpg", 32), ("rgba.png", 96)]:
        boxed = letterbox(read_cv2(picture), side, side, cv2.INTER_LINEAR, 114)[:, :, ::-1]
        output = {"preset": "yolo"} | ({} if side == 640 else {"size": f"{side}x{side}"})
        case(f"yolo/{picture}", picture, output, normalize(boxed), FLOAT)
    boxed = letterbox(read_cv2("422.jpg"), 75, 100, cv2.INTER_LINEAR, 7)
    case("letterbox/odd-bars", "422.jpg", {"size": "75x100", "pad": 7, "color": "bgr"} | BYTES, boxed[None], OPENCV)
    half = (letterbox(read_cv2("444.jpg"), 80, 80, cv2.INTER_LINEAR, 114)[:, :, ::-1].astype(np.float32) / 255)
    case("letterbox/float16", "444.jpg", {"preset": "yolo", "size": "80x80", "dtype": "float16"},
         half.astype(np.float16).transpose(2, 0, 1)[None], EXACT)
    case("letterbox/float16-nhwc", "444.jpg", {"preset": "yolo", "size": "80x80", "dtype": "float16", "layout": "nhwc"},
         half.astype(np.float16)[None], EXACT)
    case("letterbox/float32-nhwc", "444.jpg", {"preset": "yolo", "size": "80x80", "layout": "nhwc"},
         half[None], FLOAT)
    case("letterbox/uint8-nchw", "444.jpg", {"preset": "yolo", "size": "80x80", "dtype": "uint8"},
         (half * 255).round().astype(np.uint8).transpose(2, 0, 1)[None], EXACT)


def classifiers():
    # A difference of one in a pixel is 0.01 in a float: these are exact as well.
    for picture in ["420.jpg", "large.jpg", "tall.jpg", "422.jpg", "gray.png"]:
        for preset, short, resample, numbers in [("imagenet", (8, 7), Image.Resampling.BILINEAR, IMAGENET),
                                                 ("clip", (1, 1), Image.Resampling.BICUBIC, CLIP)]:
            side = 224 if picture == "420.jpg" else 98
            image = torchvision_resize(read_pillow(picture), side * short[0] // short[1], resample)
            pixels = np.asarray(torchvision_center_crop(image, side))
            if side == 224:
                case(f"{preset}/{picture}", picture, {"preset": preset} | BYTES, pixels[None], EXACT)
                continue
            case(f"{preset}/{picture}", picture, {"preset": preset, "size": f"{side}x{side}"},
                 normalize(pixels, **numbers), FLOAT)


def resampling():
    for picture, (w, h) in [("large.jpg", (80, 45)), ("444.jpg", (90, 75)), ("420-odd.jpg", (30, 80)),
                            ("420-odd.jpg", (97, 30)), ("420-odd.jpg", (40, 61)), ("large.jpg", (96, 54)),
                            ("progressive.jpg", (60, 45)), ("large.jpg", (3, 2)), ("pixel.jpg", (5, 4)),
                            ("wide.jpg", (60, 3)), ("rgb.png", (39, 31)), ("tall.jpg", (45, 60)),
                            ("422.jpg", (90, 40)), ("gray.png", (36, 21)), ("gray.png", (36, 22))]:
        output = {"fit": "stretch", "size": f"{w}x{h}"} | BYTES
        for name, interpolation in CV2.items():
            pixels = cv2.resize(read_cv2(picture), (w, h), interpolation=interpolation)[:, :, ::-1]
            case(f"stretch/{name}/{picture}-{w}x{h}", picture, output | {"resize": name}, pixels[None], OPENCV)
        for name, resample in PILLOW.items():
            pixels = np.asarray(read_pillow(picture).resize((w, h), resample))
            case(f"stretch/{name}/{picture}-{w}x{h}", picture, output | {"resize": name}, pixels[None], EXACT)
    gray = cv2.cvtColor(read_cv2("420-odd.jpg"), cv2.COLOR_BGR2GRAY)
    output = {"fit": "stretch", "size": "60x50", "color": "gray"} | BYTES
    case("gray/opencv-linear", "420-odd.jpg", output, cv2.resize(gray, (60, 50))[None, :, :, None], OPENCV)
    case("gray/pillow-lanczos", "420-odd.jpg", output | {"resize": "pillow-lanczos"},
         np.asarray(Image.fromarray(gray).resize((60, 50), Image.Resampling.LANCZOS))[None, :, :, None], EXACT)


TORCH = {"torch-bilinear": "bilinear", "torch-bicubic": "bicubic"}


def interpolate(pixels, w, h, mode, antialias):
    """torch.nn.functional.interpolate of a HWC array of bytes, or of floats."""
    x = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].contiguous()
    y = torch.nn.functional.interpolate(x, size=(h, w), mode=mode, antialias=antialias, align_corners=False)
    return y[0].permute(1, 2, 0).numpy()


def resampling_of_torch():
    """Bytes are exact. How floats are rounded depends on the processor's instructions."""
    for picture, (w, h) in [("large.jpg", (80, 45)), ("444.jpg", (90, 75)), ("420-odd.jpg", (30, 80)),
                            ("420-odd.jpg", (97, 30)), ("420-odd.jpg", (40, 61)), ("pixel.jpg", (5, 4)),
                            ("wide.jpg", (60, 3)), ("tall.jpg", (45, 60)), ("gray.png", (36, 21)), ("large.jpg", (3, 2))]:
        rgb = np.asarray(read_pillow(picture))
        for name, mode in TORCH.items():
            for antialias in [True, False]:
                output = {"fit": "stretch", "size": f"{w}x{h}", "resize": name} | ({} if antialias else {"antialias": False})
                row = f"{name}{'' if antialias else '-plain'}/{picture}-{w}x{h}"
                case(f"stretch/{row}", picture, output | BYTES, interpolate(rgb, w, h, mode, antialias)[None], EXACT)
                if picture in ("large.jpg", "progressive.jpg", "tall.jpg") or w in (90, 40):
                    continue  # numbers that cannot be compressed
                floats = interpolate(rgb.astype(np.float32) / 255, w, h, mode, antialias)
                case(f"floats/{row}", picture, output | {"layout": "nhwc", "resize_dtype": "float32"}, floats[None], FLOATS)
    gray = cv2.cvtColor(read_cv2("420-odd.jpg"), cv2.COLOR_BGR2GRAY)[:, :, None]
    output = {"fit": "stretch", "size": "60x50", "color": "gray", "resize": "torch-bicubic", "layout": "nhwc"}
    case("gray/torch-bicubic", "420-odd.jpg", output | BYTES, interpolate(gray, 60, 50, "bicubic", True)[None], EXACT)
    case("gray/torch-floats", "420-odd.jpg", output | {"resize_dtype": "float32"},
         interpolate(gray.astype(np.float32) / 255, 60, 50, "bicubic", True)[None], FLOATS)
    x, y, w, h = 33, 20, 47, 31
    part = np.asarray(read_pillow("420-odd.jpg"))[y:y + h, x:x + w]
    output = {"fit": "crop", "size": "40x40", "roi": f"{x},{y},{w},{h}", "resize": "torch-bilinear"}
    resized = interpolate(part.astype(np.float32) / 255, int(40 * w / h), 40, "bilinear", True)
    left = int(round((resized.shape[1] - 40) / 2.0))
    case("roi/torch-floats", "420-odd.jpg", output | {"layout": "nhwc", "resize_dtype": "float32"},
         resized[None, :, left:left + 40], FLOATS)
    case("roi/torch-floats-nchw", "420-odd.jpg", output | {"color": "bgr", "resize_dtype": "float32"},
         resized[None, :, left:left + 40, ::-1].transpose(0, 3, 1, 2), FLOATS)


def regions():
    x, y, w, h = 33, 20, 47, 31
    output = {"fit": "stretch", "size": "64x40"} | BYTES
    part = read_cv2("420-odd.jpg")[y:y + h, x:x + w]
    case("roi/opencv-linear", "420-odd.jpg", output | {"roi": f"{x},{y},{w},{h}"},
         cv2.resize(part, (64, 40))[None, :, :, ::-1], OPENCV)
    case("roi/pillow-bicubic", "420-odd.jpg", output | {"roi": f"{x},{y},{w},{h}", "resize": "pillow-bicubic"},
         np.asarray(Image.fromarray(part[:, :, ::-1]).resize((64, 40), Image.Resampling.BICUBIC))[None], EXACT)
    gray = cv2.cvtColor(part, cv2.COLOR_BGR2GRAY)
    case("roi/gray", "420-odd.jpg", output | {"roi": f"{x},{y},{w},{h}", "color": "gray"},
         cv2.resize(gray, (64, 40))[None, :, :, None], OPENCV)
    half = read_cv2("large.jpg")[135:, 240:]
    case("roi/fractions", "large.jpg", {"preset": "yolo", "size": "80x80", "roi": "0.5,0.5,0.5,0.5"} | BYTES,
         letterbox(half, 80, 80, cv2.INTER_LINEAR, 114)[None, :, :, ::-1], OPENCV)


def order():
    """Which direction Pillow convolves first: for many sizes, what pillow.c goes by. Each direction rounds."""
    rng = np.random.default_rng(50)
    told = set()
    for _ in range(1000):
        w, h, to_w, to_h = map(int, rng.integers(1, 90, 4))
        if rng.random() < 0.5:  # at the boundary
            to_h = max(h - 2 * (w - to_w) + int(rng.integers(-1, 2)), 1)
        if to_w == w or to_h == h:
            continue
        image = Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8))
        how = Image.Resampling.BICUBIC
        both, rows, columns = (np.asarray(i.resize((to_w, to_h), how)) for i in
                               [image, image.resize((to_w, h), how), image.resize((w, to_h), how)])
        if not np.array_equal(rows, columns):
            first = to_h < h and h - to_h > 2 * (w - to_w)
            assert np.array_equal(both, columns if first else rows), (w, h, to_w, to_h)
            told.add(first)
    assert told == {True, False}


def halves():
    """float32 to float16, as bits."""
    rng = np.random.default_rng(30)
    bits = np.concatenate([
        rng.integers(0, 1 << 32, 2000, dtype=np.uint32),
        rng.integers(0x32000000, 0x48000000, 2000, dtype=np.uint32),  # around the halves' range
        np.arange(0x33000000 - 4, 0x33000000 + 4, dtype=np.uint32),  # half of the smallest
        np.arange(0x38800000 - 4, 0x38800000 + 4, dtype=np.uint32),  # the smallest normal
        np.arange(0x477ff000 - 4, 0x477ff000 + 4, dtype=np.uint32),  # where infinity begins
        np.array([0, 1 << 31, 0x7F800000, 0xFF800000, 0x7FC00000], dtype=np.uint32),
    ])
    with np.errstate(over="ignore"):
        expected["halves/out"] = bits.view(np.float32).astype(np.float16).view(np.uint16)
    expected["halves/in"] = bits


def geometry():
    """Sizes and offsets for many pictures: source, tensor, fit, resized, offset."""
    rng = np.random.default_rng(40)
    sources = [(1920, 1080), (1280, 720), (2304, 1296), (640, 480), (480, 640), (1, 1), (3840, 1), (1, 777), (500, 333)]
    sources += [tuple(map(int, rng.integers(1, 4000, 2))) for _ in range(60)]
    rows = []
    for w, h in sources:
        for tw, th in [(640, 640), (640, 384), tuple(map(int, rng.integers(1, 1300, 2)))]:
            size, top, bottom, left, right = letterbox_sizes((h, w), tw, th)
            assert left + size[0] + right == tw and top + size[1] + bottom == th
            rows.append([w, h, tw, th, "letterbox", *size, left, top])
        for side in [224, int(rng.integers(1, 600))]:
            size = torchvision_size(w, h, side)
            left, top = torchvision_corner(*size, side)
            rows.append([w, h, side, side, "crop", *size, -left, -top])
        for side, short in [(224, 256), (98, 112)]:
            size = torchvision_size(w, h, short)
            left, top = torchvision_corner(*size, side)
            rows.append([w, h, side, side, "short-side", *size, -left, -top])
    text = ",\n".join("  " + json.dumps(row) for row in rows)
    directory = HERE / ".." / ".." / "testdata"
    directory.mkdir(exist_ok=True)
    (directory / "geometry.json").write_text(f"[\n{text}\n]\n")


def main():
    PICTURES.mkdir(exist_ok=True)
    jpegs()
    pngs()
    for make in [decoding, yolo, classifiers, resampling, resampling_of_torch, regions, order, halves, geometry]:
        make()
    lines = ",\n".join("  " + json.dumps(c) for c in cases)
    (HERE / "cases.json").write_text(f"[\n{lines}\n]\n")
    np.savez_compressed(HERE / "expected.npz", **{k.replace("/", ":"): v for k, v in expected.items()})
    print(f"{len(cases)} cases; numpy {np.__version__}, pillow {Image.__version__}, cv2 {cv2.__version__}, torch {torch.__version__}")


if __name__ == "__main__":
    main()
