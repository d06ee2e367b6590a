/**
 * An operator who holds every key of its ledger and writes another past: what catches it, and who. The table of
 * docs/spec/threats.md names these tests.
 */
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { ForkError, KeyWalk, ProofError, type VerifiedTree } from "@sigil/client";
import type { CborMap } from "../../../src/core/cbor/cbor.ts";
import { utf8Encode } from "../../../src/core/bytes.ts";
import { verifyForeign } from "../../../src/core/keys/verify.ts";
import { formatAddCheckpoint } from "../../../src/core/merkle/add-checkpoint.ts";
import { formatNote, parseNote } from "../../../src/core/merkle/note.ts";
import { parsePolicy, verifyByPolicy } from "../../../src/core/merkle/policy.ts";
import { formatVerifierKey } from "../../../src/core/merkle/vkey.ts";
import type { RecordBody } from "../../../src/core/record/record.ts";
import type { Ledger } from "../../../src/ledger/ledger.ts";
import { openMemoryStore } from "../../../src/storage/memory.ts";
import type { Store } from "../../../src/storage/store.ts";
import { serveWitness, type WitnessServer } from "../../../src/witness/server.ts";
import { Witness } from "../../../src/witness/witness.ts";
import {
  copyWorld,
  createWorld,
  faultOf,
  newSigner,
  numberedBody,
  openWorld,
  type World,
} from "../../contract/memory-ledger.ts";

const quiet = { info: () => {}, warn: () => {}, error: () => {} };
const names = ["d-1", "d-2", "d-3", "d-4", "d-5", "d-6"];

/** The same decision with another reason. */
const rewritten = (body: RecordBody): RecordBody => ({
  ...body,
  payload: { ...(body.payload as CborMap), reason: "REWRITTEN" },
});

/** Each decision is a commit of its own. */
const decide = async (ledger: Ledger, bodies: readonly RecordBody[]): Promise<void> => {
  for (const body of bodies) await ledger.append([body]);
};

describe("an operator who holds every key", () => {
  let genesis: World;
  let honest: Ledger;
  let walk: KeyWalk;
  /** What an auditor has kept. */
  let kept: VerifiedTree;
  const opened: Ledger[] = [];
  let store: Store;
  let witness: WitnessServer;
  const witnessKey = newSigner();

  /** Another ledger of the same keys, from the same genesis. */
  const another = async (bodies: readonly RecordBody[]): Promise<Ledger> => {
    const ledger = await openWorld(await copyWorld(genesis));
    opened.push(ledger);
    await decide(ledger, bodies);
    return ledger;
  };
  const all = names.map((name) => numberedBody(name));
  const growthTo = async (ledger: Ledger, proof = ledger): Promise<unknown> => {
    const { trees } = proof.reader;
    const size = trees.newest.size < kept.size ? trees.newest.size : kept.size;
    const consistencyProof = await trees.extending(trees.newest, size);
    return walk.verifyGrowth(kept, { checkpoint: ledger.reader.checkpoint.note, consistencyProof });
  };
  const refusalOf = (call: Promise<unknown>): Promise<string> =>
    call.then(
      () => "it was believed",
      (error: unknown) => (error instanceof ProofError ? error.message : String(error)),
    );
  const submit = async (ledger: Ledger, oldSize: bigint): Promise<Response> => {
    const { trees } = ledger.reader;
    const { checkpoint, size } = trees.newest;
    const proof = oldSize === 0n || oldSize > size ? [] : await trees.extending(trees.newest, oldSize);
    const body = formatAddCheckpoint({ oldSize, proof, checkpoint });
    return fetch(`${witness.url}/add-checkpoint`, { method: "POST", body });
  };
  const policyOf = (): ReturnType<typeof parsePolicy> => {
    const log = {
      name: honest.reader.origin,
      use: "log",
      publicKey: genesis.options.checkpointSigner.publicKey,
    } as const;
    const cosigner = {
      name: "witness.example/w1",
      use: "cosigner",
      publicKey: witnessKey.publicKey,
    } as const;
    return parsePolicy(
      utf8Encode(`log ${formatVerifierKey(log)}\nwitness w1 ${formatVerifierKey(cosigner)}\nquorum w1\n`),
    );
  };

  before(async () => {
    genesis = await createWorld();
    honest = await another(all);
    const { reader } = honest;
    const keyRecords = (await reader.keyRecords()).map(({ position, envelope }) => ({
      ledgerPosition: position,
      envelope,
    }));
    walk = await KeyWalk.of(genesis.options.genesis, keyRecords);
    kept = await walk.verifyCheckpoint(reader.checkpoint.note);
    store = await openMemoryStore();
    const logs = [{ origin: reader.origin, publicKey: genesis.options.checkpointSigner.publicKey }];
    witness = await serveWitness({
      witness: new Witness({
        name: "witness.example/w1",
        signer: witnessKey,
        logs,
        store,
        nowSeconds: () => 1_700_000_000n,
      }),
      host: "127.0.0.1",
      port: 0,
      log: quiet,
    });
    expect((await submit(honest, 0n)).status).to.equal(200);
  });
  after(async () => {
    await witness.close();
    await store.close();
    for (const ledger of opened) await ledger.close();
  });

  it("and rewrites a record and everything above it is caught by whoever kept a checkpoint, and by a witness", async () => {
    const bodies = all.map((body, index) => (index === 2 ? rewritten(body) : body));
    const forged = await another([...bodies, numberedBody("d-7")]);
    expect(await faultOf(forged.reader.readAt(3n).then(() => {})), "each of its records verifies").to.equal(
      undefined,
    );
    expect(await refusalOf(growthTo(forged))).to.include("does not begin with");
    expect(await refusalOf(growthTo(forged, honest))).to.not.equal("it was believed");
    expect((await submit(forged, kept.size)).status).to.equal(422);
    const { hash, envelope } = await honest.reader.readAt(3n);
    expect(await forged.reader.readHash(hash)).to.equal(undefined);
    const { proof } = await forged.reader.trees.included(forged.reader.trees.newest, 3n);
    const shown = {
      position: 3n,
      envelope,
      checkpoint: forged.reader.checkpoint.note,
      inclusionProof: proof,
    };
    expect(await refusalOf(walk.verifyRecord(shown))).to.include("inclusion");
  });

  it("and shows two auditors two ledgers is caught when they compare checkpoints, and one has no cosignature", async () => {
    const other = await another([
      ...all.slice(0, 4),
      numberedBody("x-5"),
      numberedBody("x-6"),
      numberedBody("x-7"),
    ]);
    const second = await walk.verifyCheckpoint(other.reader.checkpoint.note);
    const [one, two] = [
      { ...kept, checkpoint: honest.reader.checkpoint.note },
      { ...second, checkpoint: other.reader.checkpoint.note },
    ];
    const proof = await other.reader.trees.extending(other.reader.trees.newest, kept.size);
    expect(() => walk.requireGrowth(one, two, proof)).to.throw(ForkError);
    const answer = await (await submit(honest, kept.size)).text();
    const line = (note: string): string => {
      const { text } = parseNote(note);
      return formatNote({
        text,
        signatures: [...parseNote(note).signatures, ...parseNote(`${text}\n${answer}`).signatures],
      });
    };
    const policy = policyOf();
    const vouched = await verifyByPolicy(line(one.checkpoint), policy, verifyForeign);
    expect(vouched.cosigned.map(({ name }) => name)).to.deep.equal(["witness.example/w1"]);
    for (const note of [two.checkpoint, line(two.checkpoint)]) {
      expect(await faultOf(verifyByPolicy(note, policy, verifyForeign))).to.include({
        kind: "malformedCheckpoint",
      });
    }
  });

  it("and drops the tail, or shows an old tree, is caught by whoever kept a checkpoint, by a witness and by the anchor", async () => {
    const shorter = await another(all.slice(0, 4));
    expect(await refusalOf(growthTo(shorter))).to.include("does not begin with");
    expect((await submit(shorter, kept.size)).status).to.be.oneOf([400, 409, 422]);
    expect((await submit(shorter, 0n)).status).to.equal(409);
    const { checkpoint } = await honest.reader.trees.reaching(4n);
    expect(await refusalOf(walk.verifyGrowth(kept, { checkpoint, consistencyProof: [] }))).to.include(
      "does not begin with",
    );
    const world = await copyWorld(genesis);
    await world.anchor.write(honest.reader.checkpoint.note);
    expect(await faultOf(openWorld(world).then(() => {}))).to.include({ kind: "ledgerBehindAnchor" });
  });

  it("and leaves a decision out is caught by its caller, who knows its number, and by the numbers around it", async () => {
    const without = await another(all.filter((_, index) => index !== 3));
    const numberOf = async (ledger: Ledger, position: bigint): Promise<readonly [string, unknown]> => {
      const { body } = await ledger.reader.readAt(position);
      return [body.id, (body.payload as CborMap)["caller_seq"]];
    };
    // The caller was told that d-4 is its fourth, and d-5 its fifth.
    expect([await numberOf(honest, 4n), await numberOf(honest, 5n)]).to.deep.equal([
      ["d-4", 4],
      ["d-5", 5],
    ]);
    expect(await numberOf(without, 4n)).to.deep.equal(["d-5", 4]);
    expect(await without.reader.decisionAt("acme", "d-4")).to.equal(undefined);
    // And whoever kept a checkpoint from after it sees another tree.
    await decide(without, [numberedBody("d-7"), numberedBody("d-8")]);
    expect(await refusalOf(growthTo(without))).to.include("does not begin with");
  });
});
