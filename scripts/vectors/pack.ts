/** An evidence pack of the sample ledger, and changed ones: for each step of docs/spec/pack.md what it refuses. */
import { concatBytes, fromBase64, toBase64, toHex, utf8Encode, type Hash } from "@sigil/core/bytes";
import { cborEncode } from "@sigil/core/cbor";
import { sha256 } from "@sigil/core/hash";
import { foldTile, parseCheckpoint, parseNote, type NodeCoordinate } from "@sigil/core/merkle";
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
  parseControls,
  tableHead,
  type CallerLine,
  type PackFileName,
  type PackManifest,
  type PackStep,
} from "@sigil/core/pack";
import { formatDisclosures, readDecision } from "@sigil/core/record";
import { leafOf, openRecord, readRecord, type ProvenRecord } from "@sigil/core/verify";
import { at, makeLedger, secondOpening, strangerPolicy, type SampleLedger } from "./evidence-ledger.ts";

/** Text, but for `proof`, which is hexadecimal. */
type Files = Readonly<Partial<Record<PackFileName, string>>>;
type Change = {
  readonly files?: (files: Files) => Files;
  readonly manifest?: (manifest: PackManifest) => PackManifest;
  /** Of the manifest. */
  readonly text?: (text: string) => string;
  readonly ledger?: SampleLedger;
};

const positions = Object.values(at);
const decisionsAt = [at.decision, at.kept, at.partial, at.second];
const recordsAt = [at.genesis, at.model, at.recordKey, at.checkpointKey, at.retirement];
const toMs = 1_700_000_000_001;

const controls = parseControls(
  JSON.stringify({
    controls: [
      { id: "C-1", title: "What was refused", filters: [{ verdict: "deny" }] },
      { id: "C-2", filters: [{ action: "read", target: "user/**", caller: "ann" }] },
    ],
  }),
);

const bytesOf = (name: string, text: string): Uint8Array =>
  name === "proof" ? Uint8Array.from(Buffer.from(text, "hex")) : utf8Encode(text);

const disclosures = toBase64(cborEncode(formatDisclosures({ input: secondOpening })));

const proofOf = async (records: readonly ProvenRecord[], known: readonly bigint[]): Promise<string> => {
  const leaves = records.map(({ envelope }) => leafOf(envelope));
  const proof: Hash[] = [];
  const tree = new SparseTree((nodes: readonly NodeCoordinate[]) => {
    const hashes = nodes.map(({ level, index }) =>
      foldTile(leaves.slice(Number(index) << level, (Number(index) + 1) << level)),
    );
    proof.push(...hashes);
    return Promise.resolve(hashes);
  });
  for (const position of known) await tree.add(position, leaves[Number(position)] as Hash);
  await tree.close(BigInt(records.length));
  return toHex(concatBytes(...proof));
};

const makePack = async ({ files: change, manifest: say, text: spell, ledger }: Change = {}): Promise<
  Readonly<Record<string, string>>
> => {
  const { evidence, genesis } = ledger ?? (await makeLedger());
  const { records, checkpoint, origin } = evidence(at.genesis, positions);
  const recordAt = (position: bigint): ProvenRecord => records[Number(position)] as ProvenRecord;
  const [tally, count] = [new Tally(), new ControlCount(controls)];
  let [lines, table, rows] = ["", tableHead, controlsHead];
  for (const position of decisionsAt) {
    const { envelope } = recordAt(position);
    const opened = openRecord(position, envelope);
    const body = readRecord(opened, {});
    const disclosed = position === at.second ? { input: secondOpening } : {};
    const decision = { position, hash: opened.hash, body, chain: readDecision(body, disclosed) };
    tally.add(decision);
    const line = {
      position,
      envelope: toBase64(envelope),
      disclosures: position === at.second ? disclosures : undefined,
    };
    lines += `${formatDecisionLine(line, columnsOf(decision))}\n`;
    table += formatTableRow(position, columnsOf(decision));
    rows += count.add(decision);
  }
  const caller: CallerLine = {
    caller: "ann",
    before: null,
    after: { position: at.second, number: 1 },
    end: "newest",
    decisions: 1,
  };
  const known = [...recordsAt, ...decisionsAt].toSorted((a, b) => (a < b ? -1 : 1));
  const whole: Files = {
    "callers.jsonl": `${formatCallerLine(caller)}\n`,
    "controls.csv": rows,
    "controls.json": formatCountedControls(count.counted),
    "decisions.csv": table,
    "decisions.jsonl": lines,
    proof: await proofOf(records, known),
    "records.jsonl": recordsAt
      .map((position) => formatRecordLine({ position, envelope: toBase64(recordAt(position).envelope) }))
      .join("\n")
      .concat("\n"),
  };
  const files = change?.(whole) ?? whole;
  const manifest: PackManifest = {
    tool: "sigil vectors",
    origin,
    genesis,
    tenant: "acme",
    fromMs: null,
    toMs,
    checkpoint,
    counts: { decisions: decisionsAt.length, records: recordsAt.length, callers: 1 },
    gaps: tally.gaps([caller], []),
    files: (Object.entries(files) as [PackFileName, string][]).map(([name, text]) => {
      const bytes = bytesOf(name, text);
      return { name, bytes: bytes.length, sha256: toHex(sha256(bytes)) };
    }),
  };
  const text = formatManifest(say?.(manifest) ?? manifest);
  return { ...files, "manifest.json": spell?.(text) ?? text };
};

type Trust = { readonly genesis: string | null; readonly policy: string | null };
type Refused = readonly [step: PackStep["name"], what: string, change: Change, trust?: Partial<Trust>];

const replacing =
  (name: PackFileName, from: string | RegExp, to: string) =>
  (files: Files): Files => ({ ...files, [name]: files[name]?.replace(from, to) });

const withoutLine =
  (name: PackFileName, line: number) =>
  (files: Files): Files => ({
    ...files,
    [name]: (files[name] ?? "").split("\n").toSpliced(line, 1).join("\n"),
  });

/** With another last byte of its signature, which stands before the empty list of attestations. */
const resigned = (line: string): string => {
  const record = JSON.parse(line) as { readonly envelope: string };
  const envelope = fromBase64(record.envelope);
  envelope[envelope.length - 2] = (envelope.at(-2) ?? 0) ^ 1;
  return JSON.stringify({ ...record, envelope: toBase64(envelope) });
};

const resigning =
  (name: PackFileName, line: number) =>
  (files: Files): Files => {
    const lines = (files[name] ?? "").split("\n");
    return { ...files, [name]: lines.with(line, resigned(lines[line] ?? "")).join("\n") };
  };

const refusals = async (): Promise<readonly Refused[]> => [
  [
    "manifest",
    "a time of no calendar",
    { text: (manifest) => manifest.replace("2023-11-14T", "2023-11-31T") },
  ],
  [
    "files",
    "another digest",
    {
      manifest: (manifest) => ({
        ...manifest,
        files: manifest.files.map((file) => ({ ...file, sha256: "00".repeat(32) })),
      }),
    },
  ],
  ["genesis", "another genesis than the reader knows", {}, { genesis: "00".repeat(32) }],
  ["keys", "an announcement with another signature", { files: resigning("records.jsonl", 2) }],
  [
    "lines",
    "a view that says otherwise",
    { files: replacing("decisions.jsonl", '"verdict":"deny"', '"verdict":"allow"') },
  ],
  [
    "lines",
    "a file that was cut off",
    { files: (files) => ({ ...files, "decisions.jsonl": files["decisions.jsonl"]?.slice(0, -1) ?? "" }) },
  ],
  ["signature", "a decision with another signature", { files: resigning("decisions.jsonl", 1) }],
  [
    "record",
    "a decision that was not made in the span",
    { manifest: (manifest) => ({ ...manifest, toMs: toMs - 1 }) },
  ],
  ["record", "another tenant", { manifest: (manifest) => ({ ...manifest, tenant: "globex" }) }],
  [
    "disclosures",
    "a salt that was changed",
    { files: replacing("decisions.jsonl", disclosures, disclosures.replace("AwMD", "AwME")) },
  ],
  [
    "inclusion",
    "a proof of other hashes",
    { files: (files) => ({ ...files, proof: "00".repeat((files.proof ?? "").length / 2) }) },
  ],
  [
    "inclusion",
    "a proof that is too short",
    { files: (files) => ({ ...files, proof: files.proof?.slice(64) ?? "" }) },
  ],
  [
    "checkpoint",
    "a checkpoint without the log's signature",
    {
      manifest: (manifest) => ({
        ...manifest,
        checkpoint: manifest.checkpoint.replace(/\u2014 ledger\.example\/main .*\n/, ""),
      }),
    },
  ],
  ["policy", "a policy of another key of the log", {}, { policy: strangerPolicy }],
  [
    "decision",
    "another verdict than the model gives",
    {
      ledger: await makeLedger({
        chain: (chain) => ({ ...chain, verdict: "review", reason: "SCORE_IN_REVIEW_BAND" }),
      }),
    },
  ],
  [
    "completeness",
    "a gap that is not named",
    { manifest: (manifest) => ({ ...manifest, gaps: manifest.gaps.slice(1) }) },
  ],
  [
    "completeness",
    "a number that nothing says",
    { files: replacing("callers.jsonl", '"number":1', '"number":2') },
  ],
  ["table", "a row that says otherwise", { files: replacing("decisions.csv", ",deny,", ",allow,") }],
  ["controls", "another count", { files: replacing("controls.json", '"decisions": 1', '"decisions": 2') }],
  ["controls", "a row that is missing", { files: withoutLine("controls.csv", 1) }],
  ["trust", "nothing that its reader trusts", {}, { genesis: null, policy: null }],
];

export const packVectors = async () => {
  const { genesis, policy } = await makeLedger();
  const whole = await makePack();
  const trusted: Trust = { genesis: toHex(genesis), policy };
  const refuse: object[] = [];
  for (const [step, what, change, trust = {}] of await refusals()) {
    const made = await makePack(change);
    const files = Object.fromEntries(Object.entries(made).filter(([name, text]) => whole[name] !== text));
    refuse.push({
      step,
      what,
      files,
      trust: {
        ...trusted,
        ...(change.ledger === undefined ? {} : { genesis: toHex(change.ledger.genesis) }),
        ...trust,
      },
    });
  }
  const { size } = parseCheckpoint(
    parseNote((JSON.parse(whole["manifest.json"] ?? "") as { readonly checkpoint: string }).checkpoint).text,
  );
  return {
    about: `A pack of a ledger of ${size} records. Files are text, but for proof, which is hexadecimal; those of a refused pack that are not named are the accepted one's.`,
    trust: trusted,
    accept: whole,
    refuse,
  };
};
