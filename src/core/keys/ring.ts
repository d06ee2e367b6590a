/**
 * Which key was valid for which role at which ledger position. Source: docs/spec/keys.md. Pure. The ring is replayed
 * from genesis and `signing_key` records; a key named in another record is only a hint.
 */
import { equalBytes, type Mldsa44PublicKey, type Thumbprint } from "../bytes.ts";
import { fail } from "../errors.ts";
import type { KeyRole, RoleKey } from "../record/kinds/governance.ts";

export type { Ed25519Role, KeyRole, RoleKey } from "../record/kinds/governance.ts";

type AnyEntry = RoleKey & {
  readonly thumbprint: Thumbprint;
  /** The first position it may sign. */
  readonly validFrom: bigint;
  /** The last position it may sign; null while it is the role's newest. */
  readonly validTo: bigint | null;
  /** Signatures by it at or past this position are invalid; null unless it was retired. */
  readonly retiredFrom: bigint | null;
};

/** A key of one role, or of any. */
export type KeyEntry<Role extends KeyRole = KeyRole> = Extract<AnyEntry, { readonly role: Role }>;

/** `active` signs; `ended` has a successor; `retired` is ended and trusted only below `retiredFrom`. */
export type KeyState = "active" | "ended" | "retired";

/** Oldest first. */
export type KeyRing = { readonly entries: readonly KeyEntry[] };

type Refused = { readonly kind: "refused"; readonly rule: string };

export type SignerOutcome<Role extends KeyRole> =
  | { readonly kind: "ok"; readonly entry: KeyEntry<Role> }
  | Refused;

/** The keys of a checkpoint: by the first it is signed, by the second it may be as well. */
export type CheckpointKeys =
  | {
      readonly kind: "ok";
      readonly entry: KeyEntry<"checkpoint">;
      readonly mldsa44Key: Mldsa44PublicKey | undefined;
    }
  | Refused;

export const emptyRing: KeyRing = { entries: [] };

const serves =
  <Role extends KeyRole>(role: Role) =>
  (entry: KeyEntry): entry is KeyEntry<Role> =>
    entry.role === role;

/** The role's newest key. */
export const newestKey = <Role extends KeyRole>(ring: KeyRing, role: Role): KeyEntry<Role> | undefined =>
  ring.entries.findLast(serves(role));

/**
 * Adds a key; the role's previous key ends at position `validFrom - 1`.
 * @throws malformedKey if the key is already in the ring, in any role, or does not begin after its predecessor.
 */
export const addKey = (
  ring: KeyRing,
  added: RoleKey & Pick<KeyEntry, "thumbprint" | "validFrom">,
): KeyRing => {
  if (ring.entries.some((entry) => equalBytes(entry.thumbprint, added.thumbprint))) {
    fail({ kind: "malformedKey", rule: "is already in the key ring: a key serves one role, once" });
  }
  const before = newestKey(ring, added.role);
  if (before !== undefined && added.validFrom <= before.validFrom) {
    fail({ kind: "malformedKey", rule: `must be valid from a position after ${before.validFrom}` });
  }
  const ended = ring.entries.map((entry) =>
    entry === before ? { ...entry, validTo: added.validFrom - 1n } : entry,
  );
  return { entries: [...ended, { ...added, validTo: null, retiredFrom: null }] };
};

const earlier = (a: bigint, b: bigint): bigint => (a < b ? a : b);

/**
 * Limits trust in a key to positions below `from`. Earlier signatures stay valid: the ledger's order proves that they
 * are earlier.
 * @throws malformedKey for a key that is not in the ring or is in use, or if its trust would be extended.
 */
export const retireKey = (ring: KeyRing, retired: RoleKey & { readonly from: bigint }): KeyRing => {
  const refuse = (rule: string): never => fail({ kind: "malformedKey", rule });
  const entry = ring.entries.find((each) => equalBytes(each.publicKey, retired.publicKey));
  if (entry === undefined) return refuse("is not in the key ring");
  if (entry.role !== retired.role) return refuse(`is a ${entry.role} key, not a ${retired.role} key`);
  if (entry.validTo === null) return refuse("is in use: a key is retired after its successor was announced");
  const { from } = retired;
  if (from <= entry.validFrom) {
    return refuse(`can be retired from a position after ${entry.validFrom}, where it began`);
  }
  if (entry.retiredFrom !== null && from >= entry.retiredFrom) {
    return refuse(`is retired from position ${entry.retiredFrom} already`);
  }
  const ended = { ...entry, validTo: earlier(entry.validTo, from - 1n), retiredFrom: from };
  return { entries: ring.entries.map((each) => (each === entry ? ended : each)) };
};

export const keyState = (entry: KeyEntry): KeyState => {
  if (entry.retiredFrom !== null) return "retired";
  return entry.validTo === null ? "active" : "ended";
};

/**
 * The role's key that signed at a position, whether or not it was retired later; `findSigner` says whether it is
 * trusted.
 */
export const officeHolder = <Role extends KeyRole>(
  ring: KeyRing,
  role: Role,
  position: bigint,
): KeyEntry<Role> | undefined =>
  ring.entries.findLast(
    (entry): entry is KeyEntry<Role> => serves(role)(entry) && entry.validFrom <= position,
  );

/** The entry of `kid` if it may sign for `role` at `position`. */
export const findSigner = <Role extends KeyRole>(
  ring: KeyRing,
  role: Role,
  kid: Uint8Array,
  position: bigint,
): SignerOutcome<Role> => {
  // Newest first: almost every signature checked was made by the key in use.
  const entry = ring.entries.findLast((candidate) => equalBytes(candidate.thumbprint, kid));
  if (entry === undefined) return { kind: "refused", rule: "signed by a key outside the key ring" };
  if (!serves(role)(entry)) {
    return { kind: "refused", rule: `signed by a ${entry.role} key, needs a ${role} key` };
  }
  if (position < entry.validFrom) {
    return { kind: "refused", rule: `signed by a key that is valid from position ${entry.validFrom}` };
  }
  if (entry.validTo !== null && position > entry.validTo) {
    return { kind: "refused", rule: `signed by a key that was valid up to position ${entry.validTo}` };
  }
  return { kind: "ok", entry };
};

/** The position at which a checkpoint of that size stands. */
export const checkpointPosition = (size: bigint): bigint => (size === 0n ? 0n : size - 1n);

const believedAt = <Role extends KeyRole>(
  ring: KeyRing,
  role: Role,
  position: bigint,
): SignerOutcome<Role> | undefined => {
  const holder = officeHolder(ring, role, position);
  return holder && findSigner(ring, role, holder.thumbprint, position);
};

/**
 * Whose signatures a checkpoint of that size bears: the keys that held the office there, if they are believed there. An
 * ML-DSA-44 key that is not is left out, and its line with it: the checkpoint stands without one as well.
 */
export const checkpointSigner = (ring: KeyRing, size: bigint): CheckpointKeys => {
  const position = checkpointPosition(size);
  const believed = believedAt(ring, "checkpoint", position);
  if (believed === undefined) return { kind: "refused", rule: `no key signs checkpoints of size ${size}` };
  if (believed.kind === "refused") {
    return { kind: "refused", rule: `the checkpoint of size ${size} is ${believed.rule}` };
  }
  const beside = believedAt(ring, "checkpoint_mldsa44", position);
  return { ...believed, mldsa44Key: beside?.kind === "ok" ? beside.entry.publicKey : undefined };
};
