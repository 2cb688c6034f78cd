"""Writes what cv2 makes of the cases of lens_test.go: pictures and points.

Reads a JSON list from standard input, and writes one to standard output. Pictures are base64 of BGR
pixels; the source of a point is that of cv2's own maps. It needs cv2 4: 4.11 made lens.json. cv2 5 interpolates more finely than
32nds of a pixel."""

import base64
import json
import sys

import cv2
import numpy as np


def maps(c: dict) -> tuple[np.ndarray, np.ndarray]:
    k, new = (np.array([[m[0], 0, m[2]], [0, m[1], m[3]], [0, 0, 1]], float) for m in (c["matrix"], c["new"]))
    d, size = np.array(c["distortion"], float), tuple(c["size"])
    if c["model"] == "fisheye":
        return cv2.fisheye.initUndistortRectifyMap(k, d, np.eye(3), new, size, cv2.CV_32FC1)
    return cv2.initUndistortRectifyMap(k, d, None, new, size, cv2.CV_32FC1)


answers = []
for c in json.load(sys.stdin):
    w, h = c["source"]
    picture = np.frombuffer(base64.b64decode(c["pixels"]), np.uint8).reshape(h, w, 3)
    if c["model"] == "homography":
        plane = np.array(c["plane"], float).reshape(3, 3)
        out = cv2.warpPerspective(picture, plane, tuple(c["size"]), flags=cv2.INTER_LINEAR)
        points = cv2.perspectiveTransform(np.array([c["points"]], float), np.linalg.inv(plane))[0]
    else:
        x, y = maps(c)
        out = cv2.remap(picture, x, y, cv2.INTER_LINEAR)
        points = np.array([[x[int(p[1]), int(p[0])], y[int(p[1]), int(p[0])]] for p in c["points"]])
    answers.append({"pixels": base64.b64encode(out.tobytes()).decode(), "points": points.tolist()})
json.dump(answers, sys.stdout)
