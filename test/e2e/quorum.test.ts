/** Fewer than k signatures change nothing, k do, and what they changed can be verified without the server. */
import { createHash, createPublicKey, verify } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { ProposalState, type VersionedRecord } from "@sigil/client";
import { checkAttested, type VerifySignature } from "../../src/core/quorum/verifying.ts";
import type { Registry } from "../../src/core/quorum/registry.ts";
import { parseHash, toHex } from "../../src/core/bytes.ts";
import { cborDecode, cborEncode } from "../../src/core/cbor/cbor.ts";
import { coseKeyThumbprint } from "../../src/core/cose/cose.ts";
import { parseGenesis } from "../../src/core/record/kinds.ts";
import { decodeEnvelope, hashRecord, parseRecordStatement } from "../../src/core/record/record.ts";
import { Council, modelWith } from "./council.ts";
import { origin } from "./deployment.ts";
import { signersOf } from "./offline.ts";
import { refusalOf } from "./refusal.ts";
import { attest } from "./witness.ts";

const signatureBytes = 64;

/** The same statement with one byte of its signature changed; the signature ends it. */
const bent = (statement: Uint8Array, byte: number): Uint8Array => {
  const bytes = Uint8Array.from(statement);
  const at = bytes.length - signatureBytes + byte;
  bytes[at] = (bytes[at] ?? 0) ^ (1 << (byte % 8));
  return bytes;
};

const verifySignature: VerifySignature = async (publicKey, message, signature) => {
  const x = Buffer.from(publicKey).toString("base64url");
  const key = createPublicKey({ format: "jwk", key: { kty: "OKP", crv: "Ed25519", x } });
  return verify(null, message, key, signature);
};

/** The registry that a genesis record sets. */
const registryOf = (genesisPayload: Uint8Array): Registry => {
  const { k, witnesses } = parseGenesis(cborDecode(genesisPayload));
  return {
    k,
    epoch: 1,
    proposerMayAttest: false,
    position: 0n,
    hash: parseHash(new Uint8Array(32)),
    witnesses: new Map(
      witnesses.map((witness) => [
        witness.id,
        { ...witness, thumbprint: coseKeyThumbprint(witness.publicKey), enrolledAt: 0n },
      ]),
    ),
  };
};

/** By the rules, from the envelope and the genesis record alone. */
const judge = (envelope: Uint8Array, genesisPayload: Uint8Array) => {
  const { statement, attestations } = decodeEnvelope(envelope);
  const record = hashRecord(parseRecordStatement(statement).statement.payload);
  return checkAttested(
    { record, attestations, registry: registryOf(genesisPayload), origin },
    verifySignature,
  );
};

describe("e2e_quorum_pass_fail", () => {
  let council: Council;
  beforeEach(async () => {
    council = await Council.open();
  });
  afterEach(() => council[Symbol.asyncDispose]());

  const model = () => council.propose({ id: "trust_model/active", content: modelWith({ bias: 1.25 }) });
  const systemRecord = (id: string) => council.as("observer").canon.getSystemRecord({ id });
  const recordIn = (versioned: VersionedRecord | undefined) => {
    if (versioned?.record === undefined) throw new Error("the answer holds no record");
    return versioned.record;
  };

  it("refuses a commit below k with the count still needed, and commits at the k-th approval", async () => {
    const proposal = await model();
    expect(proposal).to.include({
      state: ProposalState.PROPOSAL_STATE_OPEN,
      approvalsNeeded: 2,
      kind: "trust_model",
    });
    const none = await refusalOf(council.commit(proposal));
    expect(none).to.include({ codeName: "PERMISSION_DENIED", reason: "QUORUM_SHORT" });
    expect(none.facts).to.include({ needed: "2", proposal: proposal.id });

    const first = await council.attest(proposal, "ann");
    expect(first.committed).to.equal(undefined);
    expect(first.attestation).to.include({ witness: "ann", epoch: 1n, counts: true });
    expect(first.proposal).to.deep.include({ approvedBy: ["ann"], approvalsNeeded: 1 });
    const one = await refusalOf(council.commit(proposal));
    expect(one).to.include({ codeName: "PERMISSION_DENIED", reason: "QUORUM_SHORT" });
    expect(one.facts).to.include({ needed: "1" });
    expect(one.message).to.contain("still needs 1 approval");
    expect((await systemRecord("trust_model/active")).record?.version).to.equal(1n);

    const second = await council.attest(proposal, "ben");
    expect(second.proposal).to.include({ state: ProposalState.PROPOSAL_STATE_COMMITTED, approvalsNeeded: 0 });
    expect(second.committed).to.include({ version: 2n, tombstone: false });

    const read = await systemRecord("trust_model/active");
    expect(read).to.deep.include({
      attestedBy: ["ann", "ben"],
      k: 2,
      n: 3,
      epoch: 1n,
      proposalId: proposal.id,
    });
    expect(read.record?.version).to.equal(2n);
    const record = recordIn(read.record);
    expect(record.position).to.equal(second.proposal?.committedPosition);
    expect(toHex(record.hash)).to.equal(toHex(proposal.recordHash));
    expect(record.attestations).to.have.lengthOf(2);
    expect(JSON.parse(record.payloadJson)).to.include({ bias: 1.25 });
  });

  it("commits the exact bytes that were proposed, linked to the decision that allowed proposing", async () => {
    const proposal = await model();
    await council.approve(proposal, "ann", "ben");
    const record = recordIn((await systemRecord("trust_model/active")).record);
    const { statement } = decodeEnvelope(record.envelope);
    expect(toHex(parseRecordStatement(statement).statement.payload)).to.equal(toHex(proposal.body));
    const decision = record.links.find(({ label }) => label === "decision");
    const named = await council.as("mentor").canon.getRecord({
      at: { $case: "hash", value: decision?.target ?? new Uint8Array(0) },
    });
    expect(recordIn(named.record).kind).to.equal("frozen_chain");
    expect(JSON.parse(recordIn(named.record).payloadJson)).to.have.nested.include({
      "request.action": "canon.propose",
      "request.target": "canon/system/trust_model/active",
      "request.caller": "mentor",
      verdict: "allow",
    });
  });

  it("refuses the k-th statement with any one byte of its signature changed", async () => {
    const proposal = await model();
    await council.attest(proposal, "ann");
    const good = attest(proposal, council.key("ben"));
    for (let byte = 0; byte < signatureBytes; byte += 1) {
      const refused = await refusalOf(council.send(proposal, bent(good, byte)));
      expect(refused, `byte ${byte}`).to.include({ codeName: "PERMISSION_DENIED", reason: "BAD_SIGNATURE" });
    }
    expect(await council.now(proposal)).to.include({
      state: ProposalState.PROPOSAL_STATE_OPEN,
      approvalsNeeded: 1,
    });
    expect((await council.send(proposal, good)).proposal?.state).to.equal(
      ProposalState.PROPOSAL_STATE_COMMITTED,
    );
  });

  it("leaves a record that verifies offline from its envelope and the genesis record alone", async () => {
    const proposal = await model();
    await council.approve(proposal, "ann", "cyd");
    const { envelope } = recordIn((await systemRecord("trust_model/active")).record);
    const genesis = recordIn((await systemRecord("genesis")).record);
    // What a verifier was told beforehand: the hash that `sigil init` printed.
    const description = JSON.parse(
      await readFile(join(council.deployment.directory, "deployment.json"), "utf8"),
    );
    const genesisBody = parseRecordStatement(decodeEnvelope(genesis.envelope).statement).statement.payload;
    expect(createHash("sha256").update(genesisBody).digest("hex")).to.equal(description.genesis);
    const payload = cborEncode(parseRecordStatement(decodeEnvelope(genesis.envelope).statement).body.payload);

    expect(await judge(envelope, payload)).to.deep.equal({
      proposal: proposal.id,
      attestedBy: ["ann", "cyd"],
      possession: "notNeeded",
      refused: [],
      reached: true,
    });
    expect(signersOf(envelope, payload)).to.deep.equal({
      record: toHex(proposal.recordHash),
      k: 2,
      signers: ["ann", "cyd"],
      servers: true,
    });

    const { statement, attestations } = decodeEnvelope(envelope);
    for (let byte = 0; byte < signatureBytes; byte += 1) {
      const [first, second] = attestations;
      const damaged = cborEncode([statement, [first ?? null, bent(second ?? new Uint8Array(0), byte)]]);
      const judged = await judge(damaged, payload);
      expect(judged, `byte ${byte}`).to.deep.include({ attestedBy: ["ann"], reached: false });
      expect(judged.refused.map(({ index }) => index)).to.deep.equal([1]);
      expect(signersOf(damaged, payload).signers).to.deep.equal(["ann"]);
    }
    // Nor do the signatures of k witnesses hold for another record.
    const other = decodeEnvelope(genesis.envelope).statement;
    const moved = await judge(cborEncode([other, attestations]), payload);
    expect(moved).to.deep.include({ attestedBy: [], reached: false });
  });

  it("gives the first answer to a repeated commit, whoever repeats it", async () => {
    const proposal = await council.approve(await model(), "ann", "ben");
    const first = await council.commit(proposal);
    const size = council.served.server.ledger.reader.size;
    expect(await council.commit(proposal)).to.deep.equal(first);
    expect(council.served.server.ledger.reader.size).to.equal(size);
    expect(recordIn(first.record).position).to.equal(proposal.committedPosition);
    // A later version of the record changes nothing about it.
    const next = await council.propose({ id: "trust_model/active", content: modelWith({ bias: 1.5 }) });
    await council.approve(next, "ben", "cyd");
    expect((await council.commit(proposal, council.as("root"))).record).to.deep.equal(first.record);
    expect((await systemRecord("trust_model/active")).record?.version).to.equal(3n);
  });

  it("waits with a separate commit for CommitProposal, which takes a mentor", async () => {
    const proposal = await council.propose({
      id: "trust_model/active",
      content: modelWith({ bias: 1.25 }),
      separateCommit: true,
    });
    const approved = await council.approve(proposal, "ann", "ben", "cyd");
    expect(approved).to.include({
      state: ProposalState.PROPOSAL_STATE_OPEN,
      approvalsNeeded: 0,
      separateCommit: true,
    });
    expect((await systemRecord("trust_model/active")).record?.version).to.equal(1n);
    const operator = await refusalOf(council.commit(proposal, council.as("operator")));
    expect(operator).to.include({ codeName: "PERMISSION_DENIED", reason: "LEVEL_TOO_LOW" });
    const { record, proposal: ended } = await council.commit(proposal);
    expect(ended?.state).to.equal(ProposalState.PROPOSAL_STATE_COMMITTED);
    expect(record?.version).to.equal(2n);
    expect((await council.commit(proposal)).record).to.deep.equal(record);
    expect(await systemRecord("trust_model/active")).to.deep.include({ attestedBy: ["ann", "ben", "cyd"] });
  });

  it("answers DATA_LOSS for a system record that does not carry its quorum", async () => {
    const { ledger } = council.served.server;
    const current = await ledger.reader.readId("system", "system", "trust_model/active");
    if (current === undefined) throw new Error("there is a model");
    await ledger.append([{ ...current.body, ts: Date.now(), links: [], prev: current.hash }]);
    const refused = await refusalOf(systemRecord("trust_model/active"));
    expect(refused.codeName).to.equal("DATA_LOSS");
    expect(refused.facts).to.include({ step: "quorum" });
  });
});
