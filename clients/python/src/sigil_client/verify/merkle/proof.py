"""Checks of inclusion and consistency, RFC 6962 §2.1 with SHA-256. Pure. Source: docs/spec/ledger.md §1 to
§3.

At most 64 hashes for inclusion, 65 for consistency; surplus hashes are never ignored.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..crypto import sha256
from ..errors import ProofError
from ..limits import UINT64_MAX


class ProofRefused(ProofError):
    """A proof does not hold; the message is the rule that it breaks."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule


def leaf_hash(entry: bytes) -> bytes:
    """H(0x00 ‖ entry). An entry is itself a hash; it is hashed again."""
    return sha256(b"\x00" + entry)


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right)


def empty_root() -> bytes:
    return sha256(b"")


def root_of_leaves(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes, by the definition of RFC 6962 §2.1."""
    if not leaves:
        return empty_root()
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return node_hash(root_of_leaves(leaves[:split]), root_of_leaves(leaves[split:]))


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise ProofRefused(rule)


def _is_hash(value: bytes) -> bool:
    return len(value) == 32


def _require_count(wanted: int, proof: Sequence[bytes]) -> None:
    _require(len(proof) == wanted, f"proof must hold exactly {wanted} hashes, got {len(proof)}")


def _require_hashes(proof: Sequence[bytes]) -> None:
    _require(all(map(_is_hash, proof)), "a proof hash must be 32 bytes")


def root_of_path(leaf_index: int, tree_size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes:
    """The root to which a leaf's path leads. Raises ProofRefused."""
    _require(0 <= tree_size <= UINT64_MAX, "tree size must be a uint64")
    _require(0 <= leaf_index < tree_size, "leaf index must be below tree size")
    _require(_is_hash(leaf), "leaf hash must be 32 bytes")
    # The lowest `inner` siblings may be on either side; above them the path follows the tree's right edge.
    inner = (leaf_index ^ (tree_size - 1)).bit_length()
    edge = (leaf_index >> inner).bit_count()
    _require_count(inner + edge, proof)
    _require_hashes(proof)
    node = leaf
    for height, sibling in enumerate(proof):
        is_left = height >= inner or (leaf_index >> height) & 1 == 1
        node = node_hash(sibling, node) if is_left else node_hash(node, sibling)
    return node


def check_inclusion(
    leaf_index: int, tree_size: int, leaf: bytes, root: bytes, proof: Sequence[bytes]
) -> None:
    """The leaf is at that index of the tree with that size and root. Raises ProofRefused."""
    _require(_is_hash(root), "root must be 32 bytes")
    _require(root_of_path(leaf_index, tree_size, leaf, proof) == root, "proof must lead to the root")


def _check_without_path(old_size: int, new_size: int, old_root: bytes, new_root: bytes) -> None:
    if old_size == 0:
        _require(old_root == empty_root(), "old root must be the empty root at size 0")
    if old_size == new_size:
        _require(old_root == new_root, "roots must be equal at equal sizes")


def check_consistency(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """The old tree is a prefix of the new one. Raises ProofRefused."""
    _require(0 <= new_size <= UINT64_MAX, "new size must be a uint64")
    _require(0 <= old_size <= new_size, "old size must not be above new size")
    _require(_is_hash(old_root), "old root must be 32 bytes")
    _require(_is_hash(new_root), "new root must be 32 bytes")
    if old_size in (0, new_size):
        _require_count(0, proof)
        return _check_without_path(old_size, new_size, old_root, new_root)
    # The climb starts at the last complete subtree of the old tree, 2^height leaves wide.
    height = (old_size & -old_size).bit_length() - 1
    last_leaf = old_size - 1
    meeting = (last_leaf ^ (new_size - 1)).bit_length()
    inner = meeting - height
    edge = (last_leaf >> meeting).bit_count()
    # A complete old tree is its own seed.
    seeds = 0 if old_size == 1 << height else 1
    _require_count(seeds + inner + edge, proof)
    _require_hashes(proof)
    old = new = proof[0] if seeds else old_root
    path = last_leaf >> height
    for step, sibling in enumerate(proof[seeds:]):
        if step >= inner or (path >> step) & 1 == 1:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
        else:
            # The leaves of a right sibling are not in the old tree.
            new = node_hash(new, sibling)
    _require(old == old_root, "proof must lead to the old root")
    _require(new == new_root, "proof must lead to the new root")
