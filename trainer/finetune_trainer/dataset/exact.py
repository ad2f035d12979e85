"""The pixels of MXNet's im2rec.py, byte for byte: its decoder, its resizing, its encoder.

https://github.com/apache/mxnet/blob/1.9.1/tools/im2rec.py

For repeating old results only: no antialiasing, no transparency, and several times slower.
"""

from finetune_trainer.contract import ExitCode, TrainerError

OPENCV = "opencv-python-headless==4.8.1.78"
"""The version that fits the trainer's numpy."""


def check_opencv() -> None:
    """Raise if OpenCV, which im2rec.py uses, is not installed."""
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        raise TrainerError(
            ExitCode.InvalidSpec,
            "--exact needs OpenCV, as im2rec.py does, and it is not installed",
            f"pip install {OPENCV}, or leave --exact out.",
        ) from error


def encode_exactly(path: str, resize_short: int, quality: int) -> bytes:
    """Do what `im2rec.py --resize R --quality Q` does with one file; b"" if it cannot."""
    import cv2

    cv2.setNumThreads(1)
    image = cv2.imread(path, cv2.IMREAD_COLOR)
    if image is None:
        return b""
    height, width = image.shape[:2]
    if height > width:
        size = (resize_short, height * resize_short // width)
    else:
        size = (width * resize_short // height, resize_short)
    done, encoded = cv2.imencode(
        ".jpg", cv2.resize(image, size), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    return encoded.tobytes() if done else b""
