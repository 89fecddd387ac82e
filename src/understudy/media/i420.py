"""The frame buffer: planar YUV 4:2:0, BT.709, limited range, left-sited chroma.

A frame is one contiguous array of height * 3/2 rows and width columns, `uint8`: the luma plane,
then the two chroma planes of half size each, as encoders read them from a pipe.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.errors import InputError

Pixels = NDArray[np.uint8]

# OpenCV's own conversions are BT.601; players take this size of film for BT.709, and show reds and
# greens off by several steps if the two differ.
_KR, _KB = 0.2126, 0.0722
_LUMA: Final = np.array([_KR, 1.0 - _KR - _KB, _KB]) * (219.0 / 255.0)
_BLUE: Final = (np.array([0.0, 0.0, 1.0]) - _LUMA * (255.0 / 219.0)) / (2.0 - 2.0 * _KB)
_RED: Final = (np.array([1.0, 0.0, 0.0]) - _LUMA * (255.0 / 219.0)) / (2.0 - 2.0 * _KR)
_TO_LUMA: Final = np.array([[*_LUMA, 16.0]])
_TO_CHROMA: Final = np.array(
    [[*(_BLUE * (224.0 / 255.0)), 128.0], [*(_RED * (224.0 / 255.0)), 128.0]]
)
_AROUND: Final = np.array([1.0, 2.0, 1.0]) / 8.0  # of the sum of two rows
_ALONE: Final = np.array([1.0])


def check_size(width: int, height: int) -> None:
    """Refuse a frame size that is not a positive multiple of 4 in both directions."""
    if width < 4 or height < 4 or width % 4 or height % 4:
        raise InputError(
            f"a film of {width}x{height} pixels: width and height must be multiples of 4"
        )


def empty(width: int, height: int) -> Pixels:
    """A fresh frame buffer, not initialised."""
    check_size(width, height)
    return np.empty((height * 3 // 2, width), np.uint8)


def planes(frame: Pixels) -> tuple[Pixels, Pixels, Pixels]:
    """Views of a frame's Y (HxW), U and V (H/2xW/2)."""
    height, width = frame.shape[0] * 2 // 3, frame.shape[1]
    quarter = height // 4
    u = frame[height : height + quarter].reshape(height // 2, width // 2)
    v = frame[height + quarter :].reshape(height // 2, width // 2)
    return frame[:height], u, v


def from_rgb(rgb: Pixels) -> Pixels:
    """Convert an sRGB picture (HxWx3) to a frame, rounded to nearest."""
    height, width = rgb.shape[:2]
    frame = empty(width, height)
    luma, blue, red = planes(frame)
    cv2.transform(rgb, _TO_LUMA, dst=luma)
    # Left-sited chroma, as H.264 assumes: [1 2 1]/4 around each even column, both rows averaged.
    rows = cv2.add(rgb[0::2], rgb[1::2], dtype=cv2.CV_32F)
    mean = cv2.sepFilter2D(rows, -1, _AROUND, _ALONE, borderType=cv2.BORDER_REPLICATE)[:, ::2]
    chroma = np.asarray(cv2.transform(mean, _TO_CHROMA), np.float32)
    np.rint(chroma, out=chroma)
    blue[...] = chroma[..., 0]
    red[...] = chroma[..., 1]
    return frame
