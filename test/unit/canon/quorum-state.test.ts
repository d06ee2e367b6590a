/** What the quorum holds in memory is what the ledger says, whatever is committed, overtaken or found again. */
import { generateKeyPairSync, sign } from "node:crypto";
import { expect } from "chai";
import { describe, it } from "mocha";
import { attestationOf, endingOf } from "../../../src/canon/proposals/steps.ts";
import { proposalBody } from "../../../src/canon/proposals/proposing.ts";
import { keepProposal, type KeptProposal } from "../../../src/canon/proposals/kept-proposal.ts";
import { QuorumState, type Moment, type StateLedger } from "../../../src/canon/proposals/state.ts";
import { parseHash, parsePublicKey } from "../../../src/core/bytes.ts";
import { attestationToSign, formatAttestationStatement } from "../../../src/core/quorum/statement.ts";
import type { RecordBody } from "../../../src/core/record/record.ts";
import { rawPublicKey } from "../../../src/crypto/signing/sign.ts";
import type { Ledger } from "../../../src/ledger/ledger.ts";
import { openMemoryStore } from "../../../src/storage/memory.ts";
import { createFaultyStore, type FaultyStore } from "../../contract/faulty-store.ts";
import {
  createWorld,
  faultOf,
  newSigner,
  openWorld,
  systemBody,
  untilStatus,
  userBody,
  type World,
} from "../../contract/memory-ledger.ts";

const timeMs = 1_700_000_000_000;
const decision = parseHash(new Uint8Array(32).fill(7));

const witnessBody = (id: string): RecordBody =>
  systemBody("witness", `witness/${id}`, {
    public_key: newSigner().publicKey,
    owner: id,
    authority: "",
    description: "",
  });
const quorumBody = (epoch: number): RecordBody =>
  systemBody("quorum", "quorum", { k: 1, witnesses: ["w1"], epoch });
const schemaBody = (name: string): RecordBody =>
  systemBody("schema", `schema/${name}`, { kind: name, schema: {} });

/** The n-th proposal, of a record's next version. */
const proposalOf = (number: number, body: RecordBody): RecordBody =>
  proposalBody(`proposal/018bcfe5-6800-7000-8000-${String(number).padStart(12, "0")}`, [body], {
    epoch: 1,
    ts: timeMs,
    lifetimeMs: 60_000,
    proposer: "root",
    reason: "",
    commit: "auto",
    links: [{ label: "decision", target: decision }],
  });

const witnessKey = generateKeyPairSync("ed25519").privateKey;

const statementOn = ({ id, recordHash }: KeptProposal, verdict: "approve" | "reject"): Uint8Array => {
  const publicKey = parsePublicKey(rawPublicKey(witnessKey));
  const attestation = { proposal: id, record: recordHash, epoch: 1, verdict };
  const toSign = attestationToSign(attestation, { origin: "ledger.test", publicKey });
  return formatAttestationStatement(toSign, sign(null, toSign.message, witnessKey));
};

const attested = (kept: KeptProposal, role: "approve" | "reject"): RecordBody => {
  const statement = statementOn(kept, role);
  const publicKey = parsePublicKey(rawPublicKey(witnessKey));
  const given = { witness: "w1", role, epoch: 1, digest: decision, publicKey, owner: "" };
  return attestationOf(kept, { given, statement }, decision, timeMs);
};

const newestOf = async (ledger: Ledger, body: RecordBody): Promise<RecordBody> => {
  const prev = (await ledger.reader.readId(body.tenant, body.space, body.id))?.hash ?? null;
  return { ...body, prev };
};

const openRegistry = async (world: World): Promise<Ledger> => {
  const ledger = await openWorld(world);
  await ledger.append([witnessBody("w1"), quorumBody(1)]);
  return ledger;
};

const keptIn = async (ledger: Ledger, body: RecordBody): Promise<KeptProposal> => {
  const record = await ledger.reader.readId(body.tenant, body.space, body.id);
  return record === undefined ? expect.fail("there is no such proposal") : keepProposal(record);
};

/** Holds back the first answer about one id, until it is released. */
const slowReader = ({ reader }: Ledger, id: string) => {
  const [reached, held] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let looks = 0;
  const slow = {
    get size() {
      return reader.size;
    },
    heads: reader.heads.bind(reader),
    versions: reader.versions.bind(reader),
    history: reader.history.bind(reader),
    readAt: reader.readAt.bind(reader),
    versionBelow: async (...asked: Parameters<typeof reader.versionBelow>) => {
      const answer = await reader.versionBelow(...asked);
      if (asked[2] !== id) return answer;
      looks += 1;
      reached.resolve();
      await held.promise;
      return answer;
    },
  } as unknown as StateLedger["reader"];
  return { reader: slow, reached: reached.promise, release: held.resolve, looks: () => looks };
};

const plain = ({ registry, open, heads }: Moment) => ({
  registry: registry.registry,
  open: [...open.values()],
  heads: [...heads].sort(([a], [b]) => (a < b ? -1 : 1)),
});

describe("the state of the quorum", () => {
  it("is at each commit what reading the ledger anew gives", async () => {
    await using ledger = await openRegistry(await createWorld());
    const state = new QuorumState(ledger, () => timeMs);
    const expectCurrent = async (what: string): Promise<void> => {
      const anew = new QuorumState(ledger, () => timeMs);
      expect(plain(await state.now()), what).to.deep.equal(plain(await anew.now()));
      anew.close();
    };
    const commit = async (what: string, bodies: readonly RecordBody[]): Promise<void> => {
      await ledger.append(bodies);
      await expectCurrent(what);
    };
    await expectCurrent("an empty one");
    const [first, second] = [proposalOf(1, schemaBody("a")), proposalOf(2, schemaBody("a"))];
    await commit("a proposal", [first]);
    await commit("two about one record", [second, proposalOf(3, schemaBody("b"))]);
    const kept = await keptIn(ledger, first);
    await commit("a statement", [attested(kept, "approve")]);
    await commit("its record, by whomever", [schemaBody("a")]);
    await commit("records that look like those of proposals", [
      userBody("attestation/018bcfe5-6800-7000-8000-000000000001/w1", {}, { tenant: "acme" }),
    ]);
    await commit("an ending", [endingOf(kept, { outcome: "rejected", reason: "" }, timeMs)]);
    expect((await state.now()).open.size).to.equal(2);
    await commit("the registry", [
      await newestOf(ledger, witnessBody("w1")),
      await newestOf(ledger, quorumBody(2)),
    ]);
    const last = await keptIn(ledger, second);
    await commit("two things in one batch", [
      attested(last, "reject"),
      endingOf(last, { outcome: "rejected", reason: "" }, timeMs),
    ]);
    state.close();
  });

  it("does not remember a reading that a commit overtook", async () => {
    await using ledger = await openRegistry(await createWorld());
    await ledger.append([proposalOf(1, schemaBody("a"))]);
    const { feed, status } = ledger;
    const slow = slowReader(ledger, "schema/a");
    const state = new QuorumState({ reader: slow.reader, feed, status }, () => timeMs);
    const asked = state.now();
    await slow.reached;
    await ledger.append([schemaBody("a")]);
    slow.release();
    const head = (await ledger.reader.readId("system", "system", "schema/a"))?.hash;
    expect((await asked).heads.get("schema/a")).to.deep.equal(head);
    state.close();
  });

  it("does not remember a reading that began before the ledger has checked itself", async () => {
    await using ledger = await openRegistry(await createWorld());
    const slow = slowReader(ledger, "quorum");
    const source = { reader: slow.reader, feed: ledger.feed, status: ledger.status };
    const state = new QuorumState(source, () => timeMs);
    const asked = state.now();
    await slow.reached;
    source.status = { kind: "serving" };
    const anew = state.now();
    slow.release();
    expect((await asked) === (await anew)).to.equal(true);
    expect(slow.looks()).to.equal(2);
    state.close();
  });

  it("is read anew once the ledger has checked itself, with what was found again", async () => {
    const stores: FaultyStore[] = [];
    const world = await createWorld();
    const openStore = async () => {
      const store = createFaultyStore(await openMemoryStore(world.backing));
      stores.push(store);
      return store;
    };
    await using ledger = await openRegistry({ ...world, options: { ...world.options, openStore } });
    await ledger.append([proposalOf(1, schemaBody("a"))]);
    const state = new QuorumState(ledger, () => timeMs);
    const before = await state.now();
    expect(await state.now(), "while nothing changes").to.equal(before);
    stores.at(-1)?.plan({ operation: "commit", nth: 1, when: "after", then: "works" });
    expect(await faultOf(ledger.append([proposalOf(2, schemaBody("b"))]))).to.include({
      kind: "indeterminate",
    });
    await untilStatus(ledger, "serving");
    const anew = await state.now();
    expect([...anew.open.keys()]).to.have.lengthOf(2);
    const id = [...before.open.keys()][0] ?? "";
    expect(anew.open.get(id)).to.deep.equal(before.open.get(id));
    expect(anew.registry).to.deep.equal(before.registry);
    // What was remembered would be the same objects.
    expect(anew.open.get(id) === before.open.get(id)).to.equal(false);
    expect(anew.registry === before.registry).to.equal(false);
    state.close();
  });
});
