"""Times as people say them."""

import pytest
from finetune_operator.policy.status import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0, "0s"),
        (59, "59s"),
        (60, "1m"),
        (719, "11m"),
        (3599, "59m"),
        (3600, "1h"),
        (11_100, "3h5m"),
        (86_400, "1d"),
        (187_200, "2d4h"),
    ],
)
def test_duration(seconds: int | None, text: str) -> None:
    assert duration(seconds) == text
