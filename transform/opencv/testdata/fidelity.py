"""Makes tensors with the libraries that models are trained with, for `make fidelity`.

    python fidelity.py DIRECTORY

It writes to the directory

    N.npy         what a reference makes of a picture
    cases.json    for each: the preset or resampling, the reference, the picture, the
                  output's keys as in the config file
    pictures/     drawn pictures of the sizes of cameras

requirements-fidelity.txt has the versions. Nothing here is our arithmetic: each
reference is called as its users call it.
"""

import importlib.metadata
import json
import pathlib
import sys

import cv2
import numpy as np
from PIL import Image
from torchvision import transforms
from torchvision.models import ResNet50_Weights
from transformers.models.clip import CLIPImageProcessor, CLIPImageProcessorPil
from ultralytics.data.augment import LetterBox

import golden

cases = []
target = pathlib.Path(sys.argv[1])


def version(*packages):
    return ", ".join(f"{p} {importlib.metadata.version(p)}" for p in packages)


def case(row, reference, picture, output, tensor):
    np.save(target / f"{len(cases)}.npy", np.ascontiguousarray(tensor))
    cases.append({"row": row, "reference": reference, "picture": str(picture.resolve()), "output": output})


def read_cv2(path):
    """BGR. EXIF orientation is not applied: cv2 and Ultralytics would, Pillow and torchvision would not."""
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)


def read_pillow(path):
    return Image.open(path).convert("RGB")


def draw_cameras():
    """Pictures as cameras make them, too large to be kept."""
    folder = target / "pictures"
    folder.mkdir()
    for i, (w, h) in enumerate([(1920, 1080), (1280, 720), (2304, 1296), (704, 576)]):
        Image.fromarray(golden.draw(w, h, 100 + i, noise=4)).save(folder / f"{w}x{h}.jpg", quality=82)
    return sorted(folder.iterdir())


def raw(path):
    output = {"preset": "raw"}
    if path.name != "cmyk.jpg":  # cv2 converts it to RGB less exactly than Pillow, which is the reference
        case("raw", f"cv2.imdecode ({version('opencv-python-headless')})", path, output, read_cv2(path)[None, :, :, ::-1])
    if path.name != "gray16.png":  # Pillow cuts 16 bits of gray off at 255; cv2 is the reference
        case("raw", f"Image.open ({version('pillow')})", path, output, np.asarray(read_pillow(path))[None])


def yolo(path):
    box = LetterBox(new_shape=(640, 640), auto=False, scaleup=True)
    pixels = box(image=read_cv2(path))[:, :, ::-1]
    tensor = pixels.transpose(2, 0, 1)[None].astype(np.float32) / 255
    case("yolo", f"LetterBox ({version('ultralytics')})", path, {"preset": "yolo"}, tensor)


def imagenet(path):
    tensor = ResNet50_Weights.IMAGENET1K_V1.transforms()(read_pillow(path))
    case("imagenet", f"ResNet50_Weights.transforms ({version('torchvision')})", path, {"preset": "imagenet"}, tensor[None].numpy())


def clip(path):
    image, output = read_pillow(path), {"preset": "clip"}
    openai = transforms.Compose([
        transforms.Resize(224, interpolation=transforms.InterpolationMode.BICUBIC),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize(golden.CLIP["mean"], golden.CLIP["std"]),
    ])
    case("clip", f"OpenAI's CLIP recipe, rebuilt ({version('torchvision')})", path, output, openai(image)[None].numpy())
    for processor in [CLIPImageProcessorPil, CLIPImageProcessor]:
        tensor = processor()(image, return_tensors="np")["pixel_values"]
        case("clip", f"{processor.__name__} ({version('transformers')})", path, output, tensor)


def resampling(path):
    for w, h in [(320, 240), (75, 100), (640, 360)]:
        output = {"fit": "stretch", "size": f"{w}x{h}", "dtype": "uint8", "layout": "nhwc"}
        for name, how in golden.CV2.items():
            pixels = cv2.resize(read_cv2(path), (w, h), interpolation=how)[:, :, ::-1]
            case(f"resize: {name}", f"cv2.resize ({version('opencv-python-headless')})", path, output | {"resize": name}, pixels[None])
        for name, how in golden.PILLOW.items():
            pixels = np.asarray(read_pillow(path).resize((w, h), how))
            case(f"resize: {name}", f"Image.resize ({version('pillow')})", path, output | {"resize": name}, pixels[None])


def main():
    target.mkdir(parents=True)
    pictures = sorted(golden.PICTURES.iterdir()) + draw_cameras()
    for path in pictures:
        raw(path)
    # Where the two decoders differ, see raw, so would all that comes after them.
    pictures = [p for p in pictures if p.name not in ("cmyk.jpg", "gray16.png")]
    for make in [yolo, imagenet, clip, resampling]:
        for path in pictures:
            make(path)
    (target / "cases.json").write_text(json.dumps(cases, indent=1))
    print(f"{len(cases)} tensors of {len(pictures)} pictures")


if __name__ == "__main__":
    main()
