/**
 * The two ends of a backup, without a network: what is sent, what is taken, and everything that is refused on the way.
 */
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mock } from "node:test";
import v8 from "node:v8";
import { expect } from "chai";
import { afterEach, before, beforeEach, describe, it } from "mocha";
import { utf8Encode } from "../../../src/core/bytes.ts";
import { backupChunkBytesMax } from "../../../src/limits.ts";
import type { Caller } from "../../../src/identity/caller.ts";
import { createBackupService, type BackupPart } from "../../../src/deployment/backup/backup.ts";
import { BackupDirectory, readManifest } from "../../../src/deployment/backup/directory.ts";
import { BackupReader } from "../../../src/deployment/backup/reader.ts";
import { BackupWriter } from "../../../src/deployment/backup/writer.ts";
import { BackupFrameReader } from "../../../src/deployment/backup/frames.ts";
import {
  formatManifest,
  parseManifest,
  segmentPath,
  sizeOfSegments,
  type Manifest,
} from "../../../src/deployment/backup/manifest.ts";
import {
  copyWorld,
  createWorld,
  decisionBody,
  faultOf,
  newSigner,
  openWorld,
  type World,
} from "../../contract/memory-ledger.ts";
import { buildInspected, inspectedSize } from "../ledger/inspected-world.ts";

const root: Caller = { principal: "root", tenant: "system", level: "root", credential: "token", peer: "" };

const partsOf = async (world: World, fromSize: bigint, caller = root): Promise<readonly BackupPart[]> => {
  await using ledger = await openWorld(world);
  const { genesis } = world.options;
  async function* files() {
    yield { path: "deployment.json", content: utf8Encode("{}") };
    yield { path: "keys/record-1.json", content: utf8Encode("wrapped") };
  }
  const signingKeys = [
    { path: "keys/record-1.json", content: utf8Encode("wrapped") },
    { path: "keys/checkpoint-1.json", content: utf8Encode("about to be destroyed") },
  ];
  const describe = async () => ({ format: 1, genesis, signingKeys, files });
  const service = createBackupService({ ledger, describe });
  const parts: BackupPart[] = [];
  for await (const part of service.backup(caller, fromSize, new AbortController().signal)) parts.push(part);
  return parts;
};

const grow = async (world: World, ids: readonly string[]): Promise<void> => {
  await using ledger = await openWorld(world);
  for (const id of ids) await ledger.append([decisionBody(id)]);
};

const newId = (): string => "01890000-0000-7000-8000-000000000000";

describe("a backup", () => {
  let path = "";
  let world: World;
  before(async () => {
    ({ world } = await buildInspected());
  });
  beforeEach(async () => {
    path = await mkdtemp(join(tmpdir(), "sigil-backup-unit-"));
  });
  afterEach(() => rm(path, { recursive: true, force: true }));

  const begin = (directory: BackupDirectory, parts: readonly BackupPart[], segmentBytesMax?: number) => {
    const [first] = parts;
    if (first?.kind !== "head") throw new Error("the head comes first");
    return BackupWriter.begin({ directory, head: first.head, newId, nowMs: () => 1, segmentBytesMax });
  };

  const write = async (parts: readonly BackupPart[], segmentBytesMax?: number): Promise<Manifest> => {
    await using directory = await BackupDirectory.open(path);
    const writer = await begin(directory, parts, segmentBytesMax);
    try {
      for (const part of parts.slice(1)) {
        if (part.kind === "chunk") await writer.take(part.bytes);
        if (part.kind === "end") return await writer.finish(part);
      }
      throw new Error("the end is missing");
    } finally {
      await writer.abandon();
    }
  };

  const take = async (from: World = world): Promise<Manifest> => {
    const manifest = await readManifest(path);
    return write(await partsOf(from, manifest === undefined ? 0n : sizeOfSegments(manifest)), 1);
  };

  const readBack = async (): Promise<number> => {
    const reader = await BackupReader.open(path);
    let entries = 0;
    for await (const _ of reader.files()) entries += 1;
    for await (const _ of reader.entries([], () => {})) entries += 1;
    return entries;
  };

  it("keeps the heap small while it reads, and is done with it at the end", async () => {
    const flags = mock.method(v8, "setFlagsFromString", () => {});
    using _ = { [Symbol.dispose]: () => flags.mock.restore() };
    await partsOf(world, 0n);
    const growth = flags.mock.calls
      .map((call) => call.arguments[0])
      .filter((flag) => flag?.includes("growth"));
    expect(growth).to.deep.equal(["--semi-space-growth-factor=1", "--semi-space-growth-factor=2"]);
  });

  it("is for Root of tenant system alone", async () => {
    for (const caller of [
      { ...root, tenant: "acme" },
      { ...root, level: "mentor" as const },
    ]) {
      expect((await faultOf(partsOf(world, 0n, caller)))?.kind).to.equal("tenantForbidden");
    }
  });

  it("keeps a signing key that was destroyed after the ledger stood still", async () => {
    await take();
    const names: string[] = [];
    for await (const file of (await BackupReader.open(path)).files()) names.push(file.path);
    expect(names.toSorted()).to.deep.equal([
      "deployment.json",
      "keys/checkpoint-1.json",
      "keys/record-1.json",
    ]);
  });

  it("is sent in bounded chunks that add up to what the end says", async () => {
    const parts = await partsOf(world, 0n);
    const chunks = parts.flatMap((part) => (part.kind === "chunk" ? [part.bytes.length] : []));
    expect(Math.max(...chunks)).to.be.at.most(backupChunkBytesMax);
    const end = parts.at(-1);
    expect(end?.kind === "end" && end.bytes).to.equal(chunks.reduce((sum, bytes) => sum + bytes, 0));
  });

  it("is read back whole, one segment a checkpoint or all in one", async () => {
    const many = await write(await partsOf(world, 0n), 1);
    expect(many.segments.length).to.be.greaterThan(5);
    expect(sizeOfSegments(many)).to.equal(inspectedSize);
    const entries = await readBack();
    await rm(path, { recursive: true });
    const one = await write(await partsOf(world, 0n));
    expect(one.segments).to.have.length(1);
    expect(await readBack()).to.equal(entries);
  });

  it("is refused when its last group was taken out and every digest made to fit", async () => {
    const manifest = await write(await partsOf(world, 0n));
    const [segment] = manifest.segments;
    if (segment === undefined) throw new Error("the backup holds nothing");
    const file = join(path, segmentPath(segment));
    const frames = [...new BackupFrameReader().push(await readFile(file))];
    const last = frames.findLastIndex(({ key }) => key[0] === "b".charCodeAt(0));
    const cut = Buffer.concat(frames.slice(0, last).map(({ bytes }) => bytes));
    await writeFile(file, cut);
    const sha256 = createHash("sha256").update(cut).digest("hex");
    const segments = [{ ...segment, bytes: cut.length, sha256 }];
    await writeFile(join(path, "manifest.json"), formatManifest({ ...manifest, segments }));
    expect(await faultOf(readBack()))
      .to.include({ kind: "backupRefused" })
      .and.have.property("rule")
      .that.matches(/^its segments end at \d+ records instead of \d+$/);
  });

  it("takes only what is new the next time, and keeps one state", async () => {
    const own = await copyWorld(world);
    const first = await take(own);
    expect((await take(own)).segments).to.deep.equal(first.segments);
    await grow(own, ["n1", "n2"]);
    const next = await take(own);
    expect(next.segments.slice(0, -2)).to.deep.equal(first.segments);
    expect(next.state?.size).to.equal(inspectedSize + 2n);
    const states = (await readdir(path)).filter((name) => name.startsWith("state-"));
    expect(states).to.deep.equal(["state-3"]);
  });

  it("goes on from the last whole segment, and until then the old state is in force", async () => {
    const own = await copyWorld(world);
    const first = await take(own);
    await grow(own, ["n1", "n2", "n3"]);
    const parts = await partsOf(own, inspectedSize);
    const [chunk] = parts.flatMap((part) => (part.kind === "chunk" ? [part.bytes] : []));
    {
      await using directory = await BackupDirectory.open(path);
      const writer = await begin(directory, parts, 1);
      // Breaks off inside the second of three groups.
      await writer.take((chunk ?? new Uint8Array(0)).subarray(0, Math.floor((chunk?.length ?? 0) / 2)));
      await writer.abandon();
    }
    const reader = await BackupReader.open(path);
    expect(reader.state).to.deep.equal(first.state);
    expect(await readBack()).to.be.greaterThan(300);
    const resumed = await take(own);
    expect(resumed.state?.size).to.equal(inspectedSize + 3n);
    expect((await readdir(join(path, "segments"))).length).to.equal(resumed.segments.length);
    expect(await readBack()).to.be.greaterThan(300);
  });

  it("counts for nothing when a byte of the stream changed, wherever it is", async () => {
    const parts = await partsOf(world, 0n);
    const [chunk] = parts.flatMap((part) => (part.kind === "chunk" ? [part.bytes] : []));
    const bytes = chunk ?? new Uint8Array(0);
    for (let step = 0; step < 60; step += 1) {
      const offset = Math.floor((bytes.length * step) / 60);
      const flipped = Uint8Array.from(bytes);
      flipped[offset] = (flipped[offset] ?? 0) ^ 0x10;
      const changed = parts.map((part) =>
        part.kind === "chunk" && part.bytes === chunk ? { ...part, bytes: flipped } : part,
      );
      const fault = await faultOf(write(changed));
      expect(fault?.kind, `byte ${offset}`).to.be.oneOf([
        "backupRefused",
        "ledgerCorrupt",
        "malformedCheckpoint",
      ]);
      expect((await faultOf(BackupReader.open(path)))?.kind).to.equal("backupRefused");
      await rm(path, { recursive: true });
    }
  });

  it("keeps no segment of a stream in which a sealed byte changed", async () => {
    const clean = await take();
    await rm(path, { recursive: true });
    const parts = await partsOf(world, 0n);
    const changed = parts.map((part) => {
      if (part.kind !== "chunk") return part;
      const bytes = Uint8Array.from(part.bytes);
      // The end of a sealed record: no tree is over its ciphertext. A frame's bytes lie in the chunk itself.
      const record = [...new BackupFrameReader().push(bytes)].filter(({ key }) => key[0] === 0x72)[50];
      if (record !== undefined) record.bytes[record.bytes.length - 1] = 0x55 ^ (record.bytes.at(-1) ?? 0);
      return { ...part, bytes };
    });
    await faultOf(write(changed, 1));
    expect((await take()).segments).to.deep.equal(clean.segments);
  });

  it("is refused when its checkpoint is signed by none of the keys it names", async () => {
    const checkpointKeys = [newSigner().publicKey];
    const parts = (await partsOf(world, 0n)).map((part) =>
      part.kind === "head" ? { ...part, head: { ...part.head, checkpointKeys } } : part,
    );
    expect(await faultOf(write(parts)))
      .to.have.property("rule")
      .that.includes("signed by none");
  });

  it("is refused when it breaks off, or ends with another digest", async () => {
    const parts = await partsOf(world, 0n);
    const end = parts.at(-1);
    if (end?.kind !== "end") throw new Error("the end comes last");
    const withEnd = (changed: BackupPart) => [...parts.slice(0, -1), changed];
    for (const changed of [
      withEnd({ ...end, bytes: end.bytes + 1 }),
      withEnd({ ...end, sha256: world.options.genesis }),
      [...parts.slice(0, 1), end],
    ]) {
      expect((await faultOf(write(changed)))?.kind).to.equal("backupRefused");
    }
  });

  it("is not mixed with another deployment's, nor with another past of its own", async () => {
    const own = await copyWorld(world);
    const fork = await copyWorld(world);
    await grow(own, ["n1"]);
    await grow(fork, ["m1", "m2"]);
    await take(own);
    const stranger = await createWorld();
    await grow(
      stranger,
      Array.from({ length: 400 }, (_, index) => `s${index}`),
    );
    expect((await faultOf(write(await partsOf(stranger, 0n))))?.kind).to.equal("backupRefused");
    // The forked ledger has a group that begins where this one ends, over another tree.
    const fault = await faultOf(take(fork));
    expect(fault).to.include({ kind: "ledgerCorrupt", position: inspectedSize + 2n });
    const shorter = await partsOf(world, inspectedSize);
    expect(await faultOf(write(shorter)))
      .to.have.property("rule")
      .that.includes("the server 306");
    const level = await copyWorld(world);
    await grow(level, ["other"]);
    const same = await faultOf(write(await partsOf(level, inspectedSize + 1n)));
    expect(same).to.have.property("rule").that.includes("another tree");
  });

  it("has one writer at a time; the lock of a process that is gone counts for nothing", async () => {
    {
      await using directory = await BackupDirectory.open(path);
      expect(directory.manifest).to.equal(undefined);
      expect((await faultOf(BackupDirectory.open(path)))?.kind).to.equal("backupRefused");
    }
    await writeFile(join(path, "lock"), "999999999");
    await take();
    expect(await readdir(path)).to.not.include("lock");
  });

  it("goes into no directory that holds something else", async () => {
    await writeFile(join(path, "letter"), "dear");
    expect((await faultOf(BackupDirectory.open(path)))?.kind).to.equal("backupRefused");
  });

  it("has a manifest of which no byte can change", async () => {
    await take();
    const name = join(path, "manifest.json");
    const text = await readFile(name, "utf8");
    expect(formatManifest(parseManifest(text, name))).to.equal(text);
    for (let at = 0; at < text.length; at += 7) {
      const changed = text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ 1) + text.slice(at + 1);
      const fault = await faultOf((async () => parseManifest(changed, name))());
      expect(fault?.kind, `character ${at}`).to.be.oneOf(["backupRefused", "newerFormat"]);
    }
    // Also when somebody makes the digest fit: what it says must hold by itself.
    const manifest = parseManifest(text, name);
    const lies: readonly Manifest[] = [
      { ...manifest, segments: manifest.segments.slice(1) },
      { ...manifest, segments: manifest.segments.slice(0, -1) },
      { ...manifest, origin: "other.test" },
      { ...manifest, state: manifest.state && { ...manifest.state, size: 1n } },
      {
        ...manifest,
        state: manifest.state && {
          ...manifest.state,
          files: [{ path: "../x", bytes: 0, sha256: "0".repeat(64) }],
        },
      },
      {
        ...manifest,
        segments: manifest.segments.map((segment) => ({ ...segment, peaks: segment.peaks.slice(1) })),
      },
    ];
    for (const lie of lies) {
      expect((await faultOf((async () => parseManifest(formatManifest(lie), name))()))?.kind).to.equal(
        "backupRefused",
      );
    }
  });
});
