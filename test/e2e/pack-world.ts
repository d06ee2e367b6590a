/**
 * A deployment with decisions of several callers and tenants, its evidence packs, and what becomes of changed ones.
 */
import { createHash } from "node:crypto";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { expect } from "chai";
import { KeyRole, type SigilConnection } from "@sigil/client";
import { fromBase64, toBase64, utf8Encode } from "../../src/core/bytes.ts";
import { readHashesFromTiles, tileWidth } from "../../src/core/merkle/tile.ts";
import { formatManifest, parseManifest, type PackManifest } from "../../src/core/pack/manifest.ts";
import { SparseTree } from "../../src/core/pack/tree.ts";
import { leafOf } from "../../src/core/verify/record.ts";
import { sigilHere, type Ended } from "./command.ts";
import { Council, modelWith } from "./council.ts";
import type { ServeOptions } from "./deployment.ts";

export type Line = {
  readonly position: string;
  readonly envelope: string;
  readonly disclosures?: string;
  readonly decision?: Readonly<Record<string, unknown>>;
};

/** Text of a file → what it becomes. */
type Edits = Readonly<Record<string, (text: string) => string>>;

/** Lines of a file as values, and back. */
export const ofLines =
  (edit: (lines: readonly Line[]) => readonly (Line | string)[]) =>
  (text: string): string =>
    edit(
      text
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line) as Line),
    )
      .map((line) => `${typeof line === "string" ? line : JSON.stringify(line)}\n`)
      .join("");

/** One byte of an envelope's signature, counted from the end. */
export const withOtherSignature = (line: Line): Line => {
  const envelope = fromBase64(line.envelope);
  const at = envelope.length - 2;
  envelope[at] = (envelope[at] ?? 0) ^ 1;
  return { ...line, envelope: toBase64(envelope) };
};

/** A pack of a caller whose newest decision is older than a second ends with a head. */
export const config = { tiles_interval_ms: 0, caller_head_seconds: 1 };

export class PackWorld implements AsyncDisposable {
  readonly cwd: string;
  readonly council: Council;
  #packs = 0;
  /** Of the decisions in the middle. */
  from = new Date(0);
  to = new Date(0);

  private constructor(cwd: string, council: Council) {
    [this.cwd, this.council] = [cwd, council];
  }

  static async open(serve: (directory: string) => ServeOptions = () => ({})): Promise<PackWorld> {
    const cwd = await mkdtemp(join(tmpdir(), "sigil-packs-"));
    const council = await Council.open({ otherTenants: ["globex"] }, (directory) => ({
      config,
      ...serve(directory),
    }));
    const world = new PackWorld(cwd, council);
    for (const name of ["observer", "operator", "root"] as const) {
      const pem = council.deployment.privateKeys[name].export({ type: "pkcs8", format: "pem" });
      await writeFile(join(cwd, `${name}.pem`), pem, { mode: 0o600 });
    }
    return world;
  }

  async restart(): Promise<void> {
    await this.council.restart({ config });
  }

  get globex(): SigilConnection {
    return this.council.served.by("operator-globex", this.council.deployment.privateKeys.operator);
  }

  async decide(by: SigilConnection, count = 1, action = "write"): Promise<void> {
    for (let each = 0; each < count; each += 1) {
      await by.trust.check({
        action,
        target: "user/notes",
        input: utf8Encode(`text ${each}`),
        keepInput: each === 0,
      });
    }
  }

  /** Later than all there is, and earlier than all that comes. */
  async moment(): Promise<Date> {
    await pause(3);
    const now = new Date();
    await pause(3);
    return now;
  }

  /**
   * Three before, then a rotation of both keys, a restart and another model among those in the span, and one after.
   */
  async fill(): Promise<void> {
    const { council } = this;
    await this.decide(council.as("operator"), 3);
    this.from = await this.moment();
    await this.decide(council.as("operator"), 2);
    await this.decide(this.globex, 2);
    await this.decide(council.as("mentor"), 2);
    await council.as("root").keys.rotateKey({ role: KeyRole.KEY_ROLE_RECORD });
    await council.as("root").keys.rotateKey({ role: KeyRole.KEY_ROLE_CHECKPOINT });
    await this.restart();
    await this.decide(council.as("operator"), 2, "delete");
    const proposed = await council.propose({ id: "trust_model/active", content: modelWith({ bias: 2 }) });
    await council.approve(proposed, "ann", "ben");
    await this.decide(this.globex, 1);
    await this.decide(council.as("operator"), 1);
    this.to = await this.moment();
    await this.decide(council.as("operator"), 1);
    await pause(1100);
  }

  async genesis(): Promise<string> {
    const text = await readFile(join(this.council.deployment.directory, "deployment.json"), "utf8");
    return (JSON.parse(text) as { readonly genesis: string }).genesis;
  }

  run(...words: readonly string[]): Promise<Ended> {
    return sigilHere(words, {
      cwd: this.cwd,
      env: { SIGIL_CLIENT_SERVER: this.council.served.server.target },
    });
  }

  newName(): string {
    this.#packs += 1;
    return `pack-${this.#packs}`;
  }

  /** Of the span, unless told. @returns its name. */
  async export(...words: readonly string[]): Promise<readonly [name: string, ended: Ended]> {
    const name = this.newName();
    const span = words.includes("--to")
      ? []
      : ["--from", this.from.toISOString(), "--to", this.to.toISOString()];
    const as = words.includes("--key") ? [] : ["--key", "observer.pem", "--principal", "observer"];
    return [name, await this.run("audit", "export", "--out", name, ...span, ...as, ...words)];
  }

  async verify(name: string, ...words: readonly string[]): Promise<Ended> {
    const trust =
      words.includes("--policy") || words.includes("--nothing") ? [] : ["--genesis", await this.genesis()];
    return this.run("verify", name, ...trust, ...words.filter((word) => word !== "--nothing"));
  }

  /** The steps that did not pass, as `name: detail`. */
  async refused(name: string, ...words: readonly string[]): Promise<string> {
    const { exitCode, output, problems } = await this.verify(name, "--json", ...words);
    expect(exitCode, output + problems).to.be.oneOf([1, 2]);
    const { steps } = JSON.parse(output) as {
      readonly steps: readonly { readonly name: string; readonly outcome: string; readonly detail: string }[];
    };
    const failed = steps.filter(({ outcome }) => outcome === "failed");
    expect(failed).to.have.length(1);
    return failed.map((step) => `${step.name}: ${step.detail}`).join();
  }

  path(name: string, file = ""): string {
    return join(this.cwd, name, file);
  }

  read(name: string, file: string): Promise<string> {
    return readFile(this.path(name, file), "utf8");
  }

  async lines(name: string, file = "decisions.jsonl"): Promise<readonly Line[]> {
    const text = await this.read(name, file);
    return text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Line);
  }

  /** A copy in which some files are others. The manifest's digests are left as they were. */
  async edited(name: string, edits: Edits): Promise<string> {
    const copy = this.newName();
    await cp(this.path(name), this.path(copy), { recursive: true });
    for (const [file, edit] of Object.entries(edits)) {
      await writeFile(this.path(copy, file), edit(await this.read(copy, file)));
    }
    return copy;
  }

  /** A copy in which some files are others, with a manifest that says so. */
  async forged(
    name: string,
    edits: Edits,
    change: (manifest: PackManifest) => Partial<PackManifest> = () => ({}),
  ): Promise<string> {
    const copy = await this.edited(name, edits);
    await this.resealed(copy, change);
    return copy;
  }

  /** Writes a manifest over the files that are there. */
  async resealed(
    name: string,
    change: (manifest: PackManifest) => Partial<PackManifest> = () => ({}),
  ): Promise<void> {
    const manifest = parseManifest(await this.read(name, "manifest.json"));
    const files = await Promise.all(
      manifest.files.map(async (file) => {
        const bytes = await readFile(this.path(name, file.name));
        return { ...file, bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
      }),
    );
    const made = formatManifest({ ...manifest, files, ...change(manifest) });
    await writeFile(this.path(name, "manifest.json"), made);
  }

  /** The same with a proof that fits, as whoever runs the server can make one. */
  async reproved(name: string, change?: (manifest: PackManifest) => Partial<PackManifest>): Promise<string> {
    const { reader } = this.council.served.server.ledger;
    const { tree: checkpoint } = parseManifest(await this.read(name, "manifest.json"));
    const all = [...(await this.lines(name)), ...(await this.lines(name, "records.jsonl"))];
    const hashes: Uint8Array[] = [];
    const readHashes = readHashesFromTiles((tiles) =>
      Promise.all(tiles.map((tile) => reader.tiles.hashes(tile, tileWidth(tile, checkpoint.size)))),
    );
    const tree = new SparseTree(async (nodes) => {
      const found = await readHashes(nodes);
      hashes.push(...found);
      return found;
    });
    for (const { position, envelope } of all.toSorted((a, b) => Number(a.position) - Number(b.position)))
      await tree.add(BigInt(position), leafOf(fromBase64(envelope)));
    await tree.close(checkpoint.size);
    await writeFile(this.path(name, "proof"), Buffer.concat(hashes));
    await this.resealed(name, change);
    return name;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.council[Symbol.asyncDispose]();
    await rm(this.cwd, { recursive: true, force: true });
  }
}
