"""Resizes pictures with Pillow, for TestPillow.

Reads jobs from standard input: six 32-bit numbers, the filter, channels (1 or 3), width and
height, and the width and height to resize to; then the pixels. Writes the resized pixels.
"""

import struct
import sys

from PIL import Image

while header := sys.stdin.buffer.read(24):
    how, channels, w, h, to_w, to_h = struct.unpack("<6i", header)
    pixels = sys.stdin.buffer.read(w * h * channels)
    image = Image.frombytes("L" if channels == 1 else "RGB", (w, h), pixels)
    sys.stdout.buffer.write(image.resize((to_w, to_h), Image.Resampling(how)).tobytes())
