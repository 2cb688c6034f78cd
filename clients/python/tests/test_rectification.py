from __future__ import annotations

import numpy as np
import pytest

import cvfeeder
from test_parse import tensor

MATRICES = "1920x1080;1920x1080;1000,1010,959.5,530;800,790,950,545"
BACK = (
    "0.8351976137211037,-0.09880686055182701,27.03206562266965,-0.0447427293064877,1.121364653243848,"
    "-23.769574944071586,-7.457121551081284e-05,-0.00021439224459358686,1.0020507084265473"
)
POINTS = [[0, 0], [640, 360], [1900, 1000]]
# What cv2.initUndistortRectifyMap, cv2.fisheye's and cv2.perspectiveTransform make of the points.
CASES = {
    f"pinhole;{MATRICES};-0.3,0.1,0.001,-0.002,0.01": [
        [-65.9613037109375, -67.57677459716797],
        [593.3397827148438, 306.9635009765625],
        [1941.7633056640625, 1014.637451171875],
    ],
    f"fisheye;{MATRICES};0.05,-0.01,0.003,-0.001": [
        [114.59330749511719, 34.24635314941406],
        [592.4578247070312, 305.9678649902344],
        [1819.82470703125, 951.4387817382812],
    ],
    f"homography;1920x1080;1280x720;{BACK}": [
        [26.976744186046513, -23.72093023255814],
        [599.6599362380447, 400.4888416578109],
        [2345.454545454546, 1567.5324675324675],
    ],
}


@pytest.mark.parametrize("text", CASES)
def test_points_map_on_to_the_camera(text: str) -> None:
    t = tensor(Affine="2,0,0.5,0,2,0.5", Map=text)
    assert t.rectification is not None
    got = t.to_source(np.array(POINTS) / 2)  # OpenCV counts from the middles of pixels
    np.testing.assert_allclose(got, np.array(CASES[text]) + 0.5, atol=0.01)
    clipped = t.to_source([0, 0, 1e5, 1e5], clip=True)
    assert (clipped >= 0).all()


def test_what_is_behind_the_camera_has_no_place() -> None:
    back = "1,0,0,0,1,0,0.5,0,-50.25"
    t = tensor(Affine="1,0,0,0,1,0", Map=f"homography;64x48;200x48;{back}")
    assert np.isnan(t.to_source([101, 3])).all()


def test_without_the_header_nothing_is_mapped() -> None:
    assert tensor().rectification is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "wide;1x1;1x1;1,1,1,1;1,1,1,1;0,0,0,0",
        "pinhole;1x1;1x1;1,1,1,1;1,1,1,1;0,0,0",
        "pinhole;1x1;1x1;1,1,1,1;0,1,1,1;0,0,0,0",
        "pinhole;1x1;1x1;1,1,1,1;1,1,1,1;0,0,0,nan",
        "fisheye;1x1;1x1;1,1,1,1;1,1,1,1;0,0,0,0,0",
        "fisheye;1x0;1x1;1,1,1,1;1,1,1,1;0,0,0,0",
        "homography;1x1;1x1;1,0,0,0,1,0,0,0",
    ],
)
def test_what_is_no_rectification_is_refused(text: str) -> None:
    with pytest.raises(cvfeeder.InvalidMessage, match="Cvf-Map"):
        tensor(Map=text)
