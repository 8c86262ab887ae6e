"""Downloads that go on where they were interrupted."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from ulmus.errors import DataError

_PIECE = 1 << 20
_TIMEOUT_S = 60


def download(
    file: Path,
    addresses: Sequence[str],
    check: Callable[[Path, str], None],
    report: Callable[[int, int], None],
) -> None:
    """Download from the first address that gives the right file; what one began, the next one goes on with.

    Args:
        file: where to; what is there already is kept and added to.
        addresses: of the same file, tried one after the other.
        check: called with the file and its address; raises DataError if it is not the right one.
        report: called with (bytes done, bytes in total, 0 while unknown).

    Raises:
        DataError: no address gives the right file; says why for each.
    """
    reasons = []
    for address in addresses:
        for resumed in (file.exists(), False):
            try:
                _get(address, file, report)
                check(file, address)
                return
            except DataError as error:
                reasons.append(str(error))
                file.unlink()
                if not resumed:  # else what was begun earlier did not fit: once more from the beginning
                    break
            except (http.client.HTTPException, OSError, ValueError) as error:
                reasons.append(f"{address}: {error}")
                break
    raise DataError(
        f"{addresses[0].rsplit('/', 1)[-1]} could not be downloaded: {'; '.join(reasons)}; expected one of the addresses to "
        "have it; run the same command again to go on, or download it by other means and give its folder with --from"
    )


def _get(address: str, file: Path, report: Callable[[int, int], None]) -> None:
    """Add to `file` what it lacks of the file at `address`."""
    done = file.stat().st_size if file.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return  # nothing is lacking
        raise
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            done = 0  # a server that cannot resume sends everything
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else 0
        with file.open("ab" if done else "wb") as out:
            while piece := response.read(_PIECE):
                out.write(piece)
                done += len(piece)
                report(done, total)
    if total and done < total:
        raise OSError(f"the connection ended after {done} of {total} bytes")
