/**
 * What the records of a pack are there for, and what follows from the decisions, read once from beginning to end.
 * Pure. Holds models, restorations, two records a caller, and each caller's numbers; never decisions. Source:
 * docs/spec/pack.md §8.
 */
import { fromBase64, toHex, utf8Encode, equalBytes } from "../bytes.ts";
import { cborDecode, type CborValue } from "../cbor/cbor.ts";
import { packCallersMax, packModelsMax, packRestorationsMax } from "../limits.ts";
import type { Replay } from "../model/recompute.ts";
import { readDisclosures, type Disclosures } from "../record/commitment.ts";
import { readDecision } from "../record/decision.ts";
import { parseCallerHead } from "../record/kinds/caller-head.ts";
import type { RecordBody } from "../record/record.ts";
import { restorationPrefix } from "../record/system.ts";
import { describeReplay, isOfKeys, replayOf } from "../verify/grounds.ts";
import { leafOf, readRecord } from "../verify/record.ts";
import { refuse, ruleOf } from "../verify/steps.ts";
import { ByteReader } from "./byte-reader.ts";
import { columnsOf, formatTableRow, tableHead, type PackDecision } from "./columns.ts";
import { ControlCount, controlsHead, type Control } from "./controls.ts";
import { formatDecisionLine, type DecisionLine } from "./lines.ts";
import type { ParsedManifest } from "./manifest.ts";
import { inPackStep, type PackItem, type PackReader } from "./reading.ts";
import type { PackStepName } from "./steps.ts";
import { Tally } from "./tally.ts";
import type { SparseTree } from "./tree.ts";

/** A record that says a number of a caller's, besides the decisions of the span. */
export type Boundary = {
  readonly caller: string;
  readonly number: number;
  readonly kind: "decision" | "head";
  readonly timeMs: number;
};

/** A file of rows beside what they must be. */
class ComparedRows {
  readonly #reader: ByteReader;
  #isSame = true;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#reader = new ByteReader(chunks);
  }

  async expect(text: string): Promise<boolean> {
    if (!this.#isSame) return true;
    const wanted = utf8Encode(text);
    const found = await this.#reader.take(wanted.length);
    this.#isSame = found !== undefined && equalBytes(found, wanted);
    return this.#isSame;
  }

  async isOver(): Promise<boolean> {
    return !this.#isSame || this.#reader.isOver();
  }
}

type ContentOptions = {
  readonly manifest: ParsedManifest;
  readonly tree: SparseTree;
  readonly controls: readonly Control[] | undefined;
};

export class PackContent {
  readonly tally = new Tally();
  readonly controls: ControlCount | undefined;
  readonly boundaries = new Map<bigint, Boundary>();
  readonly restorations: bigint[] = [];
  readonly counts = { decisions: 0, records: 0, disclosed: 0, equal: 0, partial: 0 };
  /** The first rule that was broken of each step that is not taken yet. */
  readonly broken = new Map<PackStepName, string>();
  readonly #manifest: ParsedManifest;
  readonly #tree: SparseTree;
  readonly #models = new Map<string, { readonly payload: CborValue; isNamed: boolean }>();
  readonly #table: ComparedRows;
  readonly #controlRows: ComparedRows | undefined;
  readonly #damaged: ReadonlySet<string>;

  constructor(reader: PackReader, { manifest, tree, controls }: ContentOptions) {
    this.#manifest = manifest;
    this.#tree = tree;
    this.#table = new ComparedRows(reader.read("decisions.csv"));
    if (controls !== undefined) {
      this.controls = new ControlCount(controls);
      this.#controlRows = new ComparedRows(reader.read("controls.csv"));
    }
    this.#damaged = new Set(manifest.gaps.flatMap((gap) => (gap.kind === "damaged" ? [gap.position] : [])));
  }

  async begin(): Promise<void> {
    await this.#compare("table", this.#table, tableHead, "its head");
    if (this.#controlRows !== undefined)
      await this.#compare("controls", this.#controlRows, controlsHead, "its head");
  }

  /** @throws Refused naming the step. */
  async add(item: PackItem): Promise<void> {
    const { line, opened } = item;
    if (this.#damaged.has(String(line.position))) {
      this.#note("completeness", `position ${line.position} is said to be damaged, and is there`);
    }
    if (line.kind === "decision") await this.#decision(line, item);
    else await inPackStep("record", () => this.#record(item));
    await inPackStep("inclusion", () => this.#tree.add(line.position, leafOf(opened.envelope)));
  }

  /** After the last. @throws Refused naming the step. */
  async end(): Promise<void> {
    const { counts } = this.#manifest;
    await inPackStep("record", () => {
      for (const name of ["decisions", "records"] as const) {
        if (counts[name] !== this.counts[name])
          refuse(`the manifest counts ${counts[name]} ${name}, there are ${this.counts[name]}`);
      }
      const idle = [...this.#models].find(([, { isNamed }]) => !isNamed);
      if (idle !== undefined) refuse(`no decision names the model ${idle[0]}`);
    });
    if (!(await this.#table.isOver())) this.#note("table", "there is more than the decisions make");
    if (this.#controlRows !== undefined && !(await this.#controlRows.isOver()))
      this.#note("controls", "controls.csv has more than the decisions make");
  }

  #note(step: PackStepName, rule: string): void {
    if (!this.broken.has(step)) this.broken.set(step, rule);
  }

  async #compare(step: "table" | "controls", rows: ComparedRows, text: string, what: string): Promise<void> {
    const rule = `${step === "table" ? "decisions.csv" : "controls.csv"} differs from what the decisions make, at ${what}`;
    if (text !== "" && !(await rows.expect(text))) this.#note(step, rule);
  }

  #isInSpan({ ts }: RecordBody): boolean {
    const { fromMs, toMs } = this.#manifest;
    return ts < toMs && (fromMs === null || ts >= fromMs);
  }

  async #decision(line: DecisionLine & { readonly text: string }, { opened }: PackItem): Promise<void> {
    const { position, hash } = opened;
    const { origin, tenant } = this.#manifest;
    const body = await inPackStep("record", () => {
      const read = readRecord(opened, { origin, tenant });
      if (read.kind !== "frozen_chain" || read.space !== "user")
        return refuse(`the record at position ${position} is no decision`);
      return this.#isInSpan(read)
        ? read
        : refuse(`the decision at position ${position} was not made within the span`);
    });
    const disclosures = await inPackStep("disclosures", () => this.#disclosures(line, body));
    const chain = await inPackStep("record", () => readDecision(body, disclosures));
    const decision = { position, hash, body, chain };
    const columns = columnsOf(decision);
    await inPackStep("lines", () => {
      if (formatDecisionLine(line, columns) !== line.text)
        refuse(`the line of position ${position} is not what its record makes`);
    });
    this.counts.decisions += 1;
    await this.#replay(decision);
    this.#tallied(decision);
    await this.#compare("table", this.#table, formatTableRow(position, columns), `position ${position}`);
    if (this.controls !== undefined && this.#controlRows !== undefined)
      await this.#compare("controls", this.#controlRows, this.controls.add(decision), `position ${position}`);
  }

  #disclosures({ position, disclosures }: DecisionLine, body: RecordBody): Disclosures {
    if (disclosures === undefined) return {};
    const read = readDisclosures(cborDecode(fromBase64(disclosures)), body);
    if (Object.keys(read).length === 0) refuse(`the decision at position ${position} discloses nothing`);
    this.counts.disclosed += 1;
    return read;
  }

  #tallied(decision: PackDecision): void {
    try {
      this.tally.add(decision);
    } catch (error) {
      this.#note("completeness", ruleOf(error));
    }
  }

  async #replay({ position, chain }: PackDecision): Promise<void> {
    const { hash } = chain.model;
    const model = hash === null ? undefined : this.#models.get(toHex(hash));
    if (hash !== null && model === undefined)
      await inPackStep("record", () =>
        refuse(`the decision at position ${position} names the model ${toHex(hash)}, which is missing`),
      );
    if (model !== undefined) model.isNamed = true;
    try {
      const replayed: Replay = replayOf(chain, model?.payload);
      describeReplay(replayed);
      this.counts[replayed.outcome === "equal" ? "equal" : "partial"] += 1;
    } catch (error) {
      this.#note("decision", `position ${position}: ${ruleOf(error)}`);
    }
  }

  /** What a record besides the decisions is there for. One that is there for nothing is refused. */
  #record({ opened }: PackItem): void {
    this.counts.records += 1;
    const { position, hash } = opened;
    const { origin, tenant } = this.#manifest;
    const body = readRecord(opened, { origin });
    if (isOfKeys(opened)) return;
    if (body.space === "system" && body.kind === "trust_model") {
      if (this.#models.size === packModelsMax) refuse(`there are more than ${packModelsMax} models`);
      this.#models.set(toHex(hash), { payload: body.payload, isNamed: false });
    } else if (body.space === "system" && body.id.startsWith(restorationPrefix)) {
      if (this.restorations.length === packRestorationsMax)
        refuse(`there are more than ${packRestorationsMax} restorations`);
      this.restorations.push(position);
    } else if (body.tenant === tenant && this.#isNumbered(position, body)) {
      if (this.boundaries.size > 2 * packCallersMax)
        refuse(`there are more than ${2 * packCallersMax} records around the span`);
    } else refuse(`nothing needs the record at position ${position}`);
  }

  /** A decision outside of the span, or a head: what a caller's numbers end with. */
  #isNumbered(position: bigint, body: RecordBody): boolean {
    const { ts: timeMs } = body;
    if (body.kind === "caller_head") {
      const { caller, seq: number } = parseCallerHead(body.payload);
      this.boundaries.set(position, { caller, number, kind: "head", timeMs });
      return true;
    }
    if (body.kind !== "frozen_chain" || this.#isInSpan(body)) return false;
    const { request, callerSeq: number } = readDecision(body);
    if (number === undefined) return false;
    this.boundaries.set(position, { caller: request.caller, number, kind: "decision", timeMs });
    return true;
  }
}
