/** What a quorum governs, from proposal to effect: the trust model, principals, and the schemas of user records. */
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import {
  LevelOfAccess,
  ProposalState,
  Verdict,
  type CheckResponse,
  type SigilConnection,
} from "@sigil/client";
import { toHex } from "../../src/core/bytes.ts";
import { defaultModelPayload } from "../../src/trust/default-model.ts";
import { put, writeOf } from "./canon-writes.ts";
import { Council, json, modelWith, newKey, rawKey, tombstone } from "./council.ts";
import { refusalOf } from "./refusal.ts";

const { PROPOSAL_STATE_COMMITTED: COMMITTED } = ProposalState;

const { actions } = defaultModelPayload;

/** An operator's writing, which the default model allows and a stricter one denies. */
const question = { action: "write", target: "user/notes" };
const stricter = modelWith({ bias: 0.75, actions: { ...actions, write: { risk: 1, min_loa: "observer" } } });

describe("a trust model by quorum", () => {
  let council: Council;
  beforeEach(async () => {
    council = await Council.open({ otherTenants: ["globex"] });
  });
  afterEach(() => council[Symbol.asyncDispose]());

  const id = "trust_model/active";
  const check = () => council.as("operator").trust.check(question);
  const verified = async ({ auditId }: CheckResponse) =>
    (await council.as("operator").audit.verifyFrozenChain({ auditId })).verified;
  const activeHash = async () => toHex((await council.as("observer").trust.getActiveModel({})).hash);

  it("is active at once: Check names its hash, a decision flips, and the old one verifies against the old model", async () => {
    const before = await check();
    expect(before.verdict).to.equal(Verdict.VERDICT_ALLOW);
    const proposal = await council.propose({ id, content: stricter });
    await council.attest(proposal, "ann");
    const waiting = await check();
    expect(waiting).to.deep.include({ verdict: Verdict.VERDICT_ALLOW, modelHash: before.modelHash });
    await council.attest(proposal, "ben");
    const after = await check();
    expect(after.verdict).to.equal(Verdict.VERDICT_DENY);
    expect(toHex(after.modelHash)).to.equal(toHex(proposal.recordHash));
    expect(after.bias).to.equal(0.75);
    for (const decision of [before, waiting, after]) expect(await verified(decision)).to.equal(true);
    const { chain } = await council.as("operator").audit.getFrozenChain({ auditId: before.auditId });
    expect(toHex(chain?.modelHash ?? new Uint8Array(0))).to.equal(toHex(before.modelHash));
    await council.restart();
    expect(await check()).to.deep.include({ verdict: Verdict.VERDICT_DENY, modelHash: after.modelHash });
    expect(await verified(before)).to.equal(true);
  });

  it("leaves the old one active when it is rejected, withdrawn, or short of k", async () => {
    const old = await activeHash();
    const rejected = await council.propose({ id, content: stricter });
    for (const witness of ["ann", "cyd"]) await council.attest(rejected, witness, { verdict: "reject" });
    expect((await council.now(rejected)).state).to.equal(ProposalState.PROPOSAL_STATE_REJECTED);
    const withdrawn = await council.propose({ id, content: stricter });
    await council.attest(withdrawn, "ann");
    await council.as("mentor").canon.withdrawProposal({ id: withdrawn.id });
    await council.attest(await council.propose({ id, content: stricter }), "ann");
    expect(await activeHash()).to.equal(old);
    expect((await check()).verdict).to.equal(Verdict.VERDICT_ALLOW);
  });

  const { entropy: _, ...fourWeights } = defaultModelPayload.weights;
  const malformed = [
    ["a missing weight", modelWith({ weights: fourWeights }), "weights.entropy"],
    ["a threshold above 1", modelWith({ threshold: 1.5 }), "threshold"],
    [
      "a feature it does not know",
      modelWith({ weights: { ...defaultModelPayload.weights, mood: 1 } }),
      "weights",
    ],
    ["a text for a number", modelWith({ bias: "1" }), "bias"],
    ["no bias at all", modelWith({ bias: undefined }), "bias"],
  ] as const;
  for (const [name, content, field] of malformed) {
    it(`is refused when it has ${name}, and the old one stays active`, async () => {
      const old = await activeHash();
      const refused = await refusalOf(council.propose({ id, content }));
      expect(refused.codeName).to.equal("INVALID_ARGUMENT");
      expect(refused.fieldViolations[0]?.field).to.match(new RegExp(`^payload\\.${field}`));
      expect(await activeHash()).to.equal(old);
      expect((await check()).verdict).to.equal(Verdict.VERDICT_ALLOW);
    });
  }

  const lockouts = [
    ["attesting", modelWith({ actions: { ...actions, "canon.attest": { risk: 0.05, min_loa: "root" } } })],
    [
      "proposing",
      modelWith({ actions: { ...actions, "canon.propose": { risk: 1, min_loa: "root" } }, bias: -3 }),
    ],
    [
      "committing",
      modelWith({ actions: { ...actions, "canon.commit": { risk: 1, min_loa: "root" } }, bias: -4 }),
    ],
    ["everything", modelWith({ bias: -100 })],
    ["everybody who is busy", modelWith({ weights: { ...defaultModelPayload.weights, rate: -20 } })],
  ] as const;
  for (const [name, content] of lockouts) {
    it(`is refused before it is proposed when it would deny ${name}`, async () => {
      const refused = await refusalOf(council.propose({ id, content }));
      expect(refused).to.include({ codeName: "INVALID_ARGUMENT", reason: "MALFORMED_MODEL" });
      expect(refused.message).to.contain("no quorum could replace the model");
      expect((await council.as("observer").canon.listProposals({})).proposals).to.deep.equal([]);
    });
  }

  it("shows its flips before anybody signs: to a witness of all tenants, to a mentor of its own", async () => {
    await check();
    const globex = council.served.by("operator-globex", council.deployment.privateKeys.operator);
    await globex.trust.check(question);
    const proposal = await council.propose({ id, content: stricter });
    const asAnn = council.served.by("witness/ann", council.key("ann"));
    const asked = {
      proposalId: proposal.id,
      subjectMatter: { $case: "lastDecisions", value: 100 },
    } as const;
    const subjectsOf = async (connection: typeof asAnn) => {
      const { decisions, flipped } = await connection.trust.simulate(asked);
      expect(flipped).to.equal(decisions.length);
      return decisions.filter(({ action }) => action === "write").map(({ subject }) => subject);
    };
    expect(await subjectsOf(asAnn)).to.have.members(["operator", "operator-globex"]);
    expect(await subjectsOf(council.as("mentor"))).to.deep.equal(["operator"]);
    // A candidate of one's own still takes a mentor.
    const { model } = await asAnn.trust.getActiveModel({});
    const own = await refusalOf(
      asAnn.trust.simulate({ candidate: model, subjectMatter: asked.subjectMatter }),
    );
    expect(own).to.include({ codeName: "PERMISSION_DENIED", reason: "LEVEL_TOO_LOW" });
    const schema = await council.proposeAny();
    const none = await refusalOf(asAnn.trust.simulate({ ...asked, proposalId: schema.id }));
    expect(none.fieldViolations.map(({ field }) => field)).to.deep.equal(["proposal_id"]);
  });

  it("lets every canon write through its model first: one that denies proposing to mentors leaves it to Root", async () => {
    const content = modelWith({ actions: { ...actions, "canon.propose": { risk: 0.5, min_loa: "root" } } });
    await council.approve(await council.propose({ id, content }), "ann", "ben");
    const denied = await refusalOf(council.proposeAny());
    expect(denied).to.include({ codeName: "PERMISSION_DENIED", reason: "DENIED" });
    expect(denied.facts).to.include({ action: "canon.propose", verdict: "deny" });
    const auditId = denied.facts["audit_id"] ?? "";
    expect((await council.as("mentor").audit.verifyFrozenChain({ auditId })).verified).to.equal(true);
    const back = await council.propose({ id, content: modelWith({}) }, council.as("root"));
    expect((await council.approve(back, "ann", "ben")).state).to.equal(COMMITTED);
    await council.proposeAny();
  });
});

describe("principals by quorum", () => {
  let council: Council;
  beforeEach(async () => {
    council = await Council.open();
  });
  afterEach(() => council[Symbol.asyncDispose]());

  const principal = (key: ReturnType<typeof newKey>, changes: Readonly<Record<string, unknown>> = {}) =>
    json({
      public_keys: [Buffer.from(rawKey(key)).toString("base64")],
      loa: "operator",
      tenant: "acme",
      active: true,
      ...changes,
    });
  const pass = async (asked: Parameters<Council["propose"]>[0]) =>
    expect((await council.approve(await council.propose(asked), "ann", "ben")).state).to.equal(COMMITTED);

  it("let a new operator call, until it is ended", async () => {
    const key = newKey();
    const asEve = council.served.by("eve", key);
    expect((await refusalOf(asEve.trust.check(question))).codeName).to.equal("UNAUTHENTICATED");
    await pass({ id: "principal/eve", content: principal(key) });
    expect(await asEve.trust.check(question)).to.include({
      subject: "eve",
      level: LevelOfAccess.LEVEL_OF_ACCESS_OPERATOR,
    });
    await put(asEve, "eves/note", { text: "written" });
    await pass({ id: "principal/eve", content: principal(key, { active: false }) });
    expect((await refusalOf(asEve.trust.check(question))).reason).to.equal("PRINCIPAL_REVOKED");
    await pass({ id: "principal/eve", content: principal(key) });
    await asEve.trust.check(question);
    await pass({ id: "principal/eve", content: tombstone });
    expect((await refusalOf(asEve.trust.check(question))).codeName).to.equal("UNAUTHENTICATED");
    const read = council.as("observer").canon.getSystemRecord({ id: "principal/eve" });
    expect((await refusalOf(read)).codeName).to.equal("NOT_FOUND");
    const last = await council.as("observer").canon.getSystemRecord({ id: "principal/eve", version: 4n });
    expect(last).to.deep.include({ attestedBy: ["ann", "ben"] });
    expect(last.record).to.include({ version: 4n, tombstone: true });
  });

  it("revoke a Mentor whose tenant has taken every open proposal it may", async () => {
    const otherKey = newKey();
    const other = { loa: "mentor" };
    await pass({ id: "principal/mia", content: principal(otherKey, other) });
    /** @returns why there was no other. */
    const fill = async (by: SigilConnection): Promise<string> => {
      for (;;) {
        const refused = await council.proposeAny({}, by).then(
          () => undefined,
          (error: unknown) => refusalOf(Promise.reject(error as Error)),
        );
        if (refused !== undefined) return refused.reason;
      }
    };
    expect(await fill(council.as("mentor"))).to.equal("PROPOSALS_PER_CALLER");
    expect(await fill(council.served.by("mia", otherKey))).to.match(/^PROPOSALS_PER_(CALLER|TENANT)$/);
    const revoked = principal(council.deployment.privateKeys.mentor, { loa: "mentor", active: false });
    const ask = { id: "principal/mentor", content: revoked };
    const proposal = await council.propose(ask, council.as("root"));
    expect((await council.approve(proposal, "ann", "ben")).state).to.equal(COMMITTED);
    expect((await refusalOf(council.proposeAny())).reason).to.equal("PRINCIPAL_REVOKED");
  });

  it("also end the first Root, whose genesis record does not bring it back", async () => {
    const asRoot = council.as("root");
    await asRoot.canon.listProposals({});
    await pass({ id: "principal/root", content: tombstone });
    expect((await refusalOf(asRoot.canon.listProposals({}))).codeName).to.equal("UNAUTHENTICATED");
    await council.restart();
    expect((await refusalOf(council.as("root").canon.listProposals({}))).codeName).to.equal(
      "UNAUTHENTICATED",
    );
    const key = newKey();
    await pass({ id: "principal/root", content: principal(key, { loa: "root", tenant: "system" }) });
    await council.served.by("root", key).canon.listProposals({});
    expect((await refusalOf(council.as("root").canon.listProposals({}))).codeName).to.equal(
      "UNAUTHENTICATED",
    );
  });

  it("are never all taken away: the last who may propose stays, whatever was proposed before", async () => {
    await using other = await Council.open();
    const ofRoot = await other.propose({ id: "principal/root", content: tombstone });
    const ofMentor = await other.propose({ id: "principal/mentor", content: tombstone });
    for (const witness of ["ann", "ben"]) await other.attest(ofRoot, witness);
    await other.attest(ofMentor, "ann");
    const late = await refusalOf(other.attest(ofMentor, "ben"));
    expect([late.codeName, late.reason]).to.deep.equal(["FAILED_PRECONDITION", "LAST_PROPOSER"]);
    const { size } = other.served.server.ledger.reader;
    for (let n = 0; n < 3; n += 1) await refusalOf(other.attest(ofMentor, "ben"));
    expect(other.served.server.ledger.reader.size, "whoever repeats it leaves nothing behind").to.equal(size);
    const demoted = principal(newKey(), { loa: "operator" });
    const refused = await refusalOf(other.propose({ id: "principal/mentor", content: demoted }));
    expect(refused.reason).to.equal("LAST_PROPOSER");
    await other.as("mentor").canon.listProposals({});
  });

  it("are refused with a key of small order, a level there is not, or the name of a witness", async () => {
    const weak = Buffer.alloc(32).toString("base64");
    const rows = [
      ["principal/weak", principal(newKey(), { public_keys: [weak] })],
      ["principal/god", principal(newKey(), { loa: "god" })],
      ["principal/witness/ann", principal(newKey())],
      ["principal/none", json({})],
    ] as const;
    for (const [id, content] of rows) {
      expect((await refusalOf(council.propose({ id, content }))).codeName, id).to.equal("INVALID_ARGUMENT");
    }
  });
});

describe("a schema by quorum", () => {
  it("holds later writes of its kind, naming the JSON pointer, until it is ended", async () => {
    await using council = await Council.open();
    const operator = council.as("operator");
    const id = "schema/invoice";
    const write = (name: string, value: unknown) => put(operator, name, value, { kind: "invoice" });
    await write("invoices/free", { total: "much" });
    const schema = {
      type: "object",
      properties: { total: { type: "number" }, lines: { type: "array", items: { type: "string" } } },
      required: ["total"],
    };
    const proposal = await council.propose({ id, content: json({ kind: "invoice", schema }) });
    await council.attest(proposal, "ann");
    await write("invoices/still-free", { total: "much" });
    await council.attest(proposal, "ben");
    const wrong = [
      [{ total: "much" }, "/total"],
      [{ total: 1, lines: ["a", 2] }, "/lines/1"],
      [{}, "total"],
    ] as const;
    for (const [value, pointer] of wrong) {
      const refused = await refusalOf(write("invoices/1", value));
      expect(refused.codeName).to.equal("INVALID_ARGUMENT");
      expect(refused.message).to.contain(pointer);
    }
    const writes = [writeOf("invoices/1", { total: 1 }), writeOf("invoices/2", {})].map((each) => ({
      ...each,
      kind: "invoice",
    }));
    const batch = await refusalOf(operator.canon.batchWriteRecords({ writes }));
    expect(batch.fieldViolations[0]?.field).to.match(/^writes\[1\]\./);
    await write("invoices/1", { total: 1, lines: ["a"] });
    await put(operator, "notes/1", { total: "much" });
    // What was written before it stays as it is.
    await operator.canon.getRecord({ id: "invoices/free" });
    await council.approve(await council.propose({ id, content: tombstone }), "ben", "cyd");
    await write("invoices/3", { total: "much" });
  });

  it("is compiled once its proposer is allowed to ask, and nobody waits for it", async () => {
    await using council = await Council.open();
    const decided = async (): Promise<number> =>
      (await council.as("mentor").audit.listFrozenChains({ action: "canon.propose" })).chains.length;
    const before = await decided();
    const patterns = Object.fromEntries(Array.from({ length: 2000 }, (_, at) => [`^${at}`, {}]));
    const content = json({ kind: "x", schema: { patternProperties: patterns } });
    const proposing = council.propose({ id: "schema/x", content }).then(
      () => "proposed",
      (error: Error) => error.message,
    );
    // Whichever comes first: a schema that takes seconds must not be what answers a check.
    let isDone = false;
    void proposing.finally(() => (isDone = true));
    let checks = 0;
    while (!isDone) {
      await council.as("guest").trust.check({ action: "read", target: "public/docs" });
      checks += 1;
    }
    expect(await proposing).to.match(/^proposed$|takes more than/);
    expect(checks).to.be.greaterThan(3);
    expect(await decided()).to.equal(before + 1);
    const slow = json({ kind: "y", schema: { properties: { a: { pattern: "^(?=a)" } } } });
    const refused = await refusalOf(council.propose({ id: "schema/y", content: slow }));
    expect(refused.codeName).to.equal("INVALID_ARGUMENT");
    expect(refused.message).to.contain("looks ahead or behind");
    expect(await decided()).to.equal(before + 2);
  });

  it("is refused when it is none, names a kind of the server's own, or another kind than its id", async () => {
    await using council = await Council.open();
    const rows = [
      ["schema/x", { kind: "x", schema: { type: "nonsense" } }],
      ["schema/x", { kind: "x", schema: { $ref: "https://elsewhere.test/schema" } }],
      ["schema/x", { kind: "y", schema: {} }],
      ["schema/frozen_chain", { kind: "frozen_chain", schema: {} }],
      ["schema/x", { kind: "x" }],
    ] as const;
    for (const [id, value] of rows) {
      const refused = await refusalOf(council.propose({ id, content: json(value) }));
      expect(refused.codeName, JSON.stringify(value)).to.equal("INVALID_ARGUMENT");
    }
  });
});

describe("records of users under the ids of what is governed", () => {
  it("change nothing of it, at once and after a restart", async () => {
    await using council = await Council.open();
    const governed = async () => {
      const [observer, root] = [council.as("observer"), council.as("root")];
      const { verdict, modelHash } = await council.as("operator").trust.check(question);
      return {
        verdict,
        modelHash: toHex(modelHash),
        model: toHex((await observer.trust.getActiveModel({})).hash),
        quorum: (await observer.witness.getQuorum({})).quorum,
        witnesses: (await observer.witness.listWitnesses({})).witnesses.map(({ id }) => id),
        keys: (await root.keys.listKeys({})).keys.length,
        module: (await observer.modules.getModule({ name: "hello" })).module,
        operator: (await root.principals.getPrincipal({ principal: "operator" })).principal,
      };
    };
    const before = await governed();
    expect(before.verdict).to.equal(Verdict.VERDICT_ALLOW);
    const ids = [
      "genesis",
      "trust_model/active",
      "quorum",
      "witness/ann",
      "module/hello",
      "schema/note",
      "suspension/principal/operator",
      "erasure/acme",
      "erased/acme",
      "signing_key/record/2",
      "key_retirement/x",
    ];
    for (const by of ["operator", "root"] as const) {
      for (const id of ids) await put(council.as(by), id, { note: id });
      expect(await governed(), by).to.deep.equal(before);
    }
    await council.restart();
    expect(await governed(), "after a restart").to.deep.equal(before);
  });
});
