"""Pictures of camera messages: what the model looks at, from whatever a driver sends."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emollama_ros.errors import InputError
from emollama_ros.preprocess.compressed import decode_compressed
from emollama_ros.preprocess.encodings import is_known, to_rgb, unknown
from emollama_ros.preprocess.image import to_model_frame

if TYPE_CHECKING:
    from sensor_msgs.msg import CompressedImage, Image


def image_pixels(message: Image | CompressedImage, size: int | None = None) -> NDArray[np.uint8]:
    """Return the picture of an image message, RGB.

    Encodings that this package does not know are left to cv_bridge, where that is installed.

    Args:
        message: What came from the camera.
        size: If given, return the model's square of so many pixels a side, made before the colours are
            converted wherever that costs less: see ``to_rgb`` and ``decode_compressed``.

    Returns:
        uint8 ``[h, w, 3]`` (or ``[size, size, 3]``). It may be a view of the message, and read-only.

    Raises:
        InputError: Empty, damaged, wrong step, or an encoding that nothing here decodes.
    """
    if hasattr(message, "format"):
        return decode_compressed(message.data, message.format, size)
    if not is_known(message.encoding):
        rgb = _by_cv_bridge(message)
        return rgb if size is None else to_model_frame(rgb, size)
    return to_rgb(
        message.data,
        message.height,
        message.width,
        message.encoding,
        message.step,
        bool(message.is_bigendian),
        size,
    )


@cache
def _cv_bridge() -> tuple[Any, str]:
    """Return a CvBridge, or ``None`` and why there is none; asked once, since a failing import is slow."""
    try:
        from cv_bridge import CvBridge
    except ModuleNotFoundError as error:
        if error.name != "cv_bridge":
            return None, f"cv_bridge needs {error.name}, which is not installed"
        return None, "install cv_bridge, which may know it: sudo apt install ros-$ROS_DISTRO-cv-bridge"
    except Exception as error:  # a module compiled against another NumPy fails in many ways
        fix = f"it is compiled against NumPy 1 and this is NumPy {np.__version__}: pip install 'numpy<2'"
        said = f"cv_bridge cannot be imported ({type(error).__name__}: {error})"
        return None, f"{said}; {fix}" if int(np.__version__.split(".")[0]) > 1 else said
    return CvBridge(), ""


def _by_cv_bridge(message: Image) -> NDArray[np.uint8]:
    what = unknown(message.encoding)
    bridge, why = _cv_bridge()
    if bridge is None:
        raise InputError(f"{what}; or {why}")
    try:
        rgb = np.asarray(bridge.imgmsg_to_cv2(message, "rgb8"))
    except Exception as error:  # its own errors, OpenCV's, NumPy's
        raise InputError(f"{what}; cv_bridge cannot convert it ({type(error).__name__}: {error})") from error
    if rgb.dtype != np.uint8 or rgb.shape != (message.height, message.width, 3) or rgb.size == 0:
        raise InputError(f"{what}; cv_bridge made {rgb.dtype}{list(rgb.shape)} of it, which is no picture")
    return rgb
