/**
 * Verifies an evidence pack in named steps, from the pack alone and from what its reader trusts. Pure: where it lies,
 * and how signatures are verified, are arguments. Source: docs/spec/pack.md §8. Reads each file twice, and holds no
 * decision.
 */
import { parseHash, toHex, utf8Decode, type Hash } from "../bytes.ts";
import { cborEntriesMax, packManifestBytesMax, controlsWrittenBytesMax } from "../limits.ts";
import { equalBytes } from "../bytes.ts";
import { takeCheckpoint, takeKeys, takeTrust, type EvidenceTrust } from "../verify/grounds.ts";
import type { VerifySignature } from "../verify/record.ts";
import { counted, refuse, Refused, ruleOf, StepList } from "../verify/steps.ts";
import { ByteReader } from "./byte-reader.ts";
import { checkCompleteness } from "./completeness.ts";
import { PackContent } from "./content.ts";
import { parseCountedControls, type CountedControl } from "./controls.ts";
import { manifestName, parseManifest, type PackManifest, type ParsedManifest } from "./manifest.ts";
import { inPackStep, readItems, readKeyRecords, type PackReader } from "./reading.ts";
import { packSteps, type PackStep, type PackStepName } from "./steps.ts";
import { SparseTree } from "./tree.ts";

/** What the pack shows, as far as its steps held. Nothing of it counts unless all of them do. */
export type PackFindings = {
  readonly manifest?: PackManifest;
  readonly controls?: readonly CountedControl[];
  /** Names of the policy's witnesses that cosigned. */
  readonly cosigned?: readonly string[];
};

export type PackVerdict = {
  readonly holds: boolean;
  /** Every step, in order. */
  readonly steps: readonly PackStep[];
  readonly findings: PackFindings;
};

export type PackProgress = (step: "files" | "decisions", done: bigint, total: bigint) => void;

export type PackVerifying = {
  /** Strict, as for foreign signatures: see `keys/verify.ts`. */
  readonly verify: VerifySignature;
  readonly onProgress: PackProgress;
};

/** @throws Refused. */
const readText = async (reader: PackReader, name: string, bytesMax: number): Promise<string> => {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of reader.read(name)) {
    bytes += chunk.length;
    if (bytes > bytesMax) refuse(`${name} is longer than ${bytesMax} bytes`);
    parts.push(chunk);
  }
  const whole = new Uint8Array(bytes);
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  try {
    return utf8Decode(whole);
  } catch {
    return refuse(`${name} is not UTF-8`);
  }
};

/** Step `files`. */
const checkFiles = async (
  reader: PackReader,
  { files }: PackManifest,
  onProgress: PackProgress,
): Promise<bigint> => {
  const known = new Set<string>([manifestName, ...files.map(({ name }) => name)]);
  const names = await reader.names();
  const other = names.find((name) => !known.has(name));
  if (other !== undefined) refuse(`${other} is none of the pack's files`);
  const missing = files.find(({ name }) => !names.includes(name));
  if (missing !== undefined) refuse(`${missing.name} is missing`);
  const total = BigInt(files.reduce((sum, { bytes }) => sum + bytes, 0));
  let done = 0n;
  for (const { name, bytes, sha256 } of files) {
    const found = await reader.digest(name);
    if (found.bytes !== bytes) refuse(`${name} has ${found.bytes} bytes, the manifest says ${bytes}`);
    if (found.sha256 !== sha256)
      refuse(`${name} has the SHA-256 ${found.sha256}, the manifest says ${sha256}`);
    done += BigInt(bytes);
    onProgress("files", done, total);
  }
  return total;
};

/** Hashes of the file `proof`, as the tree asks for them. */
class ProofReader {
  readonly #reader: ByteReader;
  #hashes = 0;

  constructor(reader: PackReader) {
    this.#reader = new ByteReader(reader.read("proof"));
  }

  get hashes(): number {
    return this.#hashes;
  }

  async read(count: number): Promise<readonly Hash[]> {
    const bytes = (await this.#reader.take(32 * count)) ?? refuse("the proof ends before the tree does");
    this.#hashes += count;
    return Array.from({ length: count }, (_, at) => parseHash(bytes.subarray(32 * at, 32 * at + 32)));
  }

  async requireOver(): Promise<void> {
    if (!(await this.#reader.isOver())) refuse("the proof goes on after the tree");
  }
}

class Verifying {
  readonly #list = new StepList<PackStepName>(packSteps);
  readonly #reader: PackReader;
  readonly #trust: EvidenceTrust;
  readonly #options: PackVerifying;
  #findings: PackFindings = {};

  constructor(reader: PackReader, trust: EvidenceTrust, options: PackVerifying) {
    this.#reader = reader;
    this.#trust = trust;
    this.#options = options;
  }

  async run(): Promise<PackVerdict> {
    try {
      await this.#judge();
    } catch (error) {
      const step = error instanceof Refused ? (error.step as PackStepName | undefined) : undefined;
      this.#list.refuse(ruleOf(error), step);
    }
    const { holds, steps } = this.#list;
    return { holds, steps, findings: this.#findings };
  }

  async #judge(): Promise<void> {
    const [list, reader, { verify, onProgress }] = [this.#list, this.#reader, this.#options];
    const manifest = await list.take("manifest", async () => {
      const parsed = parseManifest(await readText(reader, manifestName, packManifestBytesMax));
      return [
        parsed,
        `${counted(parsed.counts.decisions, "decision")} of ${parsed.tenant}, by ${parsed.tool}`,
      ];
    });
    this.#findings = { manifest };
    await list.take("files", async () => {
      const total = await checkFiles(reader, manifest, onProgress);
      return [undefined, `${counted(manifest.files.length, "file")}, ${total} bytes`];
    });
    const controls = await this.#controls(manifest);
    const records = await readKeyRecords(reader, cborEntriesMax);
    const { origin, tree: checkpoint, checkpoint: note } = manifest;
    const [first] = records;
    if (first?.position === 0n && !equalBytes(first.hash, manifest.genesis))
      refuse("the manifest names another genesis record");
    const { ring } = await takeKeys(list, { records, origin }, this.#trust.genesis, verify);
    const proof = new ProofReader(reader);
    const tree = new SparseTree((nodes) => proof.read(nodes.length));
    const content = new PackContent(reader, { manifest, tree, controls });
    await this.#read(content, { size: checkpoint.size, ring, verify });
    const { counts } = content;
    list.pass("lines", `${counts.decisions + counts.records} in the order of the ledger`);
    list.pass("signature", counted(counts.decisions + counts.records, "record"));
    list.pass("record", `${counted(counts.decisions, "decision")}, ${counts.records} others`);
    if (counts.disclosed === 0) list.skip("disclosures", "there are none");
    else list.pass("disclosures", `of ${counted(counts.disclosed, "decision")}`);
    await list.take("inclusion", async () => {
      const root = await tree.close(checkpoint.size);
      await proof.requireOver();
      if (!equalBytes(root, checkpoint.root))
        refuse(
          `records and proof lead to the root ${toHex(root)}, the checkpoint's is ${toHex(checkpoint.root)}`,
        );
      return [undefined, `all in the tree of ${checkpoint.size}, with ${proof.hashes} hashes between them`];
    });
    const cosigned = await takeCheckpoint(list, { origin, note, checkpoint }, ring, this.#trust, verify);
    if (cosigned !== undefined) this.#findings = { ...this.#findings, cosigned };
    await this.#conclude(manifest, content);
  }

  async #controls({ files }: PackManifest): Promise<readonly CountedControl[] | undefined> {
    if (!files.some(({ name }) => name === "controls.json")) return undefined;
    const controls = await inPackStep("controls", async () =>
      parseCountedControls(await readText(this.#reader, "controls.json", controlsWrittenBytesMax)),
    );
    this.#findings = { ...this.#findings, controls };
    return controls;
  }

  async #read(content: PackContent, tree: Parameters<typeof readItems>[1]): Promise<void> {
    const total = BigInt(this.#findings.manifest?.counts.decisions ?? 0);
    await content.begin();
    for await (const items of readItems(this.#reader, tree)) {
      for (const item of items) await content.add(item);
      this.#options.onProgress("decisions", BigInt(content.counts.decisions), total);
    }
    await content.end();
  }

  /** Steps `decision` to `trust`. */
  async #conclude(manifest: ParsedManifest, content: PackContent): Promise<void> {
    const list = this.#list;
    const unlessBroken = (step: PackStepName): void => {
      const rule = content.broken.get(step);
      if (rule !== undefined) refuse(rule);
    };
    await list.take("decision", () => {
      unlessBroken("decision");
      const { equal, partial } = content.counts;
      return [undefined, `${equal} equal, ${partial} partial: what was not disclosed is taken as recorded`];
    });
    await list.take("completeness", async () => {
      const { callers, gaps } = await checkCompleteness(this.#reader, manifest, content);
      return [undefined, `numbers of ${counted(callers, "caller")}, ${counted(gaps, "gap")} named`];
    });
    await list.take("table", () => {
      unlessBroken("table");
      return [undefined, "decisions.csv says what the records say"];
    });
    const { controls } = this.#findings;
    if (controls === undefined) list.skip("controls", "there are none");
    else {
      await list.take("controls", () => {
        unlessBroken("controls");
        const found = content.controls?.counted ?? [];
        const wrong = found.findIndex(({ decisions }, at) => decisions !== controls[at]?.decisions);
        if (wrong >= 0)
          refuse(
            `${found[wrong]?.decisions} decisions match ${found[wrong]?.id}, it says ${controls[wrong]?.decisions}`,
          );
        return [
          undefined,
          `${counted(controls.length, "control")} of a mapping that the user wrote: no claim that one is met`,
        ];
      });
    }
    await takeTrust(list, this.#trust);
  }
}

/** Never throws on what a pack holds; rejects where it cannot be read. */
export const verifyPack = (
  reader: PackReader,
  trust: EvidenceTrust,
  options: PackVerifying,
): Promise<PackVerdict> => new Verifying(reader, trust, options).run();
