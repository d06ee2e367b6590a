/** Canon's handlers over made-up services: what reaches the service, and what its answer looks like. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { status as Code } from "@grpc/grpc-js";
import { AttestationRole, GetProposalResponse, ProposalState, SigilError } from "@sigil/client";
import type { Proposal, RecordQuery, WatchQuery } from "../../../src/canon/domain.ts";
import type { Registry } from "../../../src/core/quorum/registry.ts";
import { anonymous, type Caller } from "../../../src/identity/caller.ts";
import { parsePublicKey, parseThumbprint } from "../../../src/core/bytes.ts";
import { fail } from "../../../src/errors.ts";
import type { SimulateQuestion } from "../../../src/trust/decision.ts";
import { fitOne } from "../../../src/rpc/bounds/reply-limit.ts";
import { shorterProposal } from "../../../src/rpc/bounds/shorter.ts";
import { startFakeServer } from "./fake-server.ts";
import { hashOf, recordAt } from "./made-records.ts";

const failureOf = async (work: Promise<unknown>): Promise<SigilError> => {
  try {
    await work;
  } catch (error) {
    return SigilError.from(error);
  }
  throw new Error("expected a SigilError");
};

const open: Proposal = {
  id: "proposal/1",
  position: 40n,
  outcome: "open",
  endingReason: "",
  body: {
    ...recordAt(1n).record.body,
    kind: "principal",
    id: "principal/a",
    payload: { key: new Uint8Array(2) },
  },
  bodyBytes: new Uint8Array([1]),
  recordHash: hashOf(1),
  with: [new Uint8Array([2])],
  origin: "o",
  epoch: 3,
  base: null,
  proposer: "mentor",
  reason: "why",
  timeMs: 1000,
  expiresMs: 2000,
  commit: "separate",
  attestations: [
    {
      witness: "w",
      role: "possession",
      epoch: 3,
      timeMs: 1500,
      statement: new Uint8Array([3]),
      counts: true,
    },
  ],
  approvedBy: ["a"],
  rejectedBy: ["r"],
  approvalsNeeded: 2,
  possessionNeeded: false,
  enrols: { witness: "w", publicKey: new Uint8Array(32) },
  committedPosition: null,
};

describe("canon's handlers", () => {
  it("hand a write and its key to the service, and answer with the decision", async () => {
    const given: unknown[] = [];
    await using server = await startFakeServer({
      records: {
        write: async (_, write, key) => {
          given.push(write, key);
          return { ...recordAt(9n), auditId: "a-1", replayed: true };
        },
      },
    });
    const content = { $case: "payloadJson", value: '{"a":1}' } as const;
    const answer = await server.connection.canon.writeRecord({
      id: "note/9",
      kind: "note",
      content,
      expectedVersion: 8n,
      idempotencyKey: "k",
    });
    expect(given).to.deep.equal([
      {
        id: "note/9",
        kind: "note",
        schemaVersion: 1,
        content: { kind: "payload", payload: { a: 1 } },
        links: [],
        expectedVersion: 8n,
      },
      "k",
    ]);
    expect(answer).to.include({ version: 9n, ledgerPosition: 9n, auditId: "a-1", replayed: true });
    expect(answer.record?.payloadJson).to.equal('{"n":9}');
  });

  it("show a list as its view and mask say", async () => {
    const queries: RecordQuery[] = [];
    await using server = await startFakeServer({
      records: {
        list: async (_, query) => {
          queries.push(query);
          return { records: [recordAt(1n)], nextPageToken: "t", ledgerSize: 5n };
        },
      },
    });
    const page = await server.connection.canon.listRecords({ payloadMask: ["x"], pageSize: 7 });
    expect(queries[0]).to.deep.include({
      presentation: { view: "full", payloadMask: ["x"] },
      pageSize: 7,
    });
    expect(page).to.include({ nextPageToken: "t", ledgerSize: 5n });
    expect(page.records[0]?.record?.payloadJson).to.equal("{}");
    expect(page.records[0]?.record?.envelope).to.have.length(0);
  });

  it("watch from a position, with heartbeats between", async () => {
    const queries: WatchQuery[] = [];
    await using server = await startFakeServer({
      records: {
        async *watch(_, query) {
          queries.push(query);
          yield { kind: "heartbeat", checkpoint: "note", timeMs: 1_000, next: 4n };
          yield { kind: "record", record: recordAt(4n), next: 5n };
        },
      },
    });
    const seen: unknown[] = [];
    for await (const { event, nextPosition } of server.connection.canon.watch({ fromPosition: 4n })) {
      seen.push([event?.$case, nextPosition]);
      if (event?.$case === "heartbeat") {
        expect(event.value).to.deep.equal({ checkpoint: "note", time: new Date(1_000) });
      }
    }
    expect(seen).to.deep.equal([
      ["heartbeat", 4n],
      ["record", 5n],
    ]);
    expect(queries[0]).to.include({ from: 4n, heartbeatMs: 15_000 });
  });

  it("show a proposal with what witnesses sign and what it still needs", async () => {
    await using server = await startFakeServer({
      quorum: { get: async () => ({ proposal: open, current: null, flipReport: Uint8Array.of(7) }) },
    });
    const { proposal, current, flipReport } = await server.connection.canon.getProposal({ id: "proposal/1" });
    expect([current, [...flipReport]]).to.deep.equal([undefined, [7]]);
    expect(proposal).to.deep.include({
      id: "proposal/1",
      state: ProposalState.PROPOSAL_STATE_OPEN,
      epoch: 3n,
      kind: "principal",
      recordId: "principal/a",
      payloadJson: '{"key":"AAA="}',
      expireTime: new Date(2000),
      separateCommit: true,
      approvedBy: ["a"],
      rejectedBy: ["r"],
      approvalsNeeded: 2,
      enrolsWitness: "w",
      ledgerPosition: 40n,
      committedPosition: undefined,
    });
    expect(proposal?.attestations[0]).to.deep.include({
      role: AttestationRole.ATTESTATION_ROLE_POSSESSION,
      epoch: 3n,
      counts: true,
    });
    expect([...(proposal?.recordHash ?? [])]).to.deep.equal([...hashOf(1)]);
  });

  it("name the payload when a proposed model breaks a rule", async () => {
    await using server = await startFakeServer({
      quorum: {
        propose: () => fail({ kind: "malformedModel", field: "bias", rule: "must be a finite number" }),
      },
    });
    const content = { $case: "payloadJson", value: "{}" } as const;
    const error = await failureOf(
      server.connection.canon.proposeRecord({ id: "trust_model/active", content }),
    );
    expect([error.reason, error.fieldViolations[0]?.field]).to.deep.equal([
      "MALFORMED_MODEL",
      "payload.bias",
    ]);
  });

  it("say how many approvals are needed still", async () => {
    await using server = await startFakeServer({
      quorum: { commit: (_, proposal) => fail({ kind: "quorumShort", proposal, needed: 2 }) },
    });
    const error = await failureOf(server.connection.canon.commitProposal({ id: "proposal/1" }));
    expect([error.codeName, error.facts["needed"]]).to.deep.equal(["PERMISSION_DENIED", "2"]);
  });

  it("list the witnesses by id, with their quorum", async () => {
    const witness = (id: string) => ({
      id,
      publicKey: parsePublicKey(new Uint8Array(32)),
      thumbprint: parseThumbprint(new Uint8Array(32)),
      owner: `${id}'s`,
      authority: "",
      description: "",
      enrolledAt: 2n,
    });
    const registry: Registry = {
      k: 2,
      epoch: 4,
      proposerMayAttest: false,
      witnesses: new Map(["c", "a", "b"].map((id) => [id, witness(id)])),
      position: 6n,
      hash: hashOf(2),
    };
    await using server = await startFakeServer({
      quorum: {
        registry: async () => ({ registry, record: recordAt(6n) }),
        witnesses: async () => ({ registry, witnesses: ["a", "b", "c"].map(witness), nextPageToken: "" }),
      },
    });
    const { witnesses, quorum } = await server.connection.witness.listWitnesses({});
    expect(witnesses.map(({ id }) => id)).to.deep.equal(["a", "b", "c"]);
    expect(quorum).to.deep.equal({ k: 2, n: 3, epoch: 4n, proposerMayAttest: false });
    const answer = await server.connection.witness.getQuorum({});
    expect([answer.quorum?.k, answer.record?.version]).to.deep.equal([2, 6n]);
  });
});

describe("a proposal that is too long for its caller", () => {
  const reply = GetProposalResponse.fromPartial({
    proposal: { id: "proposal/1", body: new Uint8Array(100), payloadJson: "x".repeat(1000) },
    flipReport: new Uint8Array(1000),
  });
  const within = (limit: number): GetProposalResponse =>
    fitOne(GetProposalResponse, reply, shorterProposal<GetProposalResponse>(), limit);

  it("loses the view of its payload first, then its flip report, and never the body that is signed", () => {
    expect(within(4096)).to.deep.equal(reply);
    const [report, neither] = [within(1500), within(500)];
    expect([report.flipReport.length, report.proposal?.payloadJson]).to.deep.equal([1000, ""]);
    expect([neither.flipReport.length, neither.proposal?.payloadJson]).to.deep.equal([0, ""]);
    for (const short of [report, neither]) expect(short.proposal?.body).to.have.length(100);
    expect(() => within(50)).to.throw(/the reply/);
  });
});

describe("simulating by a proposal", () => {
  const proposed: Readonly<Record<string, Proposal["body"]>> = {
    "proposal/1": { ...open.body, kind: "trust_model", payload: { bias: 1 } },
  };
  const asked = async (caller: Partial<Caller>, request: object) => {
    const questions: SimulateQuestion[] = [];
    await using server = await startFakeServer({
      rpc: { identify: async () => ({ ...anonymous, ...caller }) },
      trust: {
        simulate: async (_, question) => {
          questions.push(question);
          return { scored: 0, flipped: 0, erased: 0, decisions: [], warnings: [] };
        },
      },
      quorum: {
        get: async (_, id) => ({
          proposal: { ...open, id, body: proposed[id] ?? open.body },
          current: null,
          flipReport: null,
        }),
      },
    });
    const subjectMatter = { $case: "lastDecisions", value: 5 } as const;
    const work = server.connection.trust.simulate({ subjectMatter, ...request });
    const error = await work.then(() => undefined, SigilError.from);
    return { candidate: questions[0]?.candidate, error };
  };

  it("takes an Observer, with a candidate of the caller's own a Mentor", async () => {
    const proposal = await asked({ level: "observer" }, { proposalId: "proposal/1" });
    expect(proposal.candidate).to.deep.equal({ kind: "proposed", payload: { bias: 1 } });
    expect((await asked({ level: "mentor" }, { candidate: {} })).candidate?.kind).to.equal("model");
    const { error } = await asked({ level: "operator" }, { candidate: {} });
    expect([error?.code, error?.facts["needed"]]).to.deep.equal([Code.PERMISSION_DENIED, "mentor"]);
  });

  it("refuses both a candidate and a proposal, or neither", async () => {
    const fieldOf = async (request: object) =>
      (await asked({ level: "root" }, request)).error?.fieldViolations[0]?.field;
    expect(await fieldOf({})).to.equal("candidate");
    expect(await fieldOf({ candidate: {}, proposalId: "proposal/1" })).to.equal("proposal_id");
    expect(await fieldOf({ proposalId: "//" })).to.equal("proposal_id");
  });

  it("refuses a proposal of anything but a trust model, which Trust never sees", async () => {
    const { candidate, error } = await asked({ level: "root" }, { proposalId: "proposal/2" });
    expect(candidate).to.equal(undefined);
    expect(error?.fieldViolations[0]?.field).to.equal("proposal_id");
  });
});
