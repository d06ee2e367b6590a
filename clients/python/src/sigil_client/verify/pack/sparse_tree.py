"""A tree of which some leaves are known, in ascending order. Pure. Source: docs/spec/pack.md §6.

Between them stand complete subtrees, the fewest that fill the gap, so that one run over both gives the root. At most 64
peaks in memory, and 126 hashes a gap; none where leaves stand next to each other.
"""

from __future__ import annotations

from collections.abc import Callable

from ..merkle.proof import empty_root, node_hash
from .reading import invalid


class SparseTree:
    def __init__(self, read: Callable[[], bytes]) -> None:
        """`read` gives the next hash of the subtrees, left to right."""
        self._read = read
        self._size = 0
        self._peaks: list[tuple[int, bytes]] = []
        """Width in leaves, which falls from left to right, and root."""

    def add(self, position: int, leaf: bytes) -> None:
        """Raises PackRefused unless the position is after all that were added."""
        self._fill(position)
        self._append(1, leaf)

    def close(self, size: int) -> bytes:
        """Ends the tree, and gives its root."""
        self._fill(size)
        if not self._peaks:
            return empty_root()
        root = self._peaks[-1][1]
        for _, left in reversed(self._peaks[:-1]):
            root = node_hash(left, root)
        return root

    def _fill(self, to: int) -> None:
        if to < self._size:
            invalid("position", "must be in ascending order")
        while self._size < to:
            width = 1
            while self._size % (2 * width) == 0 and self._size + 2 * width <= to:
                width *= 2
            self._append(width, self._read())

    def _append(self, width: int, root: bytes) -> None:
        self._size += width
        while self._peaks and self._peaks[-1][0] == width:
            _, left = self._peaks.pop()
            width, root = 2 * width, node_hash(left, root)
        self._peaks.append((width, root))
