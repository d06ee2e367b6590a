/**
 * The flip report of a proposed model: committed with the proposal, in what witnesses sign, and nobody else's. What an
 * operator who holds the deployment's own key could write instead is refused where it would be approved or committed.
 */
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { ProposalState, Space, type Proposal, type SigilConnection } from "@sigil/client";
import { equalBytes, parseHash, toHex } from "../../src/core/bytes.ts";
import { decodeBody, encodeBody, hashRecord, type RecordBody } from "../../src/core/record/record.ts";
import { flipReportLink, flipReportOf, modelDigest } from "../../src/core/record/flip-report.ts";
import { parseFlipReport, type FlipReportPayload } from "../../src/core/record/kinds.ts";
import { flipReportBody } from "../../src/canon/proposals/flip-report.ts";
import { proposalBody } from "../../src/canon/proposals/proposing.ts";
import { QuorumInspection } from "../../src/canon/proposals/quorum-inspection.ts";
import { describeDeployment } from "../../src/deployment/open.ts";
import { runFsck } from "../../src/ledger/fsck/fsck.ts";
import { defaultModelPayload } from "../../src/trust/default-model.ts";
import { put } from "./canon-writes.ts";
import { Council, modelWith } from "./council.ts";
import { origin } from "./deployment.ts";
import { refusalOf } from "./refusal.ts";

const id = "trust_model/active";
const { actions } = defaultModelPayload;
/** An operator's writing, which the default model allows and this one denies. */
const question = { action: "write", target: "user/notes" };
const stricter = modelWith({ bias: 0.75, actions: { ...actions, write: { risk: 1, min_loa: "observer" } } });

describe("the flip report of a proposed model", function () {
  this.slow(3000);
  let council: Council;
  beforeEach(async () => {
    council = await Council.open({ otherTenants: ["globex"] });
  });
  afterEach(() => council[Symbol.asyncDispose]());

  const asAnn = () => council.served.by("witness/ann", council.key("ann"));
  const reportBytes = async (proposal: Proposal, by: SigilConnection = asAnn()): Promise<Uint8Array> =>
    (await by.canon.getProposal({ id: proposal.id })).flipReport;
  const reportOf = async (proposal: Proposal): Promise<FlipReportPayload> =>
    parseFlipReport(decodeBody(await reportBytes(proposal)).payload);
  const reportId = (proposal: Proposal): string => proposal.id.replace("proposal/", "flip_report/");
  const { PROPOSAL_STATE_COMMITTED: COMMITTED, PROPOSAL_STATE_REJECTED: REJECTED } = ProposalState;

  const inspect = async () => {
    const kekInputs = { env: {}, askPassphrase: () => Promise.reject(new Error("no passphrase")) };
    const deployment = await describeDeployment({
      directory: council.deployment.directory,
      kekInputs,
      nowMs: Date.now,
    });
    const quorum = new QuorumInspection(origin);
    return (await runFsck(deployment, { inspectGroup: (group) => quorum.inspect(group) })).problems;
  };

  it("names the flips of every tenant by position, hash and verdict, and nothing of what they were about", async () => {
    const allowed = await council.as("operator").trust.check(question);
    const globex = council.served.by("operator-globex", council.deployment.privateKeys.operator);
    const theirs = await globex.trust.check(question);
    const proposal = await council.propose({ id, content: stricter });
    const { flips, scored, erased, size, model } = await reportOf(proposal);
    const hashAt = async (position: bigint) =>
      (await council.served.server.ledger.reader.readAt(position)).hash;
    const flip = async (position: bigint) => ({
      position,
      record: await hashAt(position),
      from: "allow",
      to: "deny",
    });
    expect(flips).to.deep.equal([await flip(theirs.ledgerPosition), await flip(allowed.ledgerPosition)]);
    // The third is the one that allowed proposing.
    expect([scored, erased]).to.deep.equal([3, 0]);
    expect(Number(size)).to.be.above(Number(theirs.ledgerPosition));
    expect(toHex(model)).to.equal(toHex(modelDigest(decodeBody(proposal.body).payload)));
    const text = Buffer.from(await reportBytes(proposal)).toString("latin1");
    expect(text).to.not.match(/globex|acme|operator|user\/notes|write/);
  });

  it("is what the model would do: the decisions asked again afterwards come out as it says", async () => {
    await council.as("operator").trust.check(question);
    await council.as("operator").trust.check({ action: "read", target: "public/docs" });
    const proposal = await council.propose({ id, content: stricter });
    const { flips } = await reportOf(proposal);
    const asked = {
      proposalId: proposal.id,
      subjectMatter: { $case: "lastDecisions", value: 1000 },
    } as const;
    const { decisions } = await asAnn().trust.simulate(asked);
    expect(flips).to.have.length(1).and.to.have.length(decisions.length);
    await council.approve(proposal, "ann", "ben");
    const { verdict } = await council.as("operator").trust.check(question);
    expect(verdict).to.equal(decisions[0]?.candidate);
  });

  it("is a record of its own, committed just before its proposal, and linked from the body that is committed", async () => {
    const proposal = await council.propose({ id, content: stricter });
    const bytes = await reportBytes(proposal);
    const named = flipReportOf(decodeBody(proposal.body));
    expect(toHex(hashRecord(bytes))).to.equal(toHex(named ?? new Uint8Array(0)));
    const { reader } = council.served.server.ledger;
    const record = await reader.readAt(proposal.ledgerPosition - 1n);
    expect(record.body).to.include({
      kind: "flip_report",
      id: reportId(proposal),
      tenant: "system",
      space: "user",
    });
    expect(toHex(record.hash)).to.equal(toHex(hashRecord(bytes)));
    const listed = await asAnn().canon.listRecords({ filter: { kind: "flip_report" } });
    expect(listed.records.map(({ record: each }) => each?.id)).to.deep.equal([reportId(proposal)]);
    await council.restart();
    expect((await council.approve(proposal, "ann", "ben")).state).to.equal(COMMITTED);
    const { record: active } = await council.as("observer").canon.getSystemRecord({ id });
    const links = active?.record?.links.map(({ label, target }) => [label, toHex(target)]);
    expect(links).to.deep.include(["flip_report", toHex(hashRecord(bytes))]);
    await council.served[Symbol.asyncDispose]();
    expect(await inspect()).to.deep.equal([]);
  });

  it("changes what witnesses sign: one more flip, and a signature over the body before is refused", async () => {
    const first = await council.propose({ id, content: stricter });
    await council.as("operator").trust.check(question);
    const second = await council.propose({ id, content: stricter });
    const [before, after] = [decodeBody(first.body), decodeBody(second.body)];
    expect(after.payload).to.deep.equal(before.payload);
    expect((await reportOf(second)).flips).to.have.length(1 + (await reportOf(first)).flips.length);
    const otherLinks = (body: RecordBody) => body.links.filter(({ label }) => label !== "flip_report");
    // The same body with the other report: the report alone changes the hash that is signed.
    const swapped = {
      ...after,
      links: [...otherLinks(after), ...before.links.filter(({ label }) => label === "flip_report")],
    };
    const record = hashRecord(encodeBody(swapped));
    expect(equalBytes(record, parseHash(second.recordHash))).to.equal(false);
    const refused = await refusalOf(council.attest(second, "ann", { record }));
    expect(refused.reason).to.equal("OTHER_BODY");
  });

  it("is one for a repeated proposal, and none for what is no model", async () => {
    const asked = { id, content: stricter, idempotencyKey: "once" };
    const first = await council.propose(asked);
    expect((await council.propose(asked)).id).to.equal(first.id);
    const schema = await council.proposeAny();
    expect(await reportBytes(schema)).to.have.length(0);
    const { records } = await asAnn().canon.listRecords({ filter: { kind: "flip_report" } });
    expect(records).to.have.length(1);
  });

  it("is given to callers of tenant system alone", async () => {
    const proposal = await council.propose({ id, content: stricter });
    expect(await reportBytes(proposal, council.as("root"))).to.not.have.length(0);
    for (const level of ["mentor", "observer"] as const) {
      expect(await reportBytes(proposal, council.as(level)), level).to.have.length(0);
    }
    const asked = { id: reportId(proposal), tenant: "system", space: Space.SPACE_USER };
    const refused = await refusalOf(council.as("observer").canon.getRecord(asked));
    expect(refused.reason).to.equal("TENANT_FORBIDDEN");
  });

  it("cannot be supplied by whoever proposes", async () => {
    const own = { proposal: "proposal/1", scored: 0 };
    for (const level of ["operator", "root"] as const) {
      const kind = await refusalOf(put(council.as(level), "mine", own, { kind: "flip_report" }));
      expect(kind.fieldViolations.map(({ field }) => field)).to.deep.equal(["kind"]);
    }
    const kept = await refusalOf(put(council.as("root"), "flip_report/1", own, { kind: "note" }));
    expect(kept.fieldViolations).to.deep.equal([{ field: "id", description: "is kept for proposals" }]);
    const links = modelWith({ links: [{ label: "flip_report", target: "" }] });
    const field = await refusalOf(council.propose({ id, content: links }));
    expect(field.codeName).to.equal("INVALID_ARGUMENT");
    expect(field.fieldViolations[0]?.field).to.contain("links");
    const asReport = await refusalOf(council.propose({ id: "flip_report/1", content: stricter }));
    expect(asReport.fieldViolations.map(({ field: name }) => name)).to.deep.equal(["id"]);
  });

  /** A second proposal beside a real one, as a holder of the deployment's key could write it. */
  const plant = async (
    real: Proposal,
    links: (report: RecordBody, real: RecordBody) => RecordBody["links"],
    change: (report: FlipReportPayload) => FlipReportPayload = (report) => report,
  ): Promise<Proposal> => {
    const { ledger } = council.served.server;
    const planted = "proposal/0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11";
    const { ts, links: given, ...body } = decodeBody(real.body);
    const decision = given.filter(({ label }) => label === "decision");
    const payload = change({ ...(await reportOf(real)), proposal: planted });
    const report = flipReportBody(payload, decision, ts);
    const proposed = {
      ...body,
      ts,
      links: [...decision, ...links(report, decodeBody(await reportBytes(real)))],
    };
    const options = { lifetimeMs: 60_000, proposer: "mentor", reason: "", commit: "auto" } as const;
    const { epoch } = real;
    const now = { ...options, ts: Date.now(), epoch: Number(epoch), links: decision };
    await ledger.append([report, proposalBody(planted, [proposed], now)]);
    return council.now({ id: planted });
  };
  const linkTo = (report: RecordBody) => [flipReportLink(hashRecord(encodeBody(report)))];

  const forgeries: readonly (readonly [
    what: string,
    ...(Parameters<typeof plant> extends [unknown, ...infer More] ? More : never),
  ])[] = [
    ["the report of another proposal", (_, real) => linkTo(real)],
    ["a report that is not there", (report) => linkTo({ ...report, ts: report.ts + 1 })],
    ["two reports", (report, real) => [...linkTo(report), ...linkTo(real)]],
    [
      "a report of another model",
      (report) => linkTo(report),
      (report) => ({ ...report, model: modelDigest({ other: true }) }),
    ],
    [
      "a report that says it is of another proposal",
      (report) => linkTo(report),
      (report) => ({ ...report, proposal: "proposal/0199f3a1-7c1e-7d59-9d0a-000000000000" }),
    ],
  ];
  for (const [what, links, change] of forgeries) {
    it(`is refused where it would be approved, and found by fsck, when a proposal names ${what}`, async () => {
      const real = await council.propose({ id, content: stricter });
      const planted = await plant(real, links, change);
      for (const call of [() => council.attest(planted, "ann"), () => reportBytes(planted)]) {
        const refused = await refusalOf(call());
        expect(refused.codeName, refused.message).to.equal("DATA_LOSS");
        expect(refused.facts).to.include({
          step: "flip_report",
          position: String(planted.ledgerPosition),
          id: planted.id,
        });
      }
      expect((await council.now(planted)).attestations).to.deep.equal([]);
      // To reject it takes no report.
      for (const witness of ["ann", "ben"]) await council.attest(planted, witness, { verdict: "reject" });
      expect((await council.now(planted)).state).to.equal(REJECTED);
      await council.served[Symbol.asyncDispose]();
      const problems = await inspect();
      expect(problems).to.have.length(1);
      expect(problems[0]).to.include({ position: planted.ledgerPosition, step: "flip_report" });
    });
  }

  it("is asked for again by the call that commits", async () => {
    const real = await council.propose({ id, content: stricter, separateCommit: true });
    await council.approve(real, "ann", "ben");
    const { reader } = council.served.server.ledger;
    const readHash = reader.readHash.bind(reader);
    const named = flipReportOf(decodeBody(real.body)) ?? new Uint8Array(0);
    // The index lost it since.
    reader.readHash = async (hash) => (equalBytes(hash, named) ? undefined : readHash(hash));
    const refused = await refusalOf(council.commit(real));
    expect(refused.facts).to.include({ step: "flip_report" });
    reader.readHash = readHash;
    await council.commit(real);
    expect((await council.now(real)).state).to.equal(COMMITTED);
  });

  it("is not missed where a proposal is from before there were reports", async () => {
    const real = await council.propose({ id, content: stricter });
    const old = await plant(real, () => []);
    expect(await reportBytes(old)).to.have.length(0);
    expect((await council.approve(old, "ann", "ben")).state).to.equal(COMMITTED);
    await council.served[Symbol.asyncDispose]();
    expect(await inspect()).to.deep.equal([]);
  });
});
