"""The grammar of record ids and tenants, the names of levels and spaces, prefixes of ids. Pure.

Source: docs/spec/record.md §2 and §6.
"""

from __future__ import annotations

import re
from typing import Final

from ..limits import RECORD_ID_BYTES_MAX, TENANT_BYTES_MAX

LEVELS: Final = ("guest", "observer", "operator", "mentor", "root")
"""Levels of access, lowest first."""
SPACES: Final = ("user", "system")
SYSTEM_TENANT: Final = "system"
PUBLIC_TENANT: Final = "public"

QUORUM_ID: Final = "quorum"
WITNESS_PREFIX: Final = "witness/"
PRINCIPAL_PREFIX: Final = "principal/"
SIGNING_KEY_PREFIX: Final = "signing_key/"
KEY_RETIREMENT_PREFIX: Final = "key_retirement/"

_ID_CHARACTERS: Final = re.compile(r"[A-Za-z0-9._~:/@-]+")
_EMPTY_OR_DOT_SEGMENT: Final = re.compile(r"//|(?:^|/)\.{1,2}(?:/|\Z)")
_TENANT_CHARACTERS: Final = re.compile(r"[a-z0-9-]+")


def record_id_fault(record_id: str) -> str | None:
    """What is wrong with a record id, or None."""
    if not 0 < len(record_id) <= RECORD_ID_BYTES_MAX:
        return f"must be 1 to {RECORD_ID_BYTES_MAX} bytes"
    if _ID_CHARACTERS.fullmatch(record_id) is None:
        return "may hold only letters, digits and . _ ~ : / @ -"
    if _EMPTY_OR_DOT_SEGMENT.search(record_id) is not None:
        return 'must have no "//" and no "." or ".." segment'
    return None


def tenant_fault(tenant: str) -> str | None:
    """What is wrong with a tenant's name, or None."""
    if not 0 < len(tenant) <= TENANT_BYTES_MAX:
        return f"must be 1 to {TENANT_BYTES_MAX} bytes"
    return None if _TENANT_CHARACTERS.fullmatch(tenant) else "may hold only a-z, 0-9 and -"


def level_rank(level: str) -> int:
    """0 for guest to 4 for root."""
    return LEVELS.index(level)


_BLANKS: Final = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)


def owner_name(owner: str) -> str:
    """Owners, ids and proposers are compared without outer spaces and without case."""
    return owner.strip(_BLANKS).lower()
