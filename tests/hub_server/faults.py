"""What a Hub does wrong on purpose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Fault:
    """An error that requests are answered with.

    Attributes:
        where: A part of the address that is asked for, such as `/commit/`.
        status: The status of the answer; None cuts the connection in the middle of the body.
        code: The code that makes the client choose its exception, such as `GatedRepo`.
        message: What the server says about it.
        headers: More headers of the answer.
        times: How many requests are answered so.
        skips: How many are answered rightly before.
        loses_answer: Whether what is asked is done, and the connection cut instead of an answer.
    """

    where: str
    status: int | None
    code: str | None = None
    message: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str | None = None
    times: int = 1_000_000
    skips: int = 0
    loses_answer: bool = False

    def applies(self, method: str, address: str) -> bool:
        """Return whether this request is answered wrongly, and count it."""
        if self.where not in address or self.method not in (None, method) or self.times < 1:
            return False
        if self.skips > 0:
            self.skips -= 1
            return False
        self.times -= 1
        return True
