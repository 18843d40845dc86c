"""What lies below an error of the Hub's client: its causes, the answer's status, the connection."""

from __future__ import annotations


def causes(error: BaseException | None) -> list[BaseException]:
    """Return the error and what it was raised from or while handling."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def status_of(error: BaseException) -> int | None:
    """Return the status of the answer that an error is about, if it is about one."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def is_connection_error(error: BaseException) -> bool:
    """Return whether there was no connection; offline mode is one to the client."""
    # Which HTTP library the client uses has changed before; the names have not.
    names = {cls.__name__ for cls in type(error).__mro__}
    return isinstance(error, (ConnectionError, TimeoutError)) or bool(
        names & {"ConnectError", "TransportError", "ConnectTimeout"}
    )
