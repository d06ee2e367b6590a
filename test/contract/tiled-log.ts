/**
 * A tiled log made up of nothing, and a reader of tiled logs that shares no code with Sigil's tiles: paths, bytes and
 * tree are spelt here once more, after C2SP tlog-tiles and RFC 6962.
 */
import { createHash } from "node:crypto";
import { formatNote } from "../../src/core/merkle/index.ts";

const sha256 = (...parts: readonly Uint8Array[]): Buffer => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const leafOf = (entry: Uint8Array): Buffer => sha256(Buffer.of(0), entry);
const nodeOf = (left: Uint8Array, right: Uint8Array): Buffer => sha256(Buffer.of(1), left, right);

/** Undefined where there is no such file. */
export type ReadFile = (path: string) => Promise<Uint8Array | undefined>;

const pathOf = (kind: string, index: number, width: number): string => {
  const digits = String(index).padStart(Math.ceil(String(index).length / 3) * 3, "0");
  const groups = digits.match(/\d{3}/g) ?? [];
  const spelled = groups.map((group, order) => (order === groups.length - 1 ? group : `x${group}`)).join("/");
  return `tile/${kind}/${spelled}${width === 256 ? "" : `.p/${width}`}`;
};

/** A partial file, or the full one once that is there. @throws Error if there is neither. */
const readWidth = async (read: ReadFile, kind: string, index: number, width: number, bytes: number) => {
  const partial = pathOf(kind, index, width);
  const content = (await read(partial)) ?? (await read(pathOf(kind, index, 256)));
  if (content === undefined || content.length < width * bytes) throw new Error(`${partial} is not there`);
  return Buffer.from(content.subarray(0, width * bytes));
};

export type SeenLog = { readonly size: number; readonly note: string };

/** Reads everything of the log of the checkpoint that is there. @throws Error at the first thing that does not fit. */
export const verifyTiledLog = async (read: ReadFile): Promise<SeenLog | undefined> => {
  const content = await read("checkpoint");
  if (content === undefined) return undefined;
  const note = Buffer.from(content).toString("utf8");
  const [, decimal = "", root = ""] = note.split("\n");
  const size = Number(decimal);
  let row: Buffer[] = [];
  for (let index = 0; index * 256 < size; index += 1) {
    const width = Math.min(256, size - index * 256);
    const bundle = await readWidth(read, "entries", index, width, 34);
    for (let at = 0; at < bundle.length; at += 34) {
      if (bundle.readUInt16BE(at) !== 32) throw new Error(`bundle ${index} is malformed`);
      row.push(leafOf(bundle.subarray(at + 2, at + 34)));
    }
  }
  for (let level = 0; row.length > 0; level += 1) {
    const above: Buffer[] = [];
    for (let index = 0; index * 256 < row.length; index += 1) {
      const wanted = row.slice(index * 256, index * 256 + 256);
      const tile = await readWidth(read, String(level), index, wanted.length, 32);
      if (!tile.equals(Buffer.concat(wanted))) throw new Error(`tile ${level}/${index} is another one`);
      if (wanted.length === 256) above.push(rootOf(wanted));
    }
    if (level === 0 && rootOf(row).toString("base64") !== root) throw new Error("the root is another one");
    row = above;
  }
  return { size, note };
};

/** RFC 6962 §2.1, of leaf hashes. */
const rootOf = (leaves: readonly Buffer[]): Buffer => {
  if (leaves.length === 1) return leaves[0] as Buffer;
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return nodeOf(rootOf(leaves.slice(0, split)), rootOf(leaves.slice(split)));
};

/** Entries are hashes of a name and their index: every log of that name has the same. */
export class MadeUpLog {
  readonly #name: string;
  readonly #leaves: Buffer[] = [];
  /** Of the checkpoint. */
  size: number;

  constructor(name: string, size: number) {
    this.#name = name;
    this.size = size;
  }

  entry(index: number): Buffer {
    return sha256(Buffer.from(`${this.#name}/${index}`));
  }

  get note(): string {
    while (this.#leaves.length < this.size) this.#leaves.push(leafOf(this.entry(this.#leaves.length)));
    const root = rootOf(this.#leaves.slice(0, this.size)).toString("base64");
    const signature = { name: "made.up", keyId: Buffer.alloc(4), signature: Buffer.alloc(64) };
    return formatNote({ text: `made.up\n${this.size}\n${root}\n`, signatures: [signature] });
  }

  /** The checkpoint and bundles of entries: more is not asked for. */
  readonly read = async (path: string): Promise<Uint8Array> => {
    if (path === "checkpoint") return Buffer.from(this.note);
    const [, spelled = "", partial] = /^tile\/entries\/([x\d/]+)(?:\.p\/(\d+))?$/.exec(path) ?? [];
    const first = Number(spelled.replaceAll(/[x/]/g, "")) * 256;
    const width = Number(partial ?? 256);
    if (spelled === "" || first + width > this.size) throw new Error(`${path} is not in the log`);
    const entries = Array.from({ length: width }, (_, offset) => this.entry(first + offset));
    return Buffer.concat(entries.flatMap((entry) => [Buffer.of(0, 32), entry]));
  };
}
