/**
 * The signing keys of a running deployment, for its operators: list, rotate, retire. Takes Root of tenant system and
 * asks no trust model: a model that denies everything must not keep a stolen key in use. Whoever asks may have the
 * records that name keys.
 */
import { toBase64Url, type Thumbprint } from "../record/bytes.ts";
import { fail } from "../record/errors.ts";
import { readsAcross, type Caller } from "../identity/caller.ts";
import type { KeyRecord } from "../keys/key-records.ts";
import { keyState, type KeyEntry, type KeyRole, type KeyState } from "../keys/ring.ts";
import type { Ledger } from "../ledger/ledger.ts";

export type { KeyRole, KeyState } from "../keys/ring.ts";

/** A key of the ring, and where it is in its life. */
export type LivingKey = KeyEntry & { readonly state: KeyState };

export type KeyChange = {
  readonly kind: "rotated" | "retired";
  readonly role: KeyRole;
  /** Of the new key, or of the retired one, in base64url. */
  readonly thumbprint: string;
  readonly principal: string;
};

export type KeyServiceDeps = {
  readonly ledger: Pick<Ledger, "ring" | "rotateKey" | "retireKey" | "keyRecords">;
  /** For the log and the metrics. */
  readonly onChange: (change: KeyChange) => void;
};

export type KeyService = {
  /** By role, oldest first. @throws tenantForbidden. */
  readonly list: (caller: Caller) => readonly LivingKey[];
  /** @throws tenantForbidden, keyReplaced, keyUnavailable, notServing, indeterminate. */
  readonly rotate: (caller: Caller, role: KeyRole, expected: Thumbprint | undefined) => Promise<LivingKey>;
  /** @throws tenantForbidden, notFound, sizeOutOfRange, malformedKey, notServing, indeterminate. */
  readonly retire: (caller: Caller, thumbprint: Thumbprint, from: bigint | undefined) => Promise<LivingKey>;
  /** Genesis first, in ledger order. @throws ledgerCorrupt, recordCorrupt. */
  readonly records: () => Promise<readonly KeyRecord[]>;
};

const living = (entry: KeyEntry): LivingKey => ({ ...entry, state: keyState(entry) });

const requireOperator = (caller: Caller): void => {
  if (readsAcross(caller)) return;
  fail({
    kind: "tenantForbidden",
    tenant: "system",
    rule: "only Root of tenant system may see to the deployment's keys",
  });
};

export const createKeyService = ({ ledger, onChange }: KeyServiceDeps): KeyService => {
  const changed = (kind: KeyChange["kind"], { role, thumbprint }: KeyEntry, caller: Caller): void =>
    onChange({ kind, role, thumbprint: toBase64Url(thumbprint), principal: caller.principal });
  return {
    list: (caller) => {
      requireOperator(caller);
      const { entries } = ledger.ring;
      return (["record", "checkpoint"] as const).flatMap((role) =>
        entries.filter((entry) => entry.role === role).map(living),
      );
    },
    rotate: async (caller, role, expected) => {
      requireOperator(caller);
      const key = await ledger.rotateKey(role, expected);
      changed("rotated", key, caller);
      return living(key);
    },
    retire: async (caller, thumbprint, from) => {
      requireOperator(caller);
      const key = await ledger.retireKey(thumbprint, from);
      changed("retired", key, caller);
      return living(key);
    },
    records: () => ledger.keyRecords(),
  };
};
