"""Writes the rows of torchvision and timm in the table of presets, from what the libraries say.

    python presets.py

The other rows of ../../presets.json are written by hand, and stay. A row is one way to prepare
pictures, and has the names of all models that take it. Models that cannot be expressed are
printed, with the reason.
"""

import json
import math
import pathlib

import timm
import torchvision
from timm.data import resolve_data_config
from timm.models import get_pretrained_cfg
from torchvision.models import get_model_weights, list_models
from torchvision.transforms import _presets
from torchvision.transforms.functional import InterpolationMode

TABLE = pathlib.Path(__file__).parent / "../../presets.json"
KNOWN = {
    ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)): "ImageNet's mean and std",
    ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)): "-1 to 1",
    ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)): "0 to 1",
    ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)): "CLIP's mean and std",
}


def normalization(mean, std):
    """The keys for it, and how to call it."""
    mean, std = tuple(map(float, mean)), tuple(map(float, std))
    keys = {}
    if mean != (0, 0, 0):
        keys["mean"] = mean
    if std != (1, 1, 1):
        keys["std"] = std
    return keys, KNOWN.get((mean, std), "its own mean and std")


def side(size):
    """One number, or a list of one or two."""
    return size if isinstance(size, int) else size[0] if len(size) == 1 else tuple(size)


def torchvision_output(transforms):
    """The output's keys for a weight's transforms, and what they do; or None and why not."""
    keys, words = normalization(getattr(transforms, "mean", (0, 0, 0)), getattr(transforms, "std", (1, 1, 1)))
    if isinstance(transforms, _presets.ObjectDetection):
        return {"fit": "stretch"}, "as large as the picture, 0 to 1; the model resizes itself"
    if not isinstance(transforms, _presets.ImageClassification | _presets.SemanticSegmentation):
        return None, f"{type(transforms).__name__} takes several pictures"
    how = {InterpolationMode.BILINEAR: "pillow-bilinear", InterpolationMode.BICUBIC: "pillow-bicubic"}
    method = how[transforms.interpolation]
    resize = side(transforms.resize_size)
    keys = {"fit": "short-side", "resize_to": resize, "resize": method} | keys
    if isinstance(transforms, _presets.SemanticSegmentation):
        return keys, f"short side {resize}, {method}, {words}"
    crop = side(transforms.crop_size)
    return {"size": f"{crop}x{crop}"} | keys, f"{crop} out of {resize}, {method}, {words}"


def timm_output(config):
    """The same for what resolve_data_config returns."""
    channels, height, width = config["input_size"]
    keys, words = normalization(config["mean"], config["std"])
    if channels != 3:
        return None, f"{channels} channels"
    mode, ratio = config["crop_mode"], config["crop_pct"]
    scale = math.floor(width / ratio)
    method = "pillow-" + config["interpolation"]
    if mode == "border" and ratio == 1:
        fill = [round(255 * v) for v in config["mean"]]
        fit = {"fit": "letterbox", "pad": fill}
    elif mode == "squash":
        fit = {"fit": "stretch", "crop": ratio}
    elif mode == "center" and width == height:
        fit = {"fit": "short-side", "crop": ratio}
    else:
        return None, f"crop_mode {mode} with crop_pct {ratio} and {width}x{height}"
    if scale < width:
        fit["pad"] = 0
    return ({"size": f"{width}x{height}"} | fit | {"resize": method} | keys,
            f"{width} out of {scale}{', squashed' if mode == 'squash' else ''}, {method}, {words}")


def grouped(family, reference, source, models):
    """Rows of the models, which are a dict of names and (output, about)."""
    rows = {}
    for name, (output, about) in models.items():
        if output is None:
            print(f"{name}: {about}")
            continue
        key = json.dumps(output)
        row = rows.setdefault(key, {
            "name": name, "family": family, "about": about, "reference": reference.format(name.split("/")[1]),
            "source": source, "output": output, "models": [],
        })
        row["models"].append(name)
    return list(rows.values())


def torchvision_rows():
    models = {}
    for name in sorted(list_models()):
        weights = get_model_weights(name)
        for weight in weights:
            output = torchvision_output(weight.transforms())
            models[f"torchvision/{type(weight).__name__}.{weight.name}"] = output
            if weight == weights.DEFAULT:
                models[f"torchvision/{name}"] = output
    return grouped("torchvision", "torchvision: {}.transforms()",
                   "https://github.com/pytorch/vision/blob/main/torchvision/transforms/_presets.py", models)


def timm_rows():
    models = {}
    for name in sorted(timm.list_models(pretrained=True)):
        config = get_pretrained_cfg(name)
        output = timm_output(resolve_data_config(pretrained_cfg=config.to_dict()))
        architecture = name.split(".")[0]
        if get_pretrained_cfg(architecture).tag == config.tag:
            models[f"timm/{architecture}"] = output
        models[f"timm/{name}"] = output
    return grouped("timm", "timm: create_transform(**resolve_data_config(pretrained_cfg of {}))",
                   "https://github.com/huggingface/pytorch-image-models/blob/main/timm/data/transforms_factory.py", models)


def main():
    table = json.loads(TABLE.read_text())
    rows = [r for r in table if "/" not in r["name"]] + torchvision_rows() + timm_rows()
    lines = ",\n".join(json.dumps(r, separators=(",", ":")) for r in rows)
    TABLE.write_text(f"[\n{lines}\n]\n")
    print(f"{len(rows)} rows, {sum(len(r.get('models', [])) for r in rows)} names of models: "
          f"torchvision {torchvision.__version__}, timm {timm.__version__}")


if __name__ == "__main__":
    main()
