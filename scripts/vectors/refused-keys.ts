/** Refused announcements and retirements of signing keys, of both versions: a valid one with one change each. */
import * as good from "./payloads.ts";
import type { PayloadCase } from "./refused-principals.ts";

export const keyCases: readonly PayloadCase[] = [
  [
    "a signing key of a third role",
    "signing_key",
    { ...good.signingKey, role: "seal" },
    "payload.role",
    "must be one of record, checkpoint",
  ],
  [
    "a signing key from a negative position",
    "signing_key",
    { ...good.signingKey, valid_from: -1 },
    "payload.valid_from",
    "must be an integer from 0 to 2^64-1",
  ],
  [
    "a signing key of ML-DSA-44 in version 1",
    "signing_key",
    { ...good.signingKey, role: "checkpoint_mldsa44" },
    "payload.role",
    "must be one of record, checkpoint",
  ],
  [
    "a signing key of ML-DSA-44 of another length",
    "signing_key",
    { ...good.signingKey2, public_key: new Uint8Array(1311) },
    "payload.public_key",
    "must be 1,312 bytes",
    2,
  ],
  [
    "a signing key of Ed25519 in version 2",
    "signing_key",
    { ...good.signingKey, algorithm: "Ed25519" },
    "payload.role",
    "must be one of checkpoint_mldsa44",
    2,
  ],
  [
    "a signing key of another algorithm",
    "signing_key",
    { ...good.signingKey2, algorithm: "ML-DSA-65" },
    "payload.algorithm",
    "must be one of ML-DSA-44",
    2,
  ],
  [
    "a retired key of Ed25519 in version 2",
    "key_retirement",
    { ...good.keyRetirement, algorithm: "Ed25519" },
    "payload.role",
    "must be one of checkpoint_mldsa44",
    2,
  ],
];
