"""Limits of the formats, with units. Source: docs/spec. Pure."""

from __future__ import annotations

from typing import Final

CBOR_BYTES_MAX: Final = 1 << 20
"""Of one canonical value."""
EVIDENCE_BYTES_MAX: Final = 16 << 20
CBOR_DEPTH_MAX: Final = 16
CBOR_ENTRIES_MAX: Final = 4096
SAFE_INTEGER_MAX: Final = 2**53 - 1
"""An integral value up to here is an integer, never a float."""
UINT64_MAX: Final = 2**64 - 1
RECORD_ID_BYTES_MAX: Final = 255
TENANT_BYTES_MAX: Final = 63
KIND_BYTES_MAX: Final = 255
LABEL_BYTES_MAX: Final = 255
LINKS_MAX: Final = 64
SCHEMA_VERSION_MAX: Final = 65_535
ATTESTATIONS_MAX: Final = 64
ATTRIBUTES_MAX: Final = 64
ATTRIBUTE_NAME_BYTES_MAX: Final = 64
ATTRIBUTE_BYTES_MAX: Final = 512
CONTEXTS_MAX: Final = 64
RULES_MAX: Final = 64
DELEGATION_MAX: Final = 8
BUDGETS_MAX: Final = 16
FLIP_DECISIONS_MAX: Final = 1000
PROPOSAL_WITH_MAX: Final = 8
FEED_GRANT_ITEMS_MAX: Final = 1024
MODEL_TABLE_ENTRIES_MAX: Final = 1024
RATE_WINDOW_MS_MAX: Final = 86_400_000
RATE_LIMIT_MAX: Final = 1_000_000
ACTION_BYTES_MAX: Final = 128
TARGET_BYTES_MAX: Final = 512
PRINCIPAL_ID_BYTES_MAX: Final = 200
SESSION_BYTES_MAX: Final = 128
NOTE_SIGNATURES_MAX: Final = 64
NOTE_BYTES_MAX: Final = 512 << 10
POLICY_LINES_MAX: Final = 256
"""Lines of a policy that define something."""
PATH_HASHES_MAX: Final = 64
"""Of an inclusion proof: one for each bit of a position."""
VERIFY_KEYS_MAX: Final = 4096
"""Checked public keys that are remembered."""
PACK_LINE_BYTES_MAX: Final = 8 << 20
PACK_MANIFEST_BYTES_MAX: Final = 16 << 20
PACK_CALLERS_MAX: Final = 10_000
PACK_GAPS_MAX: Final = 10_000
PACK_MODELS_MAX: Final = 256
PACK_RESTORATIONS_MAX: Final = 1024
CONTROLS_WRITTEN_BYTES_MAX: Final = 8 << 20
CONTROLS_MAX: Final = 512
CONTROL_FILTERS_MAX: Final = 64
