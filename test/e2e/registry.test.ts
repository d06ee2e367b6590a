/**
 * The witness registry over the wire: its changes take the old quorum, new keys show possession, and old words lapse.
 */
import type { KeyObject } from "node:crypto";
import { expect } from "chai";
import { after, afterEach, before, beforeEach, describe, it } from "mocha";
import { AttestationRole, ProposalState, type Proposal } from "@sigil/client";
import { parseGenesis } from "../../src/core/record/kinds.ts";
import { Council, json, newKey, rawKey, type Change } from "./council.ts";
import { refusalOf } from "./refusal.ts";
import { attest } from "./witness.ts";

const { PROPOSAL_STATE_OPEN: OPEN, PROPOSAL_STATE_COMMITTED: COMMITTED } = ProposalState;

const adding = (id: string, key: KeyObject | Uint8Array, changes: { owner?: string; k?: number } = {}) =>
  ({
    $case: "add",
    value: {
      id,
      publicKey: key instanceof Uint8Array ? key : rawKey(key),
      owner: `owner of ${id}`,
      ...changes,
    },
  }) as const;

describe("a change of the witness registry", () => {
  let council: Council;
  beforeEach(async () => {
    council = await Council.open();
  });
  afterEach(() => council[Symbol.asyncDispose]());

  const quorum = async () => (await council.as("guest").witness.getQuorum({})).quorum;
  const witnesses = async () => (await council.as("guest").witness.listWitnesses({})).witnesses;
  const reasonOf = async (call: Promise<unknown>) => (await refusalOf(call)).reason;
  const pass = async (change: Change, ...by: readonly (string | KeyObject)[]): Promise<Proposal> => {
    const passed = await council.approve(await council.proposeChange(change), ...by);
    expect(passed.state).to.equal(COMMITTED);
    return passed;
  };

  it("is readable by everybody, as genesis set it", async () => {
    const { quorum: shown, record } = await council.as("guest").witness.getQuorum({});
    expect(shown).to.deep.equal({ k: 2, n: 3, epoch: 1n, proposerMayAttest: false });
    expect(record?.version).to.equal(1n);
    const listed = await witnesses();
    expect(listed.map(({ id }) => id)).to.deep.equal(["ann", "ben", "cyd"]);
    const ann = listed[0]?.publicKey ?? new Uint8Array(0);
    expect(Buffer.from(ann).equals(rawKey(council.key("ann")))).to.equal(true);
  });

  it("lists witnesses in pages, by id, for the caller who began, and without a gap where one was removed", async () => {
    const { witness } = council.as("guest");
    const first = await witness.listWitnesses({ pageSize: 1 });
    expect(first.witnesses.map(({ id }) => id)).to.deep.equal(["ann"]);
    expect(first.quorum?.n).to.equal(3);
    const { nextPageToken: pageToken } = first;
    const next = await witness.listWitnesses({ pageSize: 1, pageToken });
    expect(next.witnesses.map(({ id }) => id)).to.deep.equal(["ben"]);
    const last = await witness.listWitnesses({ pageSize: 2, pageToken: next.nextPageToken });
    expect([last.witnesses.map(({ id }) => id), last.nextPageToken]).to.deep.equal([["cyd"], ""]);
    const others = council.as("mentor").witness.listWitnesses({ pageSize: 1, pageToken });
    expect(await refusalOf(others)).to.include({ codeName: "INVALID_ARGUMENT" });
    expect(await refusalOf(witness.listWitnesses({ pageSize: 1001 }))).to.include({
      codeName: "INVALID_ARGUMENT",
    });
    await pass({ $case: "remove", value: { id: "ben", k: 1 } }, "ann", "cyd");
    const rest = await witness.listWitnesses({ pageToken });
    expect([rest.witnesses.map(({ id }) => id), rest.quorum?.epoch]).to.deep.equal([["cyd"], 2n]);
  });

  it("adds a witness once k have approved and its key has signed, in either order", async () => {
    const key = newKey();
    council.keys.set("dan", key);
    const proposal = await council.proposeChange(adding("dan", key, { k: 3 }));
    expect(proposal).to.include({ possessionNeeded: true, approvalsNeeded: 2, enrolsWitness: "dan" });
    const approved = await council.approve(proposal, "ann", "ben");
    expect(approved).to.include({ state: OPEN, approvalsNeeded: 0, possessionNeeded: true });
    const early = await refusalOf(council.commit(proposal));
    expect(early).to.include({ codeName: "FAILED_PRECONDITION", reason: "POSSESSION_MISSING" });
    expect(await reasonOf(council.attest(proposal, key, { verdict: "reject" }))).to.equal(
      "REJECT_BY_NEW_KEY",
    );
    const shown = await council.attest(proposal, key);
    expect(shown.attestation).to.include({
      witness: "dan",
      role: AttestationRole.ATTESTATION_ROLE_POSSESSION,
    });
    expect(shown.proposal?.state).to.equal(COMMITTED);
    expect(await quorum()).to.include({ k: 3, n: 4, epoch: 2n });
    // Possession is no approval: two approved, and that is what the record shows; it took the k before it.
    const observer = council.as("observer");
    const record = await observer.canon.getSystemRecord({ id: "quorum" });
    expect(record).to.deep.include({ attestedBy: ["ann", "ben"], k: 2, n: 3, epoch: 1n });
    expect(record.record?.record?.attestations).to.have.lengthOf(3);
    const enrolled = await observer.canon.getSystemRecord({ id: "witness/dan" });
    expect(enrolled).to.deep.include({ attestedBy: ["ann", "ben"], k: 2, proposalId: proposal.id });
    // And from now on the new witness counts.
    const next = await council.approve(await council.proposeAny(), "dan", "ann");
    expect(next).to.deep.include({ state: OPEN, approvedBy: ["dan", "ann"], approvalsNeeded: 1 });
    expect((await council.approve(next, "cyd")).state).to.equal(COMMITTED);

    const first = await council.proposeChange(adding("eve", newKey()));
    expect(await reasonOf(council.attest(first, newKey()))).to.equal("UNKNOWN_WITNESS");
  });

  it("takes k of the old registry, not the new one", async () => {
    const raising = await council.proposeChange({ $case: "quorum", value: { k: 3 } });
    expect((await council.approve(raising, "ann")).approvalsNeeded).to.equal(1);
    expect((await council.approve(raising, "ben")).state).to.equal(COMMITTED);
    const lowering = await council.proposeChange({ $case: "quorum", value: { k: 1 } });
    const two = await council.approve(lowering, "ann", "ben");
    expect(two).to.include({ state: OPEN, approvalsNeeded: 1 });
    expect((await council.approve(lowering, "cyd")).state).to.equal(COMMITTED);
    expect(await quorum()).to.include({ k: 1, epoch: 3n });
  });

  it("lets the old key attest until the key is replaced, and the new one afterwards", async () => {
    const [oldKey, key] = [council.key("ann"), newKey()];
    const open = await council.proposeAny();
    const proposal = await council.proposeChange({
      $case: "replace",
      value: { id: "ann", publicKey: rawKey(key) },
    });
    expect(proposal).to.include({ enrolsWitness: "ann", possessionNeeded: true });
    await council.attest(proposal, key);
    await council.attest(proposal, oldKey);
    await council.attest(open, oldKey);
    expect((await council.approve(proposal, "ben")).state).to.equal(COMMITTED);
    const now = await council.now(open);
    expect(now).to.deep.include({ approvedBy: [], approvalsNeeded: 2, epoch: 2n });
    expect(await reasonOf(council.attest(now, oldKey))).to.equal("UNKNOWN_WITNESS");
    // The new key is no older than its record: what was proposed before it is not its to attest.
    const late = await refusalOf(council.attest(now, key));
    expect(late).to.include({ codeName: "PERMISSION_DENIED", reason: "ENROLLED_LATER" });
    expect((await council.approve(now, "ben", "cyd")).state).to.equal(COMMITTED);
    const next = await council.approve(await council.proposeAny(), key, "cyd");
    expect(next.state).to.equal(COMMITTED);
    const { attestedBy, epoch } = await council.as("observer").canon.getSystemRecord({ id: next.recordId });
    expect({ attestedBy, epoch }).to.deep.equal({ attestedBy: ["ann", "cyd"], epoch: 2n });
  });

  it("keeps a witness from what was proposed before it was enrolled", async () => {
    const older = await council.proposeAny();
    await council.enrol("dan", "ann", "ben");
    const now = await council.now(older);
    const refused = await refusalOf(council.attest(now, "dan"));
    expect(refused).to.include({ codeName: "PERMISSION_DENIED", reason: "ENROLLED_LATER" });
    expect((await council.attest(await council.proposeAny(), "dan")).attestation?.counts).to.equal(true);
  });

  it("makes the earlier attestations of a removed witness stop counting", async () => {
    const open = await council.proposeAny({ separateCommit: true });
    await council.approve(open, "ann", "ben");
    expect(await council.now(open)).to.include({ approvalsNeeded: 0 });
    await pass({ $case: "remove", value: { id: "ann" } }, "ben", "cyd");
    expect(await quorum()).to.include({ k: 2, n: 2, epoch: 2n });
    const now = await council.now(open);
    expect(now).to.deep.include({ state: OPEN, approvedBy: [], approvalsNeeded: 2 });
    expect(now.attestations.map(({ counts }) => counts)).to.deep.equal([false, false]);
    const short = await refusalOf(council.commit(open));
    expect(short).to.include({ codeName: "PERMISSION_DENIED", reason: "QUORUM_SHORT" });
    expect(short.facts).to.include({ needed: "2" });
    expect(await reasonOf(council.attest(now, "ann"))).to.equal("UNKNOWN_WITNESS");
    await council.approve(now, "ben", "cyd");
    const { record } = await council.commit(open);
    expect(record?.version).to.equal(1n);
    const { attestedBy } = await council.as("observer").canon.getSystemRecord({ id: open.recordId });
    expect(attestedBy).to.deep.equal(["ben", "cyd"]);
  });

  it("asks for every open proposal to be attested anew, and supersedes other changes of the registry", async () => {
    const open = await council.proposeAny();
    const other = await council.proposeChange({ $case: "quorum", value: { k: 1 } });
    const early = attest(open, council.key("ann"));
    await council.send(open, early);
    await council.attest(other, "ann");
    await pass({ $case: "quorum", value: { k: 3 } }, "ann", "ben");
    expect((await council.now(other)).state).to.equal(ProposalState.PROPOSAL_STATE_SUPERSEDED);
    expect(await reasonOf(council.send(open, early))).to.equal("OTHER_EPOCH");
    const approved = await council.approve(await council.now(open), "ann", "ben", "cyd");
    expect(approved.state).to.equal(COMMITTED);
    expect(approved.attestations.map(({ witness, epoch }) => [witness, epoch])).to.deep.equal([
      ["ann", 1n],
      ["ann", 2n],
      ["ben", 2n],
      ["cyd", 2n],
    ]);
  });

  it("lets a proposer attest its own proposal only once the quorum says so", async () => {
    const ann = council.key("ann");
    const principal = {
      public_keys: [Buffer.from(rawKey(ann)).toString("base64")],
      loa: "mentor",
      tenant: "acme",
    };
    const content = json({ ...principal, active: true });
    await council.approve(await council.propose({ id: "principal/anna", content }), "ben", "cyd");
    const asAnna = council.served.by("anna", ann);
    const own = await council.proposeAny({}, asAnna);
    expect(await reasonOf(council.attest(own, "ann"))).to.equal("OWN_PROPOSAL");
    await pass({ $case: "quorum", value: { proposerMayAttest: true } }, "ben", "cyd");
    expect(await quorum()).to.include({ k: 2, epoch: 2n, proposerMayAttest: true });
    expect((await council.approve(await council.now(own), "ann", "cyd")).state).to.equal(COMMITTED);
    await pass({ $case: "quorum", value: { proposerMayAttest: false } }, "ann", "cyd");
    expect(await reasonOf(council.attest(await council.proposeAny({}, asAnna), "ann"))).to.equal(
      "OWN_PROPOSAL",
    );
  });

  it("lets a witness call with its own key, until it is removed", async () => {
    const asAnn = council.served.by("witness/ann", council.key("ann"));
    const proposal = await council.proposeAny();
    const { proposals } = await asAnn.canon.listProposals({ waitingForWitness: "ann" });
    expect(proposals.map(({ id }) => id)).to.deep.equal([proposal.id]);
    const shown = await asAnn.canon.getProposal({ id: proposal.id });
    const statement = attest(shown.proposal ?? expect.fail(), council.key("ann"));
    const { auditId } = await asAnn.canon.attestProposal({ id: proposal.id, statement });
    // The decision that let it attest is about the witness, whoever brings its statement.
    const { chain } = await council.as("root").audit.getFrozenChain({ auditId, tenant: "system" });
    expect(chain).to.include({ subject: "witness/ann", action: "canon.attest", tenant: "system" });
    expect((await refusalOf(council.commit(proposal, asAnn))).reason).to.equal("LEVEL_TOO_LOW");
    await pass({ $case: "remove", value: { id: "ann" } }, "ben", "cyd");
    const gone = await refusalOf(asAnn.canon.listProposals({}));
    expect(gone.codeName).to.equal("UNAUTHENTICATED");
  });
});

describe("a change of the witness registry is refused", () => {
  let council: Council;
  before(async () => {
    council = await Council.open();
  });
  after(() => council[Symbol.asyncDispose]());

  /** y = 1, y = −1, y = 0 and a point of order 8: keys that accept signatures nobody made. */
  const smallOrder = [
    `01${"00".repeat(31)}`,
    `ec${"ff".repeat(30)}7f`,
    "00".repeat(32),
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  ].map((hex) => Buffer.from(hex, "hex"));
  /** y = p + 1 and y = p: other encodings of points of the curve; and a y that is on no point. */
  const notCanonical = [`ee${"ff".repeat(30)}7f`, `ed${"ff".repeat(30)}7f`, `02${"00".repeat(31)}`].map(
    (hex) => Buffer.from(hex, "hex"),
  );
  const replacing = (publicKey: Uint8Array) =>
    ({ $case: "replace", value: { id: "ann", publicKey } }) as const;
  const annsKey = () => rawKey(council.key("ann"));

  const rows: readonly (readonly [name: string, field: string, change: () => Change])[] = [
    ["with k = 0", "quorum.k", () => ({ $case: "quorum", value: { k: 0 } })],
    ["with k above n", "quorum.k", () => ({ $case: "quorum", value: { k: 4 } })],
    ["that says nothing", "quorum.k", () => ({ $case: "quorum", value: {} })],
    ["that changes nothing", "quorum.k", () => ({ $case: "quorum", value: { k: 2 } })],
    ["that adds with k above n", "add.k", () => adding("dan", newKey(), { k: 5 })],
    ["that removes a stranger", "remove.id", () => ({ $case: "remove", value: { id: "dan" } })],
    ["that removes with k above n", "remove.k", () => ({ $case: "remove", value: { id: "ann", k: 3 } })],
    [
      "that replaces a stranger's key",
      "replace.id",
      () => ({ $case: "replace", value: { id: "dan", publicKey: rawKey(newKey()) } }),
    ],
    ["that replaces a key by itself", "replace.public_key", () => replacing(annsKey())],
    ["that adds the same id", "add.id", () => adding("ann", newKey())],
    ["that adds an id with a slash", "add.id", () => adding("a/b", newKey())],
    ["that adds a witness's key", "add.public_key", () => adding("dan", annsKey())],
    [
      "that adds an owner's second",
      "add.owner",
      () => adding("dan", newKey(), { owner: " The Owner of ANN " }),
    ],
    ["that adds nobody's key", "add.owner", () => adding("dan", newKey(), { owner: " " })],
    ["with a key of 31 bytes", "add.public_key", () => adding("dan", annsKey().subarray(1))],
    ...smallOrder.flatMap((key, index) => [
      [`with small-order key ${index}`, "public_key", () => adding("dan", key)] as const,
      [`to small-order key ${index}`, "public_key", () => replacing(key)] as const,
    ]),
    ...notCanonical.map(
      (key, index) => [`with malformed key ${index}`, "public_key", () => adding("dan", key)] as const,
    ),
  ];
  for (const [name, field, change] of rows) {
    it(name, async () => {
      const refused = await refusalOf(council.proposeChange(change()));
      expect(refused.codeName).to.equal("INVALID_ARGUMENT");
      expect(refused.fieldViolations.map((violation) => violation.field)).to.deep.equal([field]);
    });
  }

  it("when the key is one that the deployment signs with", async () => {
    const genesis = await council.served.server.ledger.reader.readAt(0n);
    const { keys } = parseGenesis(genesis.body.payload);
    for (const key of [keys.record, keys.checkpoint]) {
      const refused = await refusalOf(council.proposeChange(adding("dan", key)));
      expect(refused).to.include({ codeName: "INVALID_ARGUMENT", reason: "MALFORMED_KEY" });
    }
  });

  it("when it says no change at all, or is put to ProposeRecord", async () => {
    const none = await refusalOf(council.as("mentor").witness.proposeWitnessChange({}));
    expect(none.fieldViolations.map(({ field }) => field)).to.deep.equal(["change"]);
    for (const id of ["quorum", "witness/ann", "genesis", "proposal/x"]) {
      const refused = await refusalOf(council.propose({ id, content: json({}) }));
      expect(refused.codeName, id).to.equal("INVALID_ARGUMENT");
      expect(refused.fieldViolations.map(({ field }) => field)).to.deep.equal(["id"]);
    }
  });

  it("when it takes out the last witness", async () => {
    await using alone = await Council.open({ witnesses: ["ann"], k: 1 });
    const refused = await refusalOf(alone.proposeChange({ $case: "remove", value: { id: "ann" } }));
    expect(refused.fieldViolations.map(({ field }) => field)).to.deep.equal(["remove.id"]);
  });

  it("and nothing of it has changed the registry", async () => {
    const { quorum } = await council.as("guest").witness.getQuorum({});
    expect(quorum).to.include({ k: 2, n: 3, epoch: 1n });
    const { proposals } = await council.as("observer").canon.listProposals({});
    expect(proposals).to.deep.equal([]);
  });
});
