/**
 * The witness registry and its changes: every change is planned here before it is proposed. Pure. Source:
 * docs/spec/quorum.md §5. At most `attestationsMax` witnesses.
 */
import { equalBytes, toHex, type Hash, type PublicKey, type Thumbprint } from "../bytes.ts";
import { ownerName, type QuorumPayload, type WitnessPayload } from "../record/kinds.ts";
import { attestationsMax, principalIdBytesMax } from "../limits.ts";
import { recordIdFault } from "../record/names.ts";

export type EnrolledWitness = {
  readonly id: string;
  readonly publicKey: PublicKey;
  readonly thumbprint: Thumbprint;
  readonly owner: string;
  readonly authority: string;
  readonly description: string;
  /** Position of the witness record that made this key valid. */
  readonly enrolledAt: bigint;
};

export type Registry = {
  readonly k: number;
  readonly epoch: number;
  readonly proposerMayAttest: boolean;
  readonly witnesses: ReadonlyMap<string, EnrolledWitness>;
  /** Position and hash of the quorum record. */
  readonly position: bigint;
  readonly hash: Hash;
};

export type RegistryChange =
  | { readonly kind: "add"; readonly id: string; readonly witness: WitnessPayload; readonly k?: number }
  | { readonly kind: "remove"; readonly id: string; readonly k?: number }
  | { readonly kind: "replace"; readonly id: string; readonly publicKey: PublicKey }
  | { readonly kind: "quorum"; readonly k?: number; readonly proposerMayAttest?: boolean };

export type RegistryPlan =
  | {
      readonly kind: "planned";
      readonly quorum: QuorumPayload;
      readonly enrols: { readonly id: string; readonly witness: WitnessPayload } | null;
    }
  | { readonly kind: "refused"; readonly field: string; readonly rule: string };

/** A witness's key and owner: two witnesses that share either count once. */
export type Voice = { readonly publicKey: PublicKey; readonly owner: string };

/**
 * Upper bound on how many can count together, no two sharing a key or an owner. Exact if none share either, as in every
 * registry made by genesis and planned changes; otherwise it may be too high, never too low.
 */
export const voicesMax = (voices: readonly Voice[]): number =>
  Math.min(
    new Set(voices.map(({ publicKey }) => toHex(publicKey))).size,
    new Set(voices.map(({ owner }) => ownerName(owner))).size,
  );

/** Whether k is a possible quorum; an impossible one never commits anything. */
export const isQuorum = (k: number, witnesses: number): boolean =>
  Number.isSafeInteger(k) && k >= 1 && k <= witnesses;

type Refused = Extract<RegistryPlan, { readonly kind: "refused" }>;
const refuse = (field: string, rule: string): Refused => ({ kind: "refused", field, rule });

const witnessIdFault = (id: string): string | null => {
  if (id.length > principalIdBytesMax) return `must be 1 to ${principalIdBytesMax} bytes`;
  return id.includes("/") ? 'must have no "/"' : recordIdFault(id);
};

const keyFault = (registry: Registry, publicKey: PublicKey): Refused | null => {
  for (const witness of registry.witnesses.values()) {
    if (equalBytes(witness.publicKey, publicKey)) {
      return refuse("public_key", `is the key of witness "${witness.id}" already`);
    }
  }
  return null;
};

/** True for different names that people may confuse. */
export type LooksLike = (one: string, other: string) => boolean;

const ownerFault = (registry: Registry, owner: string, looksLike: LooksLike): Refused | null => {
  const name = ownerName(owner);
  if (name === "") return refuse("owner", "must not be empty");
  for (const witness of registry.witnesses.values()) {
    if (ownerName(witness.owner) === name) {
      return refuse("owner", `is the owner of witness "${witness.id}" already`);
    }
    // Readers of an approval must be able to tell owners apart.
    if (looksLike(owner, witness.owner)) {
      return refuse("owner", `looks like the owner of witness "${witness.id}"`);
    }
  }
  return null;
};

type Draft = {
  readonly voices: ReadonlyMap<string, Voice>;
  readonly k: number;
  readonly proposerMayAttest: boolean;
  readonly enrols: { readonly id: string; readonly witness: WitnessPayload } | null;
};

const draftAdd = (
  registry: Registry,
  { id, witness, k = registry.k }: Extract<RegistryChange, { readonly kind: "add" }>,
  looksLike: LooksLike,
): Draft | Refused => {
  const fault = witnessIdFault(id);
  if (fault !== null) return refuse("id", fault);
  if (registry.witnesses.has(id)) return refuse("id", "is enrolled already; replace its key instead");
  if (registry.witnesses.size >= attestationsMax) {
    return refuse("id", `would be one more than the ${attestationsMax} witnesses a registry holds`);
  }
  return (
    ownerFault(registry, witness.owner, looksLike) ??
    keyFault(registry, witness.publicKey) ?? {
      voices: new Map<string, Voice>([...registry.witnesses, [id, witness]]),
      k,
      proposerMayAttest: registry.proposerMayAttest,
      enrols: { id, witness },
    }
  );
};

const draftRemove = (
  registry: Registry,
  { id, k = registry.k }: Extract<RegistryChange, { readonly kind: "remove" }>,
): Draft | Refused => {
  if (!registry.witnesses.has(id)) return refuse("id", "is not enrolled");
  if (registry.witnesses.size === 1) return refuse("id", "is the last witness, and none is not a quorum");
  const voices = new Map<string, Voice>(registry.witnesses);
  voices.delete(id);
  return { voices, k, proposerMayAttest: registry.proposerMayAttest, enrols: null };
};

const draftReplace = (
  registry: Registry,
  { id, publicKey }: Extract<RegistryChange, { readonly kind: "replace" }>,
): Draft | Refused => {
  const replaced = registry.witnesses.get(id);
  if (replaced === undefined) return refuse("id", "is not enrolled");
  const { owner, authority, description } = replaced;
  const witness = { publicKey, owner, authority, description };
  return (
    keyFault(registry, publicKey) ?? {
      voices: new Map<string, Voice>([...registry.witnesses, [id, witness]]),
      k: registry.k,
      proposerMayAttest: registry.proposerMayAttest,
      enrols: { id, witness },
    }
  );
};

const draftQuorum = (
  registry: Registry,
  {
    k = registry.k,
    proposerMayAttest = registry.proposerMayAttest,
  }: Extract<RegistryChange, { readonly kind: "quorum" }>,
): Draft | Refused =>
  k === registry.k && proposerMayAttest === registry.proposerMayAttest
    ? refuse("k", "and proposer_may_attest are what they would become: nothing changes")
    : { voices: registry.witnesses, k, proposerMayAttest, enrols: null };

const draft = (registry: Registry, change: RegistryChange, looksLike: LooksLike): Draft | Refused => {
  switch (change.kind) {
    case "add":
      return draftAdd(registry, change, looksLike);
    case "remove":
      return draftRemove(registry, change);
    case "replace":
      return draftReplace(registry, change);
    case "quorum":
      return draftQuorum(registry, change);
  }
};

/** The registry after a change, as the records to propose; or the broken rule and its field. */
export const planRegistryChange = (
  registry: Registry,
  change: RegistryChange,
  looksLike: LooksLike,
): RegistryPlan => {
  const drafted = draft(registry, change, looksLike);
  if ("kind" in drafted) return drafted;
  const { voices, k, proposerMayAttest, enrols } = drafted;
  if (!isQuorum(k, voices.size)) return refuse("k", `must be an integer from 1 to ${voices.size}`);
  // With this and k ≤ n the quorum is reachable: all witnesses count.
  if (voicesMax([...voices.values()]) < voices.size) {
    return refuse("id", "must leave witnesses of whom no two have one key or one owner");
  }
  const epoch = registry.epoch + 1;
  if (!Number.isSafeInteger(epoch)) return refuse("epoch", "has no successor");
  const quorum = { k, witnesses: [...voices.keys()].sort(), epoch, proposerMayAttest };
  return { kind: "planned", quorum, enrols };
};
