/**
 * Writes an evidence pack: decisions as they come, then the records that they rest on, one proof for all, and the
 * manifest. Holds each caller's numbers and the records around the span, never decisions. A pack whose proof does not
 * lead to the root of its checkpoint is not published. Source: docs/spec/pack.md.
 */
import { setTimeout as pause } from "node:timers/promises";
import { ProofError, type FrozenChain } from "@sigil/client";
import { equalBytes, fromBase64, parseHash, toBase64, toHex, type Hash } from "@sigil/core/bytes";
import { cborDecode } from "@sigil/core/cbor";
import { Fault } from "@sigil/core/errors";
import { packCallersMax } from "@sigil/core/limits";
import { parseCheckpoint, parseNote, readHashesFromTiles, type NodeCoordinate } from "@sigil/core/merkle";
import {
  ControlCount,
  SparseTree,
  Tally,
  columnsOf,
  controlsHead,
  formatCallerLine,
  formatCountedControls,
  formatDecisionLine,
  formatManifest,
  formatRecordLine,
  formatTableRow,
  inOrder,
  linesOf,
  parseDecisionLine,
  tableHead,
  type CallerLine,
  type Control,
  type PackDecision,
  type PackGap,
  type PackManifest,
  type RecordLine,
} from "@sigil/core/pack";
import { readDecision, readDisclosures } from "@sigil/core/record";
import { leafOf, openRecord, readRecord } from "@sigil/core/verify";
import { packCheckpointMs, packCheckpointMsMax } from "../../limits.ts";
import { usage } from "../terminal/command.ts";
import { version } from "../terminal/version.ts";
import type { PackDirectory, PackFileWriter } from "./directory.ts";
import { recordLineOf, refuse, type PackSource, type PackSpan } from "./source.ts";

export type PackContents = {
  readonly span: PackSpan;
  /** Callers to claim something of, besides those that decide in the span. */
  readonly callers: readonly string[];
  readonly controls: readonly Control[] | undefined;
  readonly withDisclosures: boolean;
};

export type WritingOptions = {
  readonly directory: PackDirectory;
  readonly source: PackSource;
  readonly contents: PackContents;
  /** @param step of the ledger: how far of how much of it. */
  readonly onProgress: (step: string, done: bigint, total: bigint) => void;
  readonly signal: AbortSignal;
};

/** A decision as a server gave it. @throws Fault. */
const decisionOf = ({
  record,
}: FrozenChain): PackDecision & { readonly disclosed: Uint8Array | undefined } => {
  if (record === undefined) return refuse("a decision came without its record");
  const { position, envelope } = record;
  const opened = openRecord(position, envelope);
  const body = readRecord(opened, {});
  const disclosed = record.disclosures.length === 0 ? undefined : record.disclosures;
  const disclosures = disclosed === undefined ? {} : readDisclosures(cborDecode(disclosed), body);
  return { position, hash: opened.hash, body, chain: readDecision(body, disclosures), disclosed };
};

/** Errors of what a server sent: its fault, and none of this program. */
const received = <T>(work: () => T): T => {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    throw new ProofError(`the server's answer is not to be used: ${error.message}`, { cause: error });
  }
};

type Streams = {
  readonly lines: PackFileWriter;
  readonly table: PackFileWriter;
  readonly controlRows: PackFileWriter | undefined;
};

/** What is claimed of callers, and the records that show it. */
type Statement = {
  readonly callers: readonly CallerLine[];
  readonly restorations: readonly bigint[];
  readonly records: readonly RecordLine[];
};

export class PackWriting {
  readonly #options: WritingOptions;
  readonly #tally = new Tally();
  readonly #controls: ControlCount | undefined;
  /** Other records than decisions of the span, by their positions. */
  readonly #records = new Map<bigint, RecordLine>();
  readonly #models = new Set<string>();
  readonly #damaged: PackGap[] = [];
  #tenant: string;
  #decisions = 0;
  #next = 0n;

  constructor(options: WritingOptions) {
    this.#options = options;
    const { controls, span } = options.contents;
    this.#controls = controls && new ControlCount(controls);
    this.#tenant = span.tenant;
  }

  /** The pack is there when it resolves. @throws SigilError, ProofError, usage. */
  async write(): Promise<PackManifest> {
    const { directory } = this.#options;
    const { callers, restorations, records: shown } = await this.#writeDecisions();
    for (const record of shown) this.#records.set(record.position, record);
    if (this.#tenant === "") usage("--tenant NAME is needed: no decision and no caller tells it");
    const { note, size, root } = await this.#checkpoint();
    await this.#gatherKeys(size);
    const records = [...this.#records.values()].toSorted((a, b) => (a.position < b.position ? -1 : 1));
    await this.#writeLines("records.jsonl", records.map(formatRecordLine));
    await this.#writeLines("callers.jsonl", callers.map(formatCallerLine));
    if (this.#controls !== undefined) {
      const file = await directory.open("controls.json");
      await file.append(formatCountedControls(this.#controls.counted));
      await directory.close(file);
    }
    await this.#writeProof(records, { size, root });
    const genesis = records[0] ?? refuse("the genesis record is missing");
    const opened = received(() => openRecord(genesis.position, fromBase64(genesis.envelope)));
    const { span } = this.#options.contents;
    const manifest: PackManifest = {
      tool: version(),
      origin: opened.statement.origin,
      genesis: opened.hash,
      tenant: this.#tenant,
      fromMs: span.from?.getTime() ?? null,
      toMs: span.to.getTime(),
      checkpoint: note,
      counts: { decisions: this.#decisions, records: records.length, callers: callers.length },
      gaps: [...this.#tally.gaps(callers, restorations), ...this.#damaged],
      files: directory.files,
    };
    await directory.publish(formatManifest(manifest));
    return manifest;
  }

  /** Decisions, as often as others came meanwhile, and then what is claimed of their callers. */
  async #writeDecisions(): Promise<Statement> {
    const { directory } = this.#options;
    const streams: Streams = {
      lines: await directory.open("decisions.jsonl"),
      table: await directory.open("decisions.csv"),
      controlRows: this.#controls && (await directory.open("controls.csv")),
    };
    await streams.table.append(tableHead);
    await streams.controlRows?.append(controlsHead);
    const statement = await this.#readAndState(streams);
    const { lines, table, controlRows } = streams;
    await directory.close(lines, table, ...(controlRows === undefined ? [] : [controlRows]));
    return statement;
  }

  /** Until no decision of the span was recorded while the numbers around it were proved. */
  async #readAndState(streams: Streams): Promise<Statement> {
    let statement: Statement | undefined;
    for (let decisions = -1; ;) {
      await this.#readDecisions(streams);
      if (statement !== undefined && decisions === this.#decisions) return statement;
      decisions = this.#decisions;
      statement = await this.#stateCallers();
    }
  }

  async #readDecisions(streams: Streams): Promise<void> {
    const { source, onProgress, signal } = this.#options;
    for await (const page of source.pages(this.#next)) {
      signal.throwIfAborted();
      if (page.kind === "damaged") this.#damaged.push({ kind: "damaged", position: String(page.position) });
      else for (const chain of page.chains) await this.#add(chain, streams);
      this.#next = page.next;
      if (page.kind === "chains")
        onProgress(`${this.#decisions} decisions; the ledger`, page.next, page.size);
    }
  }

  async #add(chain: FrozenChain, { lines, table, controlRows }: Streams): Promise<void> {
    const decision = received(() => decisionOf(chain));
    const { position, body, disclosed } = decision;
    if (position < this.#next) refuse("decisions are not in the order of the ledger");
    if (this.#tenant === "") this.#tenant = body.tenant;
    if (body.tenant !== this.#tenant) refuse(`a decision is of ${body.tenant}, and not of ${this.#tenant}`);
    const shown = this.#options.contents.withDisclosures ? disclosed : undefined;
    received(() => this.#tally.add(decision));
    await this.#addModel(decision.chain.model.hash);
    const columns = columnsOf(decision);
    const line = {
      position,
      envelope: toBase64(chain.record?.envelope ?? new Uint8Array(0)),
      disclosures: shown && toBase64(shown),
    };
    await lines.append(`${formatDecisionLine(line, columns)}\n`);
    await table.append(formatTableRow(position, columns));
    await controlRows?.append(this.#controls?.add(decision) ?? "");
    this.#next = position + 1n;
    this.#decisions += 1;
  }

  async #addModel(hash: Hash | null): Promise<void> {
    if (hash === null || this.#models.has(toHex(hash))) return;
    this.#models.add(toHex(hash));
    const model = await this.#options.source.model(hash);
    this.#records.set(model.position, model);
  }

  async #stateCallers(): Promise<Statement> {
    const { source, contents, onProgress } = this.#options;
    const names = [...new Set([...this.#tally.callers, ...contents.callers])];
    if (names.length > packCallersMax) refuse(`a pack has at most ${packCallersMax} callers`);
    const [lines, shown]: [CallerLine[], RecordLine[]] = [[], []];
    const restored = new Set<bigint>();
    for (const [index, caller] of names.entries()) {
      const { line, records, restorations } = await source.caller(caller);
      lines.push(line);
      for (const position of restorations) restored.add(position);
      for (const record of records) {
        if (this.#tenant === "") this.#tenant = record.tenant;
        const { ts } = received(() => readRecord(openRecord(record.position, record.envelope), {}));
        // A decision of the span is among the decisions.
        if (record.kind !== "frozen_chain" || !this.#isInSpan(ts)) shown.push(recordLineOf(record));
      }
      onProgress("callers", BigInt(index + 1), BigInt(names.length));
    }
    return {
      callers: inOrder(lines),
      restorations: [...restored].toSorted((a, b) => (a < b ? -1 : 1)),
      records: [...shown, ...(await source.restorations(restored))],
    };
  }

  #isInSpan(ts: number): boolean {
    const { from, to } = this.#options.contents.span;
    return ts < to.getTime() && (from === undefined || ts >= from.getTime());
  }

  /** The first published checkpoint whose tree holds all that is in the pack. */
  async #checkpoint() {
    const { source, signal } = this.#options;
    const endMs = performance.now() + packCheckpointMsMax;
    const last = [...this.#records.keys()].reduce((a, b) => (a > b ? a : b), this.#next - 1n);
    for (;;) {
      const note = await source.checkpoint();
      const { size, root } = received(() => parseCheckpoint(parseNote(note).text));
      if (size > last) return { note, size, root };
      if (performance.now() > endMs)
        refuse(
          `the published checkpoint stays at size ${size}, and the pack needs ${last + 1n}: witnesses may be away`,
        );
      await pause(packCheckpointMs, undefined, { signal });
    }
  }

  async #gatherKeys(size: bigint): Promise<void> {
    for (const record of await this.#options.source.keyRecords()) {
      if (record.position < size) this.#records.set(record.position, record);
    }
  }

  async #writeLines(name: "records.jsonl" | "callers.jsonl", lines: readonly string[]): Promise<void> {
    const { directory } = this.#options;
    const file = await directory.open(name);
    for (const line of lines) await file.append(`${line}\n`);
    await directory.close(file);
  }

  /** What stands between the records, in the tree of the checkpoint. */
  async #writeProof(
    records: readonly RecordLine[],
    { size, root }: { readonly size: bigint; readonly root: Hash },
  ): Promise<void> {
    const { directory, source, onProgress, signal } = this.#options;
    const file = await directory.open("proof");
    const readHashes = readHashesFromTiles((tiles) => source.tiles(tiles, size));
    const tree = new SparseTree(async (nodes: readonly NodeCoordinate[]) => {
      const hashes = await readHashes(nodes);
      for (const hash of hashes) await file.append(hash);
      return hashes;
    });
    const waiting = [...records];
    let proved = 0n;
    const add = async ({ position, envelope }: RecordLine): Promise<void> => {
      await tree.add(position, leafOf(fromBase64(envelope)));
      proved += 1n;
    };
    const addBelow = async (position: bigint): Promise<void> => {
      for (let [first] = waiting; first !== undefined && first.position < position; [first] = waiting) {
        await add(first);
        waiting.shift();
      }
    };
    for await (const line of linesOf(directory.read("decisions.jsonl"))) {
      const decision = parseDecisionLine(line);
      await addBelow(decision.position);
      await add(decision);
      if (proved % 1000n === 0n) {
        signal.throwIfAborted();
        onProgress("proof", proved, BigInt(this.#decisions + records.length));
      }
    }
    await addBelow(size);
    if (!equalBytes(await tree.close(size), parseHash(root)))
      refuse("records and tiles do not lead to the root of the published checkpoint");
    await directory.close(file);
  }
}
