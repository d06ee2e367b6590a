/** A tenant that is erased by quorum, as its callers, its neighbours, an auditor and a thief of the disk see it. */
import { createDecipheriv } from "node:crypto";
import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import {
  DataKeyState,
  ProposalState,
  type GetRecordResponse,
  type SigilConnection,
  type SigilError,
} from "@sigil/client";
import { openDeployment } from "../../src/deployment/open.ts";
import { parseGroup } from "../../src/ledger/layout/group.ts";
import { familyRange, positionOf, recordKey } from "../../src/ledger/layout/keyspace.ts";
import { leafHash } from "../../src/core/merkle/hash.ts";
import { checkInclusion } from "../../src/core/merkle/proof.ts";
import { parseCheckpoint } from "../../src/core/merkle/checkpoint.ts";
import { parseNote } from "../../src/core/merkle/note.ts";
import { appendLeaves, emptyFrontier, rootOf } from "../../src/core/merkle/tree.ts";
import { parseHash, toHex, utf8Decode, type Hash } from "../../src/core/bytes.ts";
import { cborEncode } from "../../src/core/cbor/cbor.ts";
import { entryOf } from "../../src/core/record/record.ts";
import { openLevelStore } from "../../src/storage/level.ts";
import { put, recordIn } from "./canon-writes.ts";
import { Council, json, tombstone } from "./council.ts";
import { origin } from "./deployment.ts";
import {
  asRoot,
  canaries,
  canary,
  dataKeysOf,
  filesHolding,
  fill,
  inspect,
  kekInputs,
  orderErasure,
  untilErased,
} from "./erased-world.ts";
import { refusalOf } from "./refusal.ts";

const check = { action: "read", target: "public/docs" };

const versionIn = ({ record }: Pick<GetRecordResponse, "record">) => {
  if (record === undefined) throw new Error("the answer holds no version");
  return recordIn(record);
};

/** Whether a raw key opens a sealed value at its position, whatever version it is. */
const opens = (key: Buffer, sealed: Uint8Array, position: bigint, form: number): boolean => {
  const version = new DataView(sealed.buffer, sealed.byteOffset).getUint32(0);
  const opening = createDecipheriv("aes-256-gcm", key, sealed.subarray(4, 16), { authTagLength: 16 });
  opening.setAAD(cborEncode([`sigil/seal/v${form}`, origin, position, "acme", version]));
  opening.setAuthTag(sealed.subarray(-16));
  opening.update(sealed.subarray(16, -16));
  try {
    opening.final();
    return true;
  } catch {
    return false;
  }
};

describe("an erased tenant", function () {
  this.slow(10_000);
  let council: Council;
  let auditIds: readonly string[] = [];
  let order: { readonly position: bigint; readonly hash: string } | undefined;
  let keys: readonly Buffer[] = [];
  let noteHash: Uint8Array = new Uint8Array(0);
  let kept: Awaited<ReturnType<SigilConnection["audit"]["verifyFrozenChain"]>>;
  let neighbour = "";
  const acme = { tenant: "acme" };
  const root = (): SigilConnection => council.as("root");
  const beta = (): SigilConnection =>
    council.served.by("operator-beta", council.deployment.privateKeys.operator);
  const parent = (): string => join(council.deployment.directory, "..");

  /** The facts of the order are looked up once they are known. */
  const expectErased = (error: SigilError, what = ""): void => {
    order ??= { position: BigInt(error.facts["erasure_position"] ?? -1), hash: error.facts["erasure"] ?? "" };
    expect(error.codeName, what).to.equal("FAILED_PRECONDITION");
    expect(error.reason, what).to.equal("ERASED");
    expect(error.facts, what).to.include({
      tenant: "acme",
      erasure: order.hash,
      erasure_position: String(order.position),
    });
  };

  before(async () => {
    council = await Council.open({ otherTenants: ["beta"] });
    auditIds = await fill(council);
    await root().keys.rotateDataKey({ tenant: "acme", expectedVersion: 1 });
    auditIds = [...auditIds, ...(await fill(council))];
    const note = await root().canon.getRecord({ id: `${canary}/note/1`, ...acme });
    noteHash = versionIn(note).hash;
    neighbour = (await beta().trust.check(check)).auditId;
    await put(beta(), "note/beta", { text: "stays" });
    keys = await dataKeysOf(council.deployment.directory, "acme", 2);
    kept = await root().audit.verifyFrozenChain({ auditId: auditIds[3] ?? "", ...acme });
    expect(kept.verified).to.equal(true);
    const made = await asRoot(council, "backup", "--to", "before", "--json");
    expect(made.exitCode, made.problems).to.equal(0);
  });
  after(() => council[Symbol.asyncDispose]());

  it("can be found all over the disk before: what looks for it works", async () => {
    const found = await filesHolding(council.deployment.directory, canaries);
    expect(found.some((name) => name.startsWith("ledger/"))).to.equal(true);
  });

  it("is proposed by Root of tenant system alone, under its own name, and never system or public", async () => {
    const propose = (id: string, payload: unknown, by = root()) =>
      refusalOf(council.propose({ id, content: json(payload) }, by));
    const good = { tenant: "acme", reason: "r" };
    const mentor = await propose("erasure/acme", good, council.as("mentor"));
    expect(mentor).to.include({ codeName: "PERMISSION_DENIED", reason: "TENANT_FORBIDDEN" });
    for (const tenant of ["system", "public"]) {
      const error = await propose(`erasure/${tenant}`, { tenant, reason: "r" });
      expect(error.codeName).to.equal("INVALID_ARGUMENT");
      expect(error.message).to.contain(`must not be ${tenant}`);
    }
    expect((await propose("erasure/beta", good)).message).to.contain("must be erasure/ and the tenant");
    expect((await propose("erasure/acmee", { ...good, tenant: "acmee" })).codeName).to.equal("NOT_FOUND");
    expect((await propose("erasure/acme", { tenant: "acme" })).codeName).to.equal("INVALID_ARGUMENT");
    const ended = await refusalOf(council.propose({ id: "erasure/acme", content: tombstone }, root()));
    expect(ended.message).to.contain("what is erased stays so");
    const direct = await refusalOf(put(council.as("mentor"), "x", good, { kind: "erasure" }));
    expect(direct.reason).to.equal("QUORUM_NEEDED");
    expect((await refusalOf(put(council.as("mentor"), "x", good, { kind: "erased" }))).codeName).to.equal(
      "INVALID_ARGUMENT",
    );
  });

  it("is as it was below the quorum, and erased at the k-th witness", async () => {
    const proposal = await orderErasure(council);
    await council.attest(proposal, "ann");
    expect((await council.as("operator").trust.check(check)).auditId).to.not.equal("");
    const { state } = await council.approve(proposal, "ben");
    expect(state).to.equal(ProposalState.PROPOSAL_STATE_COMMITTED);
    expectErased(await refusalOf(council.as("operator").trust.check(check)));
    const record = await root().canon.getSystemRecord({ id: "erasure/acme" });
    const { position, hash } = versionIn(record);
    expect(order).to.deep.equal({ position, hash: toHex(hash) });
    expect(record.attestedBy).to.have.members(["ann", "ben"]);
    await untilErased(council);
  });

  it("answers every question about its records with the record that ordered it, from the commit on", async () => {
    const auditId = auditIds[0] ?? "";
    const questions: readonly (readonly [string, () => Promise<unknown>])[] = [
      ["GetFrozenChain", () => root().audit.getFrozenChain({ auditId, ...acme })],
      ["VerifyFrozenChain", () => root().audit.verifyFrozenChain({ auditId, ...acme })],
      ["ListFrozenChains", () => root().audit.listFrozenChains(acme)],
      ["GetRecord", () => root().canon.getRecord({ id: `${canary}/note/1`, ...acme })],
      [
        "GetRecord of a version",
        () =>
          root().canon.getRecord({ id: `${canary}/note/1`, ...acme, at: { $case: "version", value: 1n } }),
      ],
      ["ListRecords", () => root().canon.listRecords({ filter: acme })],
      ["ListHistory", () => root().canon.listHistory({ id: `${canary}/note/1`, ...acme })],
      [
        "StreamRecords",
        async () => {
          for await (const _ of root().canon.streamRecords({ filter: acme }))
            throw new Error("a record came");
        },
      ],
      [
        "Watch",
        async () => {
          for await (const event of root().canon.watch({ filter: acme, fromPosition: 0n })) {
            if (event.event?.$case === "record") throw new Error("a record came");
          }
        },
      ],
    ];
    for (const [name, ask] of questions) expectErased(await refusalOf(ask()), name);
    for (const [name, ask] of [
      ["GetFrozenChain", () => council.as("operator").audit.getFrozenChain({ auditId })],
      ["Check", () => council.as("operator").trust.check(check)],
      ["Check with a key", () => council.as("operator").trust.check({ ...check, idempotencyKey: "k" })],
      ["BatchCheck", () => council.as("operator").trust.batchCheck({ checks: [check] })],
      ["WriteRecord", () => put(council.as("operator"), "note/late", { late: true })],
    ] as const) {
      expectErased(await refusalOf(ask()), name);
    }
  });

  it("has no record that a stranger can tell from one that never was", async () => {
    const byHash = root().canon.getRecord({ at: { $case: "hash", value: noteHash } });
    expect((await refusalOf(byHash)).codeName).to.equal("NOT_FOUND");
    const link = { label: "about", target: noteHash };
    const linking = await refusalOf(put(beta(), "note/link", {}, { links: [link] }));
    expect(linking.codeName).to.equal("INVALID_ARGUMENT");
  });

  it("has no principals of its own any more, and gives its subjects no level", async () => {
    const asked = await beta().trust.check({ ...check, subject: `acme/${canary}` });
    const { chain } = await beta().audit.getFrozenChain({ auditId: asked.auditId });
    expect(chain?.record).to.not.equal(undefined);
    const own = council.served.by(`acme/${canary}`, council.deployment.privateKeys.observer);
    expect((await refusalOf(own.trust.check(check))).codeName).to.equal("UNAUTHENTICATED");
  });

  it("leaves every other tenant, the checkpoint and the tree as they are", async () => {
    expect((await beta().audit.verifyFrozenChain({ auditId: neighbour })).verified).to.equal(true);
    expect(versionIn(await beta().canon.getRecord({ id: "note/beta" })).payloadJson).to.contain("stays");
    await put(beta(), "note/after", { text: "goes on" });
    const old = parseCheckpoint(parseNote(kept.checkpoint).text);
    // What an auditor kept of a record is proven as before.
    const leaf = leafHash(entryOf(kept.envelope));
    const proven = checkInclusion({
      leafIndex: kept.ledgerPosition,
      treeSize: old.size,
      leafHash: leaf,
      root: old.root,
      proof: kept.inclusionProof.map(parseHash),
    });
    expect(proven).to.deep.equal({ kind: "ok" });
  });

  it("shows its keys as destroyed, and gets no new one", async () => {
    const { dataKeys } = await root().keys.listDataKeys({ tenant: "acme" });
    expect(dataKeys.map(({ version, state }) => [version, state])).to.deep.equal([
      [1, DataKeyState.DATA_KEY_STATE_DESTROYED],
      [2, DataKeyState.DATA_KEY_STATE_DESTROYED],
    ]);
    expectErased(await refusalOf(root().keys.rotateDataKey({ tenant: "acme" })));
    const files = await readdir(join(council.deployment.directory, "keys", "data"));
    expect(files.filter((name) => name.startsWith("acme"))).to.deep.equal([]);
    const again = refusalOf(orderErasure(council));
    expectErased(await again);
  });

  it("leaves nothing readable on the disk while the server still serves", async () => {
    expect(await filesHolding(council.deployment.directory, [...canaries, ...keys])).to.deep.equal([]);
  });

  it("stays erased over a restart, and the server begins as ever", async () => {
    await council.restart();
    expectErased(await refusalOf(root().audit.listFrozenChains(acme)));
    expectErased(await refusalOf(council.as("operator").trust.check(check)));
    expect((await beta().audit.verifyFrozenChain({ auditId: neighbour })).verified).to.equal(true);
    expect(council.served.logged()).to.not.match(/"msg":"(tenant erased|the ledger checks itself)"/);
  });

  it("is in no backup that is made from now on, also not in a directory that had one from before", async () => {
    await cp(join(parent(), "before"), join(parent(), "again"), { recursive: true });
    for (const to of ["after", "again"]) {
      const made = await asRoot(council, "backup", "--to", to, "--json");
      expect(made.exitCode, made.problems).to.equal(0);
      const names = await readdir(join(parent(), to), { recursive: true });
      expect(
        names.filter((name) => name.includes("acme-")),
        to,
      ).to.deep.equal([]);
      expect(await filesHolding(join(parent(), to), [...canaries, ...keys]), to).to.deep.equal([]);
    }
  });

  it("is erased in what such a backup restores, and an older backup is refused by a later checkpoint", async () => {
    const checkpoint = await asRoot(council, "audit", "checkpoint");
    await writeFile(join(parent(), "later"), checkpoint.output);
    const kek = ["--kek", `file:${join(parent(), "kek")}`];
    for (const from of ["after", "again"]) {
      const restored = await asRoot(council, "restore", "--from", from, "--data", `${from}-data`, ...kek);
      expect(restored.exitCode, restored.problems).to.equal(0);
      const report = await inspect(join(parent(), `${from}-data`));
      expect(report).to.include({ ok: true });
      expect(report.erased.map(({ tenant }) => tenant)).to.deep.equal(["acme"]);
      await using ledger = await openDeployment({
        directory: join(parent(), `${from}-data`),
        kekInputs,
        nowMs: Date.now,
      });
      expect(() => ledger.reader.refuseErased("acme")).to.throw('tenant "acme" was erased');
      expect(
        (await ledger.reader.dataKeys({ tenant: "acme", limit: 9 })).map(({ state }) => state),
      ).to.deep.equal(["destroyed", "destroyed"]);
    }
    const words = ["restore", "--from", "before", "--data", "old-data", ...kek];
    const refused = await asRoot(council, ...words, "--not-before", "later");
    expect(refused.exitCode, refused.output).to.equal(1);
    expect(refused.problems).to.contain("is refused");
    // Without the checkpoint it comes back with the keys of its day: that is what such a backup is.
    expect((await asRoot(council, ...words)).exitCode).to.equal(0);
  });

  it("leaves nothing readable on the disk, and nothing that opens what is left of it", async () => {
    const { directory } = council.deployment;
    expect(await dataKeysOf(join(parent(), "old-data"), "acme", 2)).to.deep.equal(keys);
    await council.served[Symbol.asyncDispose]();
    expect(await filesHolding(directory, [...canaries, ...keys])).to.deep.equal([]);
    const kek = Buffer.from((await readFile(join(parent(), "kek"), "utf8")).trim(), "base64");
    const left = [
      kek,
      ...(await dataKeysOf(directory, "system", 1)),
      ...(await dataKeysOf(directory, "beta", 1)),
    ];
    await using store = await openLevelStore(join(directory, "ledger"), { onMissing: "fail" });
    let sealed = 0;
    for await (const [key, stored] of store.range(familyRange("r"))) {
      const [first = 0] = stored;
      const [end, form] = [1 + (first & 0x3f), first >= 0x80 ? 2 : first >= 0x40 ? 3 : 1];
      if (utf8Decode(stored.subarray(1, end)) !== "acme") continue;
      sealed += 1;
      const position = Buffer.from(key).readBigUInt64BE(1);
      expect(left.some((each) => opens(each, stored.subarray(end), position, form))).to.equal(false);
      // With the keys that were destroyed it would open: what is tried here is the right thing.
      expect(keys.some((each) => opens(each, stored.subarray(end), position, form))).to.equal(true);
    }
    expect(sealed).to.be.greaterThan(80);
  });

  it("is counted by a clean inspection, before and after the indexes are built anew", async () => {
    const { directory } = council.deployment;
    const first = await inspect(directory);
    expect(first.problems).to.deep.equal([]);
    expect(first.erased).to.have.length(1);
    expect(Number(first.erased[0]?.records)).to.be.greaterThan(80);
    const rebuilt = await inspect(directory, { rebuildIndexes: true });
    expect(rebuilt).to.deep.equal(first);
    const printed = await asRoot(council, "fsck", "--data", directory);
    expect(printed.exitCode).to.equal(0);
    expect(printed.output).to.match(/CLEAN.*\ntenant "acme" is erased: \d+ records stay unreadable/);
  });

  it("has its leaves in every tree since", async () => {
    const { directory } = council.deployment;
    await using store = await openLevelStore(join(directory, "ledger"), { onMissing: "fail" });
    const leaves: Hash[] = [];
    let note = "";
    for await (const [key, value] of store.range(familyRange("b"))) {
      const group = parseGroup(positionOf(key), value);
      leaves.push(...group.leaves);
      note = group.checkpoint;
    }
    const newest = parseCheckpoint(parseNote(note).text);
    expect(BigInt(leaves.length)).to.equal(newest.size);
    expect(rootOf(appendLeaves(emptyFrontier, leaves).frontier)).to.deep.equal(newest.root);
    const leaf = leafHash(entryOf(kept.envelope));
    expect(leaves[Number(kept.ledgerPosition)]).to.deep.equal(leaf);
  });

  it("cannot be made to hide another record, by the label of the record and whatever index is built", async () => {
    const copy = join(parent(), "relabelled");
    await cp(council.deployment.directory, copy, { recursive: true });
    const store = await openLevelStore(join(copy, "ledger"), { onMissing: "fail" });
    let position = 0n;
    for await (const [key] of store.range({ ...familyRange("r"), reverse: true, limit: 1 })) {
      position = positionOf(key);
    }
    const stored = (await store.get(recordKey(position))) ?? new Uint8Array(0);
    const end = 1 + (stored[0] ?? 0);
    const relabelled = Uint8Array.of(4, ...Buffer.from("acme"), ...stored.subarray(end));
    await store.commit([{ kind: "put", key: recordKey(position), value: relabelled }]);
    await store.close();
    for (const rebuildIndexes of [false, true]) {
      const report = await inspect(copy, { rebuildIndexes });
      expect(report.ok, String(rebuildIndexes)).to.equal(false);
      expect(report.problems.some(({ step }) => step === "erasure")).to.equal(true);
      expect(report.erased).to.deep.equal([]);
    }
  });
});
