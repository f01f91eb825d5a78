"""Pictures of camera messages: what the model looks at, from whatever a driver sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emollama_ros.preprocess.image import decode_compressed, to_rgb

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage, Image


def image_pixels(message: Image | CompressedImage) -> NDArray[np.uint8]:
    """Return the picture of an image message as uint8 ``[h, w, 3]`` RGB.

    Raises:
        InputError: Empty, wrong step, or an encoding that is not supported.
    """
    if hasattr(message, "format"):
        return decode_compressed(bytes(message.data), message.format)
    return to_rgb(
        message.data,
        message.height,
        message.width,
        message.encoding,
        message.step,
        bool(message.is_bigendian),
    )
