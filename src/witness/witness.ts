/**
 * A witness of logs, C2SP tlog-witness: it cosigns a checkpoint of a log that it knows if the tree begins with the one
 * it cosigned last, and never two trees that contradict each other. What it cosigned is on disk before it answers.
 * Source: docs/spec/ledger.md §4.
 */
import { equalBytes, utf8Decode, utf8Encode, type PublicKey } from "@sigil/core/bytes";
import { verifyForeign } from "@sigil/core/keys";
import {
  checkConsistency,
  formatNote,
  parseAddCheckpoint,
  parseCheckpoint,
  parseNote,
  signCosignature,
  verifyCheckpoint,
  type AddCheckpoint,
  type Checkpoint,
  type Note,
} from "@sigil/core/merkle";
import type { Signer } from "../crypto/signing/sign.ts";
import { SigilFault } from "../errors.ts";
import { Mutex } from "../mutex.ts";
import type { Store } from "../storage/store.ts";

/** A log whose checkpoints are cosigned. */
export type KnownLog = { readonly origin: string; readonly publicKey: PublicKey };

export type WitnessOptions = {
  /** The name in its signature lines. */
  readonly name: string;
  /** A key that is used for nothing else. */
  readonly signer: Pick<Signer, "publicKey" | "sign">;
  readonly logs: readonly KnownLog[];
  /** Keys are origins, values cosigned notes. */
  readonly store: Store;
  /** Seconds since 1970. */
  readonly nowSeconds: () => bigint;
};

/** How a submission ends; each is a status of the protocol. */
export type Answer =
  /** The witness's own signature lines. */
  | { readonly kind: "cosigned"; readonly lines: string }
  | { readonly kind: "malformed"; readonly rule: string }
  | { readonly kind: "unknownLog"; readonly rule: string }
  | { readonly kind: "unsigned"; readonly rule: string }
  /** The size of what was cosigned last. */
  | { readonly kind: "conflict"; readonly size: bigint }
  | { readonly kind: "inconsistent"; readonly rule: string };

type Cosigned = { readonly note: Note; readonly checkpoint: Checkpoint };

const ruleOf = (error: unknown): string => {
  if (error instanceof SigilFault && "rule" in error.error) return error.error.rule;
  throw error;
};

export class Witness {
  readonly #options: WitnessOptions;
  readonly #logs: ReadonlyMap<string, KnownLog>;
  /** Reading the last checkpoint and writing the next is one step: one submission after the other. */
  readonly #cosigning = new Mutex();

  constructor(options: WitnessOptions) {
    this.#options = options;
    this.#logs = new Map(options.logs.map((log) => [log.origin, log]));
  }

  get origins(): readonly string[] {
    return [...this.#logs.keys()];
  }

  /** The note cosigned last, with the log's signatures and the witness's own. @throws storeFailed. */
  async latest(origin: string): Promise<string | undefined> {
    const stored = this.#logs.has(origin) ? await this.#options.store.get(utf8Encode(origin)) : undefined;
    return stored === undefined ? undefined : utf8Decode(stored);
  }

  /** @param body as of `add-checkpoint`. @throws storeFailed, keyUnavailable: nothing was answered. */
  async add(body: string): Promise<Answer> {
    let asked: AddCheckpoint;
    try {
      asked = parseAddCheckpoint(body);
    } catch (error) {
      return { kind: "malformed", rule: ruleOf(error) };
    }
    const note = parseNote(asked.checkpoint);
    const { origin } = parseCheckpoint(note.text);
    const log = this.#logs.get(origin);
    if (log === undefined) return { kind: "unknownLog", rule: "the log is not one of those known here" };
    let checkpoint: Checkpoint;
    try {
      checkpoint = await verifyCheckpoint(asked.checkpoint, { ...log, verify: verifyForeign });
    } catch (error) {
      return { kind: "unsigned", rule: ruleOf(error) };
    }
    if (asked.oldSize > checkpoint.size) {
      return { kind: "malformed", rule: "the old size must not be above the checkpoint's" };
    }
    return this.#cosigning.run(() => this.#cosign(asked, { note, checkpoint }));
  }

  async #cosign({ oldSize, proof }: AddCheckpoint, added: Cosigned): Promise<Answer> {
    const { checkpoint } = added;
    const last = await this.#last(checkpoint.origin);
    const knownSize = last?.checkpoint.size ?? 0n;
    if (oldSize !== knownSize) return { kind: "conflict", size: knownSize };
    const fault = growthFault(last?.checkpoint, checkpoint, proof);
    if (fault !== undefined) return { kind: "inconsistent", rule: fault };
    const { name, signer, nowSeconds, store } = this.#options;
    const { publicKey, sign } = signer;
    const { text, signatures } = added.note;
    const own = await signCosignature(text, nowSeconds(), { name, publicKey, sign });
    const byLog = signatures.filter((line) => line.name === checkpoint.origin);
    const note = formatNote({ text, signatures: [...byLog, own] });
    await store.commit([{ kind: "put", key: utf8Encode(checkpoint.origin), value: utf8Encode(note) }]);
    return { kind: "cosigned", lines: formatNote({ text, signatures: [own] }).slice(text.length + 1) };
  }

  async #last(origin: string): Promise<Cosigned | undefined> {
    const text = await this.latest(origin);
    if (text === undefined) return undefined;
    const note = parseNote(text);
    return { note, checkpoint: parseCheckpoint(note.text) };
  }
}

/** The rule that a newer checkpoint breaks; undefined if its tree begins with the older one. */
const growthFault = (
  known: Checkpoint | undefined,
  newer: Checkpoint,
  proof: AddCheckpoint["proof"],
): string | undefined => {
  if (known === undefined) return proof.length === 0 ? undefined : "the proof from size 0 must be empty";
  const isSame = known.size === newer.size && equalBytes(known.root, newer.root);
  if (known.size === newer.size && !isSame) return "another root was cosigned at this size";
  const outcome = checkConsistency({
    oldSize: known.size,
    oldRoot: known.root,
    newSize: newer.size,
    newRoot: newer.root,
    proof,
  });
  return outcome.kind === "ok" ? undefined : outcome.rule;
};
