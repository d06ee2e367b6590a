/**
 * Key rotation while the ledger serves. A successor is announced by a record signed by its predecessor, alone in its
 * commit; from the next position on only the successor signs. After any failure the ledger decides which key is in use:
 * a key that was created but never announced signs nothing, and an announced key is already on disk. Source:
 * docs/spec/keys.md.
 */
import { equalBytes, toBase64Url, type Hash, type Thumbprint } from "@sigil/core/bytes";
import type { CborMap } from "@sigil/core/cbor";
import { fail, SigilFault } from "../../errors.ts";
import {
  formatKeyRetirement,
  formatSigningKey,
  roleKeyVersion,
  systemBody,
  type RecordBody,
} from "@sigil/core/record";
import {
  applyKeyRecord,
  keyRetirementId,
  nextSigningKeyId,
  newestKey,
  retireKey,
  type KeyEntry,
  type KeyRing,
  type KeyRole,
  type RoleKey,
} from "@sigil/core/keys";
import { createKey, endedKeys, type Signers, type SigningKeys } from "./signers.ts";

/** The signing keys and the ring that verifies them, replaced together. */
export type KeysInUse = { readonly ring: KeyRing; readonly signers: Signers };

export type KeyLifeSteps = {
  readonly keys: SigningKeys;
  /** Whether checkpoints are signed by ML-DSA-44 as well. */
  readonly mldsa44: boolean;
  readonly nowMs: () => number;
  readonly now: () => KeysInUse & { readonly size: bigint };
  /** Runs `work` while nothing is being signed or written; appends wait meanwhile. */
  readonly exclusive: <T>(work: () => Promise<T>) => Promise<T>;
  /** Signs with the current keys, commits, and replaces them by `next` in the same step. */
  readonly commitAlone: (body: RecordBody, next: KeysInUse) => Promise<void>;
  /** Hash of the newest version of a system record. */
  readonly hashOf: (id: string) => Promise<Hash | null>;
  /** Reports a key file that could not be destroyed; the next start tries again. */
  readonly onFault: (cause: unknown) => void;
};

const entryOf = <Role extends KeyRole>(ring: KeyRing, thumbprint: Thumbprint): KeyEntry<Role> =>
  ring.entries.find((entry): entry is KeyEntry<Role> => equalBytes(entry.thumbprint, thumbprint)) ??
  fail({ kind: "notFound", what: "key", id: toBase64Url(thumbprint) });

const checkExpected = (ring: KeyRing, role: KeyRole, expected: Thumbprint | undefined): void => {
  const current = newestKey(ring, role);
  if (expected === undefined || current === undefined || equalBytes(current.thumbprint, expected)) return;
  fail({ kind: "keyReplaced", role, current: toBase64Url(current.thumbprint) });
};

export class KeyLife {
  readonly #steps: KeyLifeSteps;
  /** Number of holders that are copying key files. */
  #holds = 0;
  #discarding: Promise<void> = Promise.resolve();

  constructor(steps: KeyLifeSteps) {
    this.#steps = steps;
  }

  /** Destroys every private key that the ring has ended. Resolves even if a key could not be destroyed or is held. */
  discardEnded(): Promise<void> {
    const { keys, now, onFault } = this.#steps;
    const discard = async (): Promise<void> => {
      if (this.#holds > 0) return;
      try {
        await keys.discard(endedKeys(now().ring));
      } catch (cause) {
        onFault(cause);
      }
    };
    return (this.#discarding = this.#discarding.then(discard));
  }

  /** Defers the destruction of private keys until the returned handle is disposed of. */
  async hold(): Promise<AsyncDisposable> {
    this.#holds += 1;
    await this.#discarding;
    let isHeld = true;
    return {
      [Symbol.asyncDispose]: async () => {
        if (!isHeld) return;
        isHeld = false;
        this.#holds -= 1;
        await this.discardEnded();
      },
    };
  }

  /**
   * @returns the key in use from now on. @throws keyReplaced when `expected` is not the key in use; notFound for
   * ML-DSA-44 in a deployment that never had such a key and does not sign by one.
   */
  async rotate<Role extends KeyRole>(role: Role, expected?: Thumbprint): Promise<KeyEntry<Role>> {
    const { keys, mldsa44, now, exclusive, commitAlone } = this.#steps;
    checkExpected(now().ring, role, expected);
    const isUsed = role !== "checkpoint_mldsa44" || mldsa44;
    if (!isUsed && newestKey(now().ring, role) === undefined)
      fail({ kind: "notFound", what: "key", id: role });
    // Durable before it is announced: a crash after this line leaves an unused key file, which is harmless.
    const made = await createKey(keys, role);
    await exclusive(async () => {
      const { ring, signers, size } = now();
      checkExpected(ring, role, expected);
      const key = { role, publicKey: made.signer.publicKey } as RoleKey;
      const payload = formatSigningKey({ ...key, validFrom: size + 1n });
      const body = this.#body("signing_key", nextSigningKeyId(ring, role), key, payload, null);
      const next = applyKeyRecord(ring, size, body);
      await commitAlone(body, {
        ring: next,
        signers: isUsed ? { ...signers, [made.role]: made.signer } : signers,
      });
    });
    await this.discardEnded();
    return entryOf(now().ring, made.signer.thumbprint);
  }

  /** Announces the first ML-DSA-44 key where checkpoints are to be signed by one and the ledger has none. */
  async announceMldsa44(): Promise<void> {
    const role = "checkpoint_mldsa44";
    const { mldsa44, now } = this.#steps;
    if (mldsa44 && newestKey(now().ring, role) === undefined) await this.rotate(role);
  }

  /**
   * Retires a key; a key in use is rotated first.
   * @param from defaults to the ledger's size.
   * @throws notFound, sizeOutOfRange, malformedKey.
   */
  async retire(thumbprint: Thumbprint, from?: bigint): Promise<KeyEntry> {
    const { now, exclusive, commitAlone, hashOf } = this.#steps;
    await this.#handOver(thumbprint, from);
    const key = entryOf(now().ring, thumbprint);
    const id = keyRetirementId(thumbprint);
    await exclusive(async () => {
      const { ring, signers, size } = now();
      const payload = formatKeyRetirement({ ...key, from: from ?? size });
      const body = this.#body("key_retirement", id, key, payload, await hashOf(id));
      await commitAlone(body, { ring: applyKeyRecord(ring, size, body), signers });
    });
    return entryOf(now().ring, thumbprint);
  }

  /** Checks a retirement before anything is written, then rotates the key if it has no successor. */
  async #handOver(thumbprint: Thumbprint, from: bigint | undefined): Promise<void> {
    const { ring, size } = this.#steps.now();
    const entry = entryOf(ring, thumbprint);
    if (from !== undefined && from > size) fail({ kind: "sizeOutOfRange", size: from, treeSize: size });
    const isInUse = entry.validTo === null;
    const ended = { entries: [isInUse ? { ...entry, validTo: size } : entry] };
    retireKey(ended, { ...entry, from: from ?? size + 1n });
    if (!isInUse) return;
    try {
      await this.rotate(entry.role, thumbprint);
    } catch (error) {
      // A concurrent call has rotated the key, which serves the same purpose.
      if (!(error instanceof SigilFault && error.error.kind === "keyReplaced")) throw error;
    }
  }

  #body(
    kind: string,
    id: string,
    key: Pick<RoleKey, "role">,
    payload: CborMap,
    prev: Hash | null,
  ): RecordBody {
    const schemaVersion = roleKeyVersion(key);
    return systemBody({ kind, id, schemaVersion, ts: this.#steps.nowMs(), payload, prev });
  }
}
