/**
 * Has witnesses of a trust policy cosign this ledger's checkpoints, C2SP tlog-witness, and holds the newest checkpoint
 * that the policy accepts. A witness's answer counts only if its signature verifies over our checkpoint. Source:
 * docs/spec/ledger.md §4.
 */
import { setTimeout as pause } from "node:timers/promises";
import { equalBytes, toHex, utf8Encode, type Hash } from "@sigil/core/bytes";
import { sha256 } from "@sigil/core/hash";
import { verifyForeign } from "@sigil/core/keys";
import {
  formatAddCheckpoint,
  formatNote,
  isQuorum,
  missingWitnesses,
  parseCheckpoint,
  parseNote,
  verifyCosignature,
  type Checkpoint,
  type NoteSignature,
  type Policy,
  type PolicyWitness,
} from "@sigil/core/merkle";
import { fail, SigilFault } from "../errors.ts";
import { witnessAnswerBytesMax, witnessAnswerMsMax, witnessPauseMsMax } from "../limits.ts";

export type CosignedTree = {
  readonly checkpoint: string;
  readonly size: bigint;
  readonly root: Hash;
  /** That the tree begins with that of an older size. */
  readonly proveConsistency: (oldSize: bigint) => Promise<readonly Hash[]>;
};

/** The ledger whose checkpoints are cosigned. */
export type CosignedLog = {
  readonly origin: string;
  readonly newest: () => CosignedTree;
  readonly rootAt: (size: bigint) => Promise<Hash>;
};

/** What is known of one witness, for metrics. */
export type WitnessFacts = {
  readonly label: string;
  /** Of the checkpoint that it cosigned last, as far as it was seen. */
  readonly size: bigint;
  readonly isAnswering: boolean;
};

export type CosignersOptions = {
  readonly log: CosignedLog;
  readonly policy: Policy;
  readonly intervalMs: number;
  /**
   * How long answers wait for cosignatures; undefined if none does. A witness that takes longer helps nobody, and one
   * that is back is found within it.
   */
  readonly waitMs?: number;
  /** Witnesses are being asked, all of them about one checkpoint. */
  readonly onRound?: () => void;
  readonly onCosigned: (size: bigint) => void;
  /** A witness that does not answer, or answers what does not hold. */
  readonly onRefused: (label: string, rule: string) => void;
};

type Asked = PolicyWitness & { readonly url: string };
type State = {
  /** That it said, or that it cosigned. */
  size: bigint;
  /** Of the largest checkpoint under which its verified cosignature was seen. */
  cosignedSize: bigint;
  /** One request at a time. */
  isAsked: boolean;
  isAnswering: boolean;
  failures: number;
  notBeforeMs: number;
};

/** A checkpoint with the signatures over it, by the policy's names. */
type Target = {
  readonly tree: CosignedTree;
  readonly lines: Map<string, NoteSignature>;
  /** Ends the round under way. */
  end: () => void;
};

/** Thrown here and caught here: what is wrong with a witness's answer. */
class Unanswered extends Error {}
const unanswered = (rule: string, cause?: unknown): never => {
  throw new Unanswered(rule, { cause });
};

type Reply = { readonly status: number; readonly type: string; readonly text: string };

const readText = async (response: Response): Promise<string> => {
  let text = "";
  const decoder = new TextDecoder("utf-8", { fatal: true });
  for await (const part of response.body ?? []) {
    text += decoder.decode(part as Uint8Array, { stream: true });
    if (text.length > witnessAnswerBytesMax) unanswered("its answer is too long");
  }
  return text + decoder.decode();
};

/** Why `fetch` failed: a code such as ECONNREFUSED or DEPTH_ZERO_SELF_SIGNED_CERT, otherwise Node's own sentence. */
const failureOf = (error: unknown): string => {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const { code, message } = cause as { readonly code?: unknown; readonly message?: unknown };
  return String(typeof code === "string" ? code : message);
};

/** @throws Unanswered. */
const call = async (
  url: string,
  init: RequestInit,
  stopped: AbortSignal,
  answerMsMax = witnessAnswerMsMax,
): Promise<Reply> => {
  const signal = AbortSignal.any([stopped, AbortSignal.timeout(answerMsMax)]);
  try {
    const response = await fetch(url, { ...init, redirect: "error", signal });
    const text = await readText(response);
    return { status: response.status, type: response.headers.get("content-type") ?? "", text };
  } catch (cause) {
    if (cause instanceof Unanswered) throw cause;
    return unanswered(`it does not answer: ${failureOf(cause)}`, cause);
  }
};

const sizeIn = ({ type, text }: Reply): bigint =>
  type.startsWith("text/x.tlog.size") && /^(0|[1-9]\d{0,19})\n$/.test(text)
    ? BigInt(text)
    : unanswered("it says that there is a conflict, and no size");

export class Cosigners {
  readonly #options: CosignersOptions;
  readonly #witnesses: readonly Asked[];
  readonly #states: ReadonlyMap<string, State>;
  readonly #underWay = new Set<Promise<void>>();
  #cosigned: CosignedTree | undefined;
  #target: Target | undefined;
  #isWanted = false;
  #wake = (): void => {};

  constructor(options: CosignersOptions) {
    this.#options = options;
    this.#witnesses = options.policy.witnesses.flatMap((witness) =>
      witness.url === undefined ? [] : [{ ...witness, url: witness.url.replace(/\/$/, "") }],
    );
    this.#states = new Map(
      this.#witnesses.map(({ label }) => [
        label,
        { size: 0n, cosignedSize: 0n, isAsked: false, isAnswering: false, failures: 0, notBeforeMs: 0 },
      ]),
    );
  }

  /** The newest checkpoint that the policy accepts, with its cosignatures; undefined until there is one. */
  get cosigned(): CosignedTree | undefined {
    return this.#cosigned;
  }

  get facts(): readonly WitnessFacts[] {
    return [...this.#states].map(([label, { size, isAnswering }]) => ({ label, size, isAnswering }));
  }

  /** How many more witnesses would make a quorum with those whose cosignatures cover a record. */
  missing(position: bigint): number {
    const covering = [...this.#states].filter(([, { cosignedSize }]) => position < cosignedSize);
    return missingWitnesses(this.#options.policy, new Set(covering.map(([label]) => label)));
  }

  /** Begins the next round as soon as the interval permits: somebody waits for it. */
  want(): void {
    this.#isWanted = true;
    this.#wake();
  }

  /**
   * Compares the ledger with what the witnesses cosigned last. One that tells of nothing, because it has cosigned
   * nothing or serves no checkpoints, is asked to cosign the newest: it refuses a tree that its own does not begin.
   * @returns those that did not answer, or did not cosign. @throws ledgerBehindWitness: the ledger is smaller than a
   * witness saw, or has another past.
   */
  async anchor(signal: AbortSignal): Promise<readonly string[]> {
    const untold: Asked[] = [];
    await Promise.all(
      this.#witnesses.map(async (witness) => {
        try {
          const seen = await this.#seenBy(witness, signal);
          if (seen === undefined) untold.push(witness);
          else await this.#requireBeginning(witness, seen);
        } catch (error) {
          if (!(error instanceof Unanswered)) throw error;
          this.#options.onRefused(witness.label, error.message);
        }
      }),
    );
    // After all have told: a fork that one of them knows is cosigned by none.
    await this.round(signal, untold);
    // Those that are slower than a quorum too.
    await Promise.all(this.#underWay);
    return this.facts.filter(({ isAnswering }) => !isAnswering).map(({ label }) => label);
  }

  /** Until `signal` aborts: whenever there is something to cosign, at most once in the interval. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const startMs = performance.now();
      this.#isWanted = false;
      if (await this.round(signal)) {
        const restMs = Math.max(0, this.#options.intervalMs - (performance.now() - startMs));
        await pause(restMs, undefined, { signal }).catch(() => {});
      } else {
        await this.#idle(signal);
      }
    }
    await Promise.all(this.#underWay);
  }

  /**
   * Asks about the newest checkpoint those who have not cosigned it, but for those that have not answered the last
   * question yet. Ends when the policy accepts it, or all have answered. @returns whether somebody was asked.
   */
  async round(signal: AbortSignal, among = this.#witnesses): Promise<boolean> {
    const tree = this.#options.log.newest();
    if (this.#target?.tree.size !== tree.size) this.#target = { tree, lines: new Map(), end: () => {} };
    const target = this.#target;
    const nowMs = performance.now();
    const asked = among.filter(({ label }) => {
      const { isAsked, notBeforeMs } = this.#stateOf(label);
      return !target.lines.has(label) && !isAsked && notBeforeMs <= nowMs;
    });
    if (asked.length === 0) return false;
    this.#options.onRound?.();
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    target.end = resolve;
    void Promise.all(asked.map((witness) => this.#ask(witness, target, signal))).then(() => resolve());
    // Of an accepted checkpoint nothing is waited for: late witnesses add their lines while the next round goes on.
    if (!this.#isAccepted(target)) await ended;
    return true;
  }

  /** Waits until the next round is due or wanted. */
  async #idle(signal: AbortSignal): Promise<void> {
    if (this.#isWanted || signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => resolve();
    this.#wake = wake;
    const timer = setTimeout(wake, this.#options.intervalMs);
    signal.addEventListener("abort", wake, { once: true });
    await promise;
    clearTimeout(timer);
    signal.removeEventListener("abort", wake);
    this.#wake = () => {};
  }

  /** Never rejects. */
  #ask(witness: Asked, target: Target, signal: AbortSignal): Promise<void> {
    const state = this.#stateOf(witness.label);
    state.isAsked = true;
    const asking = this.#lineFrom(witness, state, target.tree, signal).then((line) => {
      state.isAsked = false;
      this.#underWay.delete(asking);
      if (line !== undefined) this.#take(target, witness.label, line);
    });
    this.#underWay.add(asking);
    return asking;
  }

  async #lineFrom(
    witness: Asked,
    state: State,
    tree: CosignedTree,
    signal: AbortSignal,
  ): Promise<NoteSignature | undefined> {
    const { waitMs, intervalMs, onRefused } = this.#options;
    try {
      const line = await this.#submit(witness, state, tree, signal);
      const { size } = tree;
      Object.assign(state, { size, cosignedSize: size, isAnswering: true, failures: 0, notBeforeMs: 0 });
      return line;
    } catch (error) {
      if (signal.aborted) return undefined;
      state.isAnswering = false;
      state.failures += 1;
      const pauseMs = Math.min(waitMs ?? witnessPauseMsMax, intervalMs * 2 ** state.failures);
      state.notBeforeMs = performance.now() + pauseMs * (0.5 + Math.random() / 2);
      const rule = error instanceof Unanswered || error instanceof SigilFault ? error.message : String(error);
      onRefused(witness.label, rule);
      return undefined;
    }
  }

  #isAccepted({ lines }: Target): boolean {
    return isQuorum(this.#options.policy, new Set(lines.keys()));
  }

  #take(target: Target, label: string, line: NoteSignature): void {
    const { tree, lines } = target;
    lines.set(label, line);
    // A slow witness may cosign a tree after the policy accepted a larger one.
    const isOlder = this.#cosigned !== undefined && tree.size < this.#cosigned.size;
    if (isOlder || !this.#isAccepted(target)) return;
    const { text, signatures } = parseNote(tree.checkpoint);
    const cosignatures = this.#witnesses.flatMap((each) => lines.get(each.label) ?? []);
    const checkpoint = formatNote({ text, signatures: [...signatures, ...cosignatures] });
    this.#cosigned = { ...tree, checkpoint };
    target.end();
    this.#options.onCosigned(tree.size);
  }

  /** @returns its signature line, verified. @throws Unanswered. */
  async #submit(
    witness: Asked,
    state: State,
    tree: CosignedTree,
    signal: AbortSignal,
  ): Promise<NoteSignature> {
    const { checkpoint } = tree;
    const answerMsMax = Math.min(witnessAnswerMsMax, this.#options.waitMs ?? Infinity);
    // Once more if it knows another size, as at first; then somebody else submits, and the next round sees.
    for (const isLast of [false, true]) {
      if (state.size > tree.size) {
        return unanswered(`it has cosigned size ${state.size}, and the ledger has ${tree.size}`);
      }
      const proof = await tree.proveConsistency(state.size);
      const body = formatAddCheckpoint({ oldSize: state.size, proof, checkpoint });
      const init = { method: "POST", body };
      const reply = await call(`${witness.url}/add-checkpoint`, init, signal, answerMsMax);
      if (reply.status === 200) return lineOf(witness, checkpoint, reply.text);
      if (reply.status !== 409 || isLast) return unanswered(`it answered ${reply.status}`);
      const known = sizeIn(reply);
      if (known === state.size) return unanswered("it has cosigned another root at this size");
      state.size = known;
    }
    return unanswered("it does not settle on a size");
  }

  /** What it cosigned last of this ledger; undefined if nothing. @throws Unanswered. */
  async #seenBy(witness: Asked, signal: AbortSignal): Promise<Checkpoint | undefined> {
    const { origin } = this.#options.log;
    const path = toHex(sha256(utf8Encode(origin)));
    const reply = await call(`${witness.url}/${path}/checkpoint`, {}, signal);
    if (reply.status === 404) return undefined;
    if (reply.status !== 200) return unanswered(`it answered ${reply.status}`);
    try {
      const note = parseNote(reply.text);
      await verifyCosignature(note, trusted(witness));
      const seen = parseCheckpoint(note.text);
      return seen.origin === origin ? seen : unanswered("it answered for another log");
    } catch (cause) {
      if (!(cause instanceof SigilFault)) throw cause;
      return unanswered(cause.message, cause);
    }
  }

  async #requireBeginning({ label }: Asked, { size, root }: Checkpoint): Promise<void> {
    const { log } = this.#options;
    const state = this.#stateOf(label);
    const held = log.newest();
    const ours = size <= held.size && size > 0n ? await log.rootAt(size) : undefined;
    if (size > 0n && (ours === undefined || !equalBytes(ours, root))) {
      const seen = { witness: label, seenSize: size, seenRoot: toHex(root) };
      fail({ kind: "ledgerBehindWitness", ...seen, size: held.size, root: toHex(ours ?? held.root) });
    }
    Object.assign(state, { size, isAnswering: true });
  }

  #stateOf(label: string): State {
    return this.#states.get(label) ?? fail({ kind: "notFound", what: "witness", id: label });
  }
}

const trusted = ({ name, publicKey }: PolicyWitness) => ({ name, publicKey, verify: verifyForeign });

/** The line by this witness among those of its answer. @throws Unanswered unless it verifies over the checkpoint. */
const lineOf = async (witness: PolicyWitness, checkpoint: string, answer: string): Promise<NoteSignature> => {
  try {
    const { text } = parseNote(checkpoint);
    const note = parseNote(`${text}\n${answer}`);
    await verifyCosignature(note, trusted(witness));
    const own = note.signatures.find(
      ({ name, signature }) => name === witness.name && signature.length === 72,
    );
    return own ?? unanswered("its answer has no signature of its own");
  } catch (cause) {
    if (!(cause instanceof SigilFault)) throw cause;
    return unanswered(cause.message, cause);
  }
};
