"""Makes tensors with the libraries that models are trained with, for `make fidelity`.

    python fidelity.py DIRECTORY

It writes to the directory

    N.npy         what a reference makes of a picture
    residues/     drawn pictures whose sizes leave every remainder of 4, 14 and 32
    cases.json    for each: the preset or resampling, the reference, the picture, the
                  output's keys as in the config file
    ../../../transform/testdata/sizes.json, in the repository: the sizes of tensors that follow
                  from the picture's, for every test run
    pictures/     drawn pictures of the sizes of cameras

requirements-fidelity.txt has the versions. Nothing here is our arithmetic: each
reference is called as its users call it.
"""

import importlib.metadata
import json
import os
import pathlib
import sys

os.environ["KERAS_BACKEND"] = "torch"

import cv2
import keras
import numpy as np
import timm
import torch
import torchvision
import transformers
from PIL import Image
from timm.data import create_transform, resolve_data_config
from timm.models import get_pretrained_cfg
from torchvision import transforms
from torchvision.models import ResNet50_Weights
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional
from transformers.models.clip import CLIPImageProcessor, CLIPImageProcessorPil
from ultralytics.data.augment import LetterBox, classify_transforms

import golden

cases = []
target = pathlib.Path(sys.argv[1])
TABLE = json.loads((golden.HERE / "../../presets.json").read_text())


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
        resampling_of_torch(path, w, h, output)


def resampling_of_torch(path, w, h, output):
    """Of tensors of bytes by torchvision, and of floats from 0 to 1 by PyTorch itself."""
    rgb = np.array(read_pillow(path))
    for name, mode in golden.TORCH.items():
        for antialias in [True, False]:
            keys = output | {"resize": name} | ({} if antialias else {"antialias": False})
            row = f"resize: {name}{'' if antialias else ', antialias: false'}"
            pixels = functional.resize(torch.from_numpy(rgb).permute(2, 0, 1), [h, w], interpolation=InterpolationMode(mode),
                                       antialias=antialias).permute(1, 2, 0).numpy()
            case(row, f"v2.functional.resize, uint8 ({version('torchvision')})", path, keys, pixels[None])
            floats = golden.interpolate(rgb.astype(np.float32) / 255, w, h, mode, antialias)
            keys = {k: v for k, v in keys.items() if k != "dtype"} | {"resize_dtype": "float32"}
            case(f"{row}, resize_dtype: float32", f"interpolate, float32 ({version('torch')})", path, keys, floats[None])


def draw_residues():
    """Pictures whose widths and heights leave every remainder of a division by 4, 14 and 32."""
    folder = target / "residues"
    folder.mkdir()
    for i in range(32):
        size = (96 + i, 140 + 11 * i % 32) if i % 2 else (260 - 3 * i, 128 + 7 * i % 32)
        Image.fromarray(golden.draw(*size, 200 + i, noise=4)).save(folder / f"{size[0]}x{size[1]}.jpg", quality=90)
    sizes = [tuple(map(int, p.stem.split("x"))) for p in folder.iterdir()]
    for n in (4, 14, 32):
        assert {w % n for w, _ in sizes} == {h % n for _, h in sizes} == set(range(n)), f"remainders of {n} are missing"
    return sorted(folder.iterdir())


def processor(name):
    """The processor of transformers that a recorded file describes, and what it says of itself."""
    config = json.loads((golden.HERE / "processors" / f"{name}.json").read_text())
    config = {k: v for k, v in config.items() if not k.startswith("_")}
    kind = config.pop("image_processor_type")
    if hasattr(transformers, kind + "Pil"):
        kind += "Pil"
    return getattr(transformers, kind)(**config), f"{kind} ({version('transformers')})"


def unpatched(features):
    """The picture that Qwen's processor cuts into patches, put together again."""
    (_, rows, columns), patches = features["image_grid_thw"][0], features["pixel_values"]
    side, merge = 14, 2
    x = patches.reshape(rows // merge, columns // merge, merge, merge, 3, 2, side, side)[:, :, :, :, :, 0]
    return x.transpose(4, 0, 2, 5, 1, 3, 6).reshape(1, 3, rows * side, columns * side)


def with_transformers(name, path):
    prepare, reference = processor(name)
    features = prepare(read_pillow(path), return_tensors="np")
    tensor = unpatched(features) if "image_grid_thw" in features else features["pixel_values"]
    case(name, reference, path, {"preset": name}, tensor.astype(np.float32))


def with_ultralytics(name, path):
    if name == "yolo-cls":
        tensor = classify_transforms(224)(read_pillow(path))[None].numpy()
        reference = f"classify_transforms ({version('ultralytics')})"
    else:
        options = {"auto": True, "stride": 32} if name == "yolo-rect" else {"auto": False, "scale_fill": True}
        pixels = LetterBox(new_shape=(640, 640), **options)(image=read_cv2(path))[:, :, ::-1]
        tensor = pixels.transpose(2, 0, 1)[None].astype(np.float32) / 255
        reference = f"LetterBox, {options} ({version('ultralytics')})"
    case(name, reference, path, {"preset": name}, tensor)


def with_yolox(name, path):
    """YOLOX's preproc, whose package needs its whole training code: its lines, rebuilt."""
    image = read_cv2(path)
    r = min(640 / image.shape[0], 640 / image.shape[1])
    size = int(image.shape[1] * r), int(image.shape[0] * r)
    padded = np.full((640, 640, 3), 114, np.uint8)
    padded[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    case(name, f"YOLOX's preproc, rebuilt ({version('opencv-python-headless')})", path, {"preset": name},
         padded.transpose(2, 0, 1)[None].astype(np.float32))


def with_meta(name, path):
    """SAM2Transforms, whose package needs Hydra and a compiler: its lines, rebuilt."""
    prepare = transforms.Compose([transforms.ToTensor(), transforms.Resize((1024, 1024)),
                                  transforms.Normalize(golden.IMAGENET["mean"], golden.IMAGENET["std"])])
    case(name, f"SAM2Transforms, rebuilt ({version('torchvision')})", path, {"preset": name}, prepare(read_pillow(path))[None].numpy())


def with_roboflow(name, path):
    """RFDETR.predict, whose package needs much else: its lines, rebuilt."""
    side = {"rf-detr-nano": 384, "rf-detr-small": 512, "rf-detr-medium": 576, "rf-detr-large": 704}[name]
    tensor = transforms.functional.to_tensor(read_pillow(path))
    tensor = transforms.functional.resize(tensor, [side, side], antialias=False)
    tensor = transforms.functional.normalize(tensor, golden.IMAGENET["mean"], golden.IMAGENET["std"])
    case(name, f"RFDETR.predict, rebuilt ({version('torchvision')})", path, {"preset": name}, tensor[None].numpy())


def with_openvino(name, path):
    """What the model's README says of its input, and the accuracy checker's resize does, written out."""
    row = next(r for r in TABLE if r["name"] == name)
    size = tuple(map(int, row["output"]["size"].split("x")))
    pixels = cv2.resize(read_cv2(path), size, interpolation=cv2.INTER_LINEAR)
    case("omz-…, {openvino} presets", f"the README's input, cv2.resize ({version('opencv-python-headless')})", path, {"preset": name},
         pixels.transpose(2, 0, 1)[None].astype(np.float32))


def with_tflite(name, path):
    """The lines of TensorFlow Lite's label_image.py that prepare a picture, with the size of the model's input."""
    output = next(r for r in TABLE if r["name"] == name)["output"]
    size = tuple(map(int, output["size"].split("x")))
    tensor = np.expand_dims(read_pillow(path).resize(size), axis=0)
    if "dtype" not in output:
        tensor = (np.float32(tensor) - 127.5) / 127.5
    case(name, f"label_image.py, rebuilt ({version('pillow')})", path, {"preset": name}, tensor)


def with_mediapipe(name, path):
    """ImageToTensorCalculator on the CPU with keep_aspect_ratio, whose calculators Python cannot call: its
    converter's calls of OpenCV, written out."""
    output = next(r for r in TABLE if r["name"] == name)["output"]
    side = int(output["size"].split("x")[0])
    image = read_cv2(path)[:, :, ::-1]
    h, w = image.shape[:2]
    long = max(w, h)
    left, top = (w - long) / 2, (h - long) / 2
    corners = np.float32([[left, top + long], [left, top], [left + long, top], [left + long, top + long]])
    to = np.float32([[0, side], [0, 0], [side, 0], [side, side]])
    warped = cv2.warpPerspective(np.ascontiguousarray(image), cv2.getPerspectiveTransform(corners, to), (side, side),
                                 flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    tensor = warped.astype(np.float32) / 127.5 - 1 if "mean" in output else warped.astype(np.float32) / 255
    case("mediapipe-…, {mediapipe} presets", f"ImageToTensorCalculator, rebuilt ({version('opencv-python-headless')})", path,
         {"preset": name}, tensor[None])


def with_keras(name, path):
    module = {"keras-mobilenet": "mobilenet", "keras-resnet": "resnet", "keras-densenet": "densenet",
              "keras-efficientnet": "efficientnet"}[name]
    image = keras.utils.load_img(path, target_size=(224, 224), interpolation="bilinear")
    tensor = getattr(keras.applications, module).preprocess_input(keras.utils.img_to_array(image)[None])
    case(name, f"{module}.preprocess_input ({version('keras')})", path, {"preset": name}, np.asarray(tensor, np.float32))


def with_torchvision(name, path):
    weights, _, member = name.removeprefix("torchvision/").partition(".")
    where = next(m for m in (torchvision.models, torchvision.models.detection, torchvision.models.segmentation) if hasattr(m, weights))
    image = read_pillow(path)
    tensor = getattr(where, weights)[member].transforms()(image)
    case("torchvision/…, {torchvision} presets", f"weights.transforms() ({version('torchvision')})", path, {"preset": name}, tensor[None].numpy())


def with_timm(name, path):
    config = get_pretrained_cfg(name.removeprefix("timm/"))
    prepare = create_transform(**resolve_data_config(pretrained_cfg=config.to_dict()))
    case("timm/…, {timm} presets", f"create_transform ({version('timm')})", path, {"preset": name}, prepare(read_pillow(path))[None].numpy())


def presets(residues, cameras):
    """The rows of the table of presets: by themselves with all pictures, and those of the names
    of models with some, which are others for each."""
    how = {"transformers": with_transformers, "ultralytics": with_ultralytics, "megvii": with_yolox, "keras": with_keras,
           "meta": with_meta, "roboflow": with_roboflow, "openvino": with_openvino, "tflite": with_tflite,
           "mediapipe": with_mediapipe,
           "torchvision": with_torchvision, "timm": with_timm}
    counts = {}
    for i, row in enumerate(r for r in TABLE if r["name"] not in ("yolo", "imagenet", "clip", "raw", "none")):
        counts[row["family"]] = counts.get(row["family"], 0) + 1
        some = [residues[(5 * i + k) % len(residues)] for k in range(4)] + [cameras[i % len(cameras)]]
        for path in some if row.get("models") else residues + [c for c in cameras if c.stem in ("1920x1080", "704x576")]:
            how[row["family"]](row["name"], path)
    rows = [[c["row"], *Image.open(c["picture"]).size, *reversed(np.load(target / f"{i}.npy", mmap_mode="r").shape[2:])]
            for i, c in enumerate(cases) if c["row"] in ("detr", "qwen2-vl", "qwen2-vl-1m", "yolo-rect")]
    lines = ",\n".join(" " + json.dumps(r) for r in rows)
    (golden.HERE / "../../testdata/sizes.json").write_text(f"[\n{lines}\n]\n")
    for c in cases:
        c["row"] = c["row"].format(**counts) if "{" in c["row"] else c["row"]


def main():
    target.mkdir(parents=True)
    cameras, residues = draw_cameras(), draw_residues()
    pictures = sorted(golden.PICTURES.iterdir()) + cameras
    for path in pictures:
        raw(path)
    # Where the two decoders differ, see raw, so would all that comes after them.
    pictures = [p for p in pictures if p.name not in ("cmyk.jpg", "gray16.png")]
    for make in [yolo, imagenet, clip, resampling]:
        for path in pictures:
            make(path)
    presets(residues, cameras)
    (target / "cases.json").write_text(json.dumps(cases, indent=1))
    print(f"{len(cases)} tensors of {len(pictures)} pictures")


if __name__ == "__main__":
    main()
