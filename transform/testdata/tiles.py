"""Writes tiles.json: where get_slice_bboxes of SAHI cuts pictures.

    pip install --no-deps sahi==0.12.8 && python tiles.py
"""

import importlib.util
import json
import random
import sys
import types
from pathlib import Path
from unittest import mock

# The module imports the whole package, of which the function needs nothing.
for name in ("cv2", "PIL", "PIL.Image", "numpy", "shapely", "requests", "tqdm", "click", "fire"):
    sys.modules.setdefault(name, mock.MagicMock())
spec = importlib.util.find_spec("sahi")
source = Path(spec.submodule_search_locations[0], "slicing.py").read_text()
start = source.index("def get_slice_bboxes")
module = types.ModuleType("slicing")
exec("from __future__ import annotations\n" + source[start : source.index("\ndef ", start)], module.__dict__)

rng = random.Random(1)
cases = []
for width, height, size, overlap in [(1920, 1080, 640, 0.2), (1280, 720, 640, 0), (3840, 2160, 640, 0.25), (640, 640, 640, 0.2), (300, 200, 640, 0.5)] + [
    (rng.randint(1, 2000), rng.randint(1, 1200), rng.randint(100, 900), rng.choice([0, 0.1, 0.2, 0.33, 0.5])) for _ in range(60)
]:
    boxes = module.get_slice_bboxes(height, width, size, size, False, overlap, overlap)
    cases.append({"width": width, "height": height, "size": size, "overlap": overlap, "boxes": boxes})
lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
Path(__file__).with_name("tiles.json").write_text(f"[\n{lines}\n]\n")
