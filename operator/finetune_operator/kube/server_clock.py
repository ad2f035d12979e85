"""The API server's clock, by the `Date` of its responses.

Timestamps and deadlines use it alone: they are compared with times that the API server wrote, and
this machine's clock may be off by minutes.
"""

import datetime
import email.utils
import logging
import time

WARN_SECONDS = 5
log = logging.getLogger(__name__)


class ServerClock:
    """The clock of this machine, corrected by what the API server says.

    A Date has whole seconds, and the time that the response took is not known either. So each
    response gives an interval, and the correction is changed only as far as it must to lie in it.
    """

    def __init__(self) -> None:
        self._ahead = 0.0
        self._warned = False

    def now(self) -> datetime.datetime:
        """Return the time as Kubernetes writes it: UTC, whole seconds."""
        return self.precise().replace(microsecond=0)

    def precise(self) -> datetime.datetime:
        """Return the time with its fraction of a second."""
        return datetime.datetime.fromtimestamp(time.time() + self._ahead, datetime.UTC)

    def observe(self, date: str, *, sent: float, received: float) -> None:
        """Take the Date of a response; the other times are of its request, by time.time()."""
        try:
            second = email.utils.parsedate_to_datetime(date).timestamp()
        except (ValueError, OverflowError):
            return
        self._ahead = min(max(self._ahead, second - received), second + 1 - sent)
        if abs(self._ahead) >= WARN_SECONDS and not self._warned:
            self._warned = True
            side = "behind" if self._ahead > 0 else "ahead of"
            log.warning(
                "this machine's clock is about %.0f s %s the API server's: set it right. Until then"
                " the API server's is used",
                abs(self._ahead),
                side,
            )
