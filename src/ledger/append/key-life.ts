/**
 * Keys that change while the ledger serves. A successor is announced by a record that the key before it signs, alone
 * in its commit; from the next position on only the successor signs. Whatever fails, the ledger says which of the two
 * it is: a key that was made and never announced signs nothing, an announced one is on disk already.
 * Source: docs/spec/keys.md.
 */
import { equalBytes, toBase64Url, type Hash, type Thumbprint } from "@sigil/core/bytes";
import type { CborMap } from "@sigil/core/cbor";
import { fail, SigilFault } from "../../errors.ts";
import { formatKeyRetirement, formatSigningKey, systemBody, type RecordBody } from "@sigil/core/record";
import {
  applyKeyRecord,
  keyRetirementId,
  nextSigningKeyId,
  newestKey,
  retireKey,
  type KeyEntry,
  type KeyRing,
  type KeyRole,
} from "@sigil/core/keys";
import { endedKeys, type Signers, type SigningKeys } from "./signers.ts";

/** What signs, and what is believed. The two change together. */
export type KeysInUse = { readonly ring: KeyRing; readonly signers: Signers };

export type KeyLifeSteps = {
  readonly keys: SigningKeys;
  readonly nowMs: () => number;
  readonly now: () => KeysInUse & { readonly size: bigint };
  /** Runs the work while nothing is being signed or written; callers wait. */
  readonly exclusive: <T>(work: () => Promise<T>) => Promise<T>;
  /** Signs with the keys before, commits, and puts `next` in their place in the same step. */
  readonly commitAlone: (body: RecordBody, next: KeysInUse) => Promise<void>;
  /** Of the newest version of a system record. */
  readonly hashOf: (id: string) => Promise<Hash | null>;
  /** A file that could not be destroyed now is destroyed at the next start. */
  readonly onFault: (cause: unknown) => void;
};

const entryOf = (ring: KeyRing, thumbprint: Thumbprint): KeyEntry =>
  ring.entries.find((entry) => equalBytes(entry.thumbprint, thumbprint)) ??
  fail({ kind: "notFound", what: "key", id: toBase64Url(thumbprint) });

const checkExpected = (ring: KeyRing, role: KeyRole, expected: Thumbprint | undefined): void => {
  const current = newestKey(ring, role);
  if (expected === undefined || current === undefined || equalBytes(current.thumbprint, expected)) return;
  fail({ kind: "keyReplaced", role, current: toBase64Url(current.thumbprint) });
};

export class KeyLife {
  readonly #steps: KeyLifeSteps;
  /** Who copies the keys' files now. */
  #holds = 0;
  #discarding: Promise<void> = Promise.resolve();

  constructor(steps: KeyLifeSteps) {
    this.#steps = steps;
  }

  /** Every private key that the ring has ended goes. Resolves also when one could not, or is held. */
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

  /** No private key is destroyed until it is disposed of; then those that have ended meanwhile are. */
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

  /** @returns the key in use from now on. @throws keyReplaced when `expected` is not the key in use. */
  async rotate(role: KeyRole, expected?: Thumbprint): Promise<KeyEntry> {
    const { keys, now, exclusive, commitAlone } = this.#steps;
    checkExpected(now().ring, role, expected);
    // Durable before it is announced: a crash after this line leaves a key that nobody knows and nothing waits for.
    const signer = await keys.create(role);
    await exclusive(async () => {
      const { ring, signers, size } = now();
      checkExpected(ring, role, expected);
      const payload = formatSigningKey({ role, publicKey: signer.publicKey, validFrom: size + 1n });
      const body = this.#body("signing_key", nextSigningKeyId(ring, role), payload, null);
      const next = applyKeyRecord(ring, size, body);
      await commitAlone(body, { ring: next, signers: { ...signers, [role]: signer } });
    });
    await this.discardEnded();
    return entryOf(now().ring, signer.thumbprint);
  }

  /**
   * A key in use is rotated first.
   * @param from the ledger's size unless told.
   * @throws notFound, sizeOutOfRange, malformedKey.
   */
  async retire(thumbprint: Thumbprint, from?: bigint): Promise<KeyEntry> {
    const { now, exclusive, commitAlone, hashOf } = this.#steps;
    await this.#handOver(thumbprint, from);
    const { publicKey, role } = entryOf(now().ring, thumbprint);
    const id = keyRetirementId(thumbprint);
    await exclusive(async () => {
      const { ring, signers, size } = now();
      const payload = formatKeyRetirement({ role, publicKey, from: from ?? size });
      const body = this.#body("key_retirement", id, payload, await hashOf(id));
      await commitAlone(body, { ring: applyKeyRecord(ring, size, body), signers });
    });
    return entryOf(now().ring, thumbprint);
  }

  /** What a retirement needs, checked before anything is written; then the key's successor, if it has none. */
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
      // Somebody else has rotated it meanwhile, which is as good.
      if (!(error instanceof SigilFault && error.error.kind === "keyReplaced")) throw error;
    }
  }

  #body(kind: string, id: string, payload: CborMap, prev: Hash | null): RecordBody {
    return systemBody({ kind, id, ts: this.#steps.nowMs(), payload, prev });
  }
}
