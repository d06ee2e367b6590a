/** What `sigil attest` refuses to sign, and what it shows of what it signs: the bytes, whatever the server says. */
import { Readable } from "node:stream";
import { generateKeyPairSync } from "node:crypto";
import { GetProposalResponse, ProposalState, SimulateResponse, type Proposal } from "@sigil/client";
import { expect } from "chai";
import { describe, it } from "mocha";
import { reviewProposal, type Review, type Reviewed } from "../../../src/cli/attest/review.ts";
import { signReviewed } from "../../../src/cli/attest/statement.ts";
import { parseAttestationStatement } from "../../../src/core/quorum/statement.ts";
import type { Terminal } from "../../../src/cli/terminal/terminal.ts";
import { formatPublicKey } from "../../../src/crypto/signing/keyfile.ts";
import { rawPublicKey } from "../../../src/crypto/signing/sign.ts";
import { verifyForeign } from "../../../src/core/keys/verify.ts";
import { toHex } from "../../../src/core/bytes.ts";
import { flipReportId, modelDigest } from "../../../src/core/record/flip-report.ts";
import { systemBody } from "../../../src/core/record/system.ts";
import { formatFlipReport, formatQuorum, formatWitness } from "../../../src/core/record/kinds.ts";
import {
  encodeBody,
  encodeEnvelope,
  hashRecord,
  subjectOf,
  type RecordBody,
} from "../../../src/core/record/record.ts";
import {
  coseKeyThumbprint,
  encodeProtected,
  encodeStatement,
  recordContentType,
} from "../../../src/core/cose/cose.ts";
import { defaultModelPayload } from "../../../src/trust/default-model.ts";
import { describeFinding, lintModel } from "../../../src/trust/lint.ts";
import type { CborMap } from "../../../src/core/cbor/cbor.ts";

const keyPair = () => {
  const { privateKey } = generateKeyPairSync("ed25519");
  return { privateKey, publicKey: rawPublicKey(privateKey) };
};
const key = keyPair();
const newKey = keyPair();
const id = "proposal/0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11";
const origin = "attest.test";

const model = (threshold: number): RecordBody => ({
  kind: "trust_model",
  schemaVersion: 1,
  id: "trust_model/active",
  tenant: "system",
  ts: 1,
  space: "system",
  payload: { ...(defaultModelPayload as CborMap), threshold },
  links: [],
  prev: null,
});

/** A record as a server answers with it; nobody verifies its signature here, its hash is what is compared. */
const recordOf = (body: RecordBody) => {
  const kid = coseKeyThumbprint(key.publicKey);
  const header = { contentType: recordContentType, kid, origin, subject: subjectOf(body) } as const;
  const parts = {
    protectedBytes: encodeProtected(header),
    payload: encodeBody(body),
    signature: new Uint8Array(64),
  };
  return { record: { envelope: encodeEnvelope({ statement: encodeStatement(parts), attestations: [] }) } };
};

const before = model(0.5);
const after: RecordBody = { ...model(0.9), prev: hashRecord(encodeBody(before)) };

const answer = (body: RecordBody, changed: Partial<Proposal> = {}): GetProposalResponse =>
  GetProposalResponse.fromPartial({
    proposal: {
      id,
      state: ProposalState.PROPOSAL_STATE_OPEN,
      body: encodeBody(body),
      recordHash: hashRecord(encodeBody(body)),
      origin,
      epoch: 4n,
      kind: "server-says-kind",
      recordId: "server-says-id",
      payloadJson: '{"server":"says"}',
      ...changed,
    },
    current: recordOf(before),
  });

const review = async (given: Partial<Review>): Promise<Reviewed & { readonly shown: string }> => {
  const shown: string[] = [];
  const terminal: Terminal = {
    environment: {},
    input: Readable.from([]),
    print: (text) => void shown.push(text),
    printBytes: () => {},
    note: () => {},
    progress: () => {},
    paint: (_style, text) => text,
  };
  const whole: Review = {
    id,
    response: answer(after),
    origin,
    key,
    witness: "w1",
    isEnrolled: "yes",
    verdict: "approve",
    knownNames: ["w1", "Ann Smith"],
    find: async () => undefined,
    simulate: undefined,
    ...given,
  };
  return { ...(await reviewProposal(whole, terminal)), shown: shown.join("\n") };
};

const witnessOwnedBy = (owner: string): RecordBody => ({
  ...before,
  kind: "witness",
  id: "witness/carol",
  payload: formatWitness({ publicKey: newKey.publicKey, owner, authority: "", description: "" }),
});
const enrollingOf = (witness: RecordBody): GetProposalResponse =>
  answer(
    {
      ...before,
      kind: "quorum",
      id: "quorum",
      payload: formatQuorum({ k: 1, witnesses: ["carol", "w1"], epoch: 5, proposerMayAttest: false }),
      links: [{ label: "witness", target: hashRecord(encodeBody(witness)) }],
    },
    { with: [encodeBody(witness)] },
  );
const witnessBody = witnessOwnedBy("carol");
const enrolling = enrollingOf(witnessBody);

const reportOf = (scored: number): RecordBody =>
  systemBody({
    kind: "flip_report",
    space: "user",
    id: flipReportId(id),
    ts: 1,
    payload: formatFlipReport({
      proposal: id,
      model: modelDigest(after.payload),
      size: 42n,
      scored,
      erased: 1,
      flips: [41n, 40n, 7n].map((position) => ({
        position,
        record: hashRecord(Uint8Array.of(Number(position))),
        from: position === 7n ? "review" : "allow",
        to: "deny",
      })),
    }),
  });
const reported: RecordBody = {
  ...after,
  links: [{ label: "flip_report", target: hashRecord(encodeBody(reportOf(9))) }],
};
/** A model whose body links to the report of nine decisions, and the report that the server gives with it. */
const answerWith = (report: Uint8Array): GetProposalResponse =>
  GetProposalResponse.fromPartial({ ...answer(reported), flipReport: report });

describe("a review before signing", () => {
  const refusals: readonly (readonly [claim: string, given: Partial<Review>, rule: string])[] = [
    [
      "a body that does not hash to the record hash",
      { response: answer(after, { body: encodeBody(model(0.1)) }) },
      "hashes to",
    ],
    ["bytes that are no record", { response: answer(after, { body: Uint8Array.of(1) }) }, "cannot be read"],
    [
      "another proposal than was asked for",
      { response: answer(after, { id: "proposal/other" }) },
      "answered with proposal/other",
    ],
    ["a proposal for another deployment", { origin: "other.test" }, "for attest.test and not for other.test"],
    [
      "one that has ended",
      { response: answer(after, { state: ProposalState.PROPOSAL_STATE_WITHDRAWN }) },
      "it is withdrawn",
    ],
    [
      "a further body that the signed one does not link to",
      { response: answer(after, { with: [encodeBody(witnessBody)] }) },
      "does not link to system/system/witness/carol",
    ],
    [
      "a body of the user space",
      { response: answer({ ...before, kind: "note", space: "user", payload: 1 }) },
      "is not in the system space",
    ],
    [
      "a key that is nobody's",
      { isEnrolled: "no", witness: undefined },
      "does not belong to an enrolled witness",
    ],
    [
      "a rejection by the key that it enrols",
      { response: enrolling, key: newKey, verdict: "reject" },
      "shows its possession",
    ],
    [
      "a flip report other than the one that the body links to",
      { response: answerWith(encodeBody(reportOf(8))) },
      "is not the one that the proposed body links to",
    ],
    ["a flip report that is no record", { response: answerWith(Uint8Array.of(1)) }, "cannot be read"],
    ["an answer without a proposal", { response: GetProposalResponse.fromPartial({}) }, "no proposal"],
  ];
  for (const [claim, given, rule] of refusals) {
    it(`refuses ${claim}`, async () => {
      const outcome = await review(given);
      expect(outcome.kind === "refused" ? outcome.rule : "").to.include(rule);
      expect(outcome.shown).to.equal("");
    });
  }

  it("shows the change from the bytes and nothing of what the server says it is", async () => {
    const outcome = await review({});
    expect(outcome).to.include({ kind: "reviewed", role: "approve", epoch: 4 });
    expect(outcome.shown).to.include("- threshold: 0.5\n+ threshold: 0.9");
    expect(outcome.shown)
      .to.include("system/system/trust_model/active")
      .and.to.include(toHex(hashRecord(encodeBody(after))));
    expect(outcome.shown).to.not.match(/server-says|"server"/);
  });

  it("shows all of the new version when the one given as current is another", async () => {
    const forged = GetProposalResponse.fromPartial({ ...answer(after), current: recordOf(model(0.3)) });
    const outcome = await review({ response: forged });
    expect(outcome.shown)
      .to.include("not at hand")
      .and.to.include("+ threshold: 0.9")
      .and.to.not.include("\n- ");
  });

  it("finds the replaced version by its hash", async () => {
    const response = GetProposalResponse.fromPartial({ ...answer(after), current: undefined });
    const found = GetProposalResponse.fromPartial({ current: recordOf(before) }).current;
    const outcome = await review({ response, find: async () => found });
    expect(outcome.shown).to.include("- threshold: 0.5\n+ threshold: 0.9").and.to.not.include("not at hand");
  });

  it("shows the flip report that is signed with the change, also offline", async () => {
    const outcome = await review({ response: answerWith(encodeBody(reportOf(9))) });
    expect(outcome.kind).to.equal("reviewed");
    expect(outcome.shown)
      .to.include("of the last 9 decisions below position 42, 3 would flip")
      .and.to.include("2 from allow to deny, 1 from review to deny; 1 records of erased tenants");
    for (const position of [41, 40, 7]) {
      const record = toHex(hashRecord(Uint8Array.of(position)));
      expect(outcome.shown).to.match(new RegExp(`${position} +(?:allow|review) +deny +${record}`));
    }
    expect((await review({})).shown).to.not.include("Flip report");
  });

  it("says so where the flip report that is signed is not shown", async () => {
    const outcome = await review({ response: answerWith(new Uint8Array(0)) });
    expect(outcome.kind).to.equal("reviewed");
    expect(outcome.shown).to.include("The flip report that is signed with the change is not shown");
  });

  it("marks a row that is no more than drawn like one that is there", async () => {
    const actions = {
      ...(before.payload as { actions: CborMap }).actions,
      "payrnent.refund": { risk: 0, min_loa: "guest" },
    };
    const payload = { ...(before.payload as CborMap), actions };
    const outcome = await review({ response: answer({ ...after, payload }) });
    expect(outcome.shown).to.include('actions["payrnent.refund" (LOOKS LIKE "payment.refund")].risk: 0');
  });

  it("marks an owner that is drawn like the owner of another witness", async () => {
    const response = enrollingOf(witnessOwnedBy("Ann\u{a0}Smith"));
    const outcome = await review({ response, key: newKey, isEnrolled: "no", witness: undefined });
    expect(outcome.shown).to.include(String.raw`"Ann\u00a0Smith" (LOOKS LIKE "Ann Smith")`);
  });

  it("says so of a model that could not decide", async () => {
    const outcome = await review({ response: answer(model(0.5001)) });
    expect(outcome.shown).to.not.include("no model that could decide");
    expect((await review({ response: answer(after) })).shown).to.include("no model that could decide");
  });

  it("warns once of what the model holds, and of what the server alone says", async () => {
    const body = { ...model(0.5), payload: { ...(before.payload as CborMap), bias: 0.9 } };
    const found = lintModel(body.payload).findings.map(describeFinding);
    const simulate = async () => SimulateResponse.fromPartial({ scored: 3, warnings: [...found, "beware"] });
    const { shown } = await review({ response: answer(body), simulate });
    expect(found).to.not.have.length(0);
    for (const text of [...found, "beware"]) expect(shown.split(`WARNING  ${text}`), text).to.have.length(2);
  });

  it("takes the key that the bytes enrol as possession, and shows it as people know it", async () => {
    const outcome = await review({ response: enrolling, key: newKey, isEnrolled: "no", witness: undefined });
    expect(outcome).to.include({ kind: "reviewed", role: "possession" });
    expect(outcome.shown).to.include(`+ public_key: ${formatPublicKey(newKey.publicKey)}`);
  });

  it("asks which decisions flip for a trust model alone, and says so when that fails", async () => {
    let asked = 0;
    const simulate = async (): Promise<never> => {
      asked += 1;
      throw new Error("out of order");
    };
    expect((await review({ simulate })).shown)
      .to.include("could not be found out")
      .and.to.include("out of order");
    await review({ response: enrolling, simulate });
    expect(asked).to.equal(1);
  });
});

describe("a signature", () => {
  it("is over the hash computed here, the id, the epoch, the verdict and the origin that was meant", async () => {
    const outcome = await review({ verdict: "reject" });
    if (outcome.kind !== "reviewed") throw new Error(outcome.rule);
    const meant = { id, origin, key, verdict: "reject" } as Review;
    const statement = parseAttestationStatement(await signReviewed(outcome, meant));
    expect(statement.attestation).to.deep.equal({
      proposal: id,
      record: hashRecord(encodeBody(after)),
      epoch: 4,
      verdict: "reject",
    });
    expect([statement.origin, statement.subject]).to.deep.equal([origin, id]);
    expect(await verifyForeign(key.publicKey, statement.message, statement.signature)).to.equal(true);
  });
});
