/** Listing and following decisions, evidence, and a witness's statement, by the connection itself. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import {
  AttestationRole,
  ProofError,
  ProposalState,
  signAttestation,
  SigilError,
  verify,
  type AttestOptions,
  type Proposal,
  type SigilConnection,
} from "@sigil/client";
import { defaultModelPayload } from "../../src/trust/default-model.ts";
import { cborEncode } from "../../src/core/cbor/cbor.ts";
import { makeDeployment, origin, type Deployment, type ServedDeployment } from "./deployment.ts";

const errorOf = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  );

describe("the connection", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  before(async () => {
    deployment = await makeDeployment();
    served = await deployment.serve();
  });
  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  const decide = async (session: string, count: number): Promise<readonly string[]> => {
    const ids: string[] = [];
    for (let each = 0; each < count; each += 1) {
      const { auditId } = await served
        .as("operator")
        .check({ action: "write", target: `user/notes/${each}`, session });
      ids.push(auditId);
    }
    return ids;
  };

  const take = async (sigil: SigilConnection, session: string, count: number): Promise<readonly string[]> => {
    const ids: string[] = [];
    for await (const { auditId } of sigil.follow({ session, pageSize: 2 }, { idleMs: 5 })) {
      ids.push(auditId);
      if (ids.length === count) break;
    }
    return ids;
  };

  it("lists every decision over its pages, and ends", async () => {
    const ids = await decide("listed", 7);
    const listed: string[] = [];
    for await (const { auditId } of served
      .as("observer")
      .decisions({ session: "listed", pageSize: 2, order: 2 })) {
      listed.push(auditId);
    }
    expect([...listed].sort()).to.deep.equal([...ids].sort());
  });

  it("follows decisions as they are made, each once and in order, and says where to go on", async () => {
    const sigil = served.as("observer");
    const before = await decide("followed", 3);
    const following = take(sigil, "followed", 6);
    const later = await decide("followed", 3);
    expect(await following).to.deep.equal([...before, ...later]);
    const stop = new AbortController();
    let at = 0n;
    const seen: string[] = [];
    const follow = async (): Promise<void> => {
      const onPosition = (position: bigint): void => {
        at = position;
        if (seen.length === 6) stop.abort();
      };
      for await (const { auditId } of sigil.follow(
        { session: "followed" },
        { idleMs: 5, onPosition, signal: stop.signal },
      ))
        seen.push(auditId);
    };
    expect(await errorOf(follow()))
      .to.be.instanceOf(SigilError)
      .and.include({ codeName: "CANCELLED" });
    const [next] = await decide("followed", 1);
    for await (const { auditId } of sigil.follow({ session: "followed", fromPosition: at }, { idleMs: 5 })) {
      expect(auditId).to.equal(next);
      break;
    }
  });

  it("stops following what no repeat would change", async () => {
    const read = async (): Promise<void> => {
      for await (const _ of served.as("guest").follow({}, { idleMs: 5 }));
    };
    expect(await errorOf(read()))
      .to.be.instanceOf(SigilError)
      .and.not.include({ codeName: "UNAVAILABLE" });
  });

  it("fetches evidence that verifies", async () => {
    const [auditId = ""] = await decide("evidence", 1);
    const file = await served.as("observer").evidence({ auditId });
    const text = await readFile(join(deployment.directory, "deployment.json"), "utf8");
    const { genesis } = JSON.parse(text) as { readonly genesis: string };
    const { record } = await verify(file, { genesis });
    expect(record.body.id).to.equal(auditId);
  });

  it("attests what was reviewed, and signs nothing else", async () => {
    const mentor = served.as("mentor");
    const { proposal: proposed } = await mentor.canon.proposeRecord({
      id: "trust_model/active",
      content: { $case: "payloadCbor", value: cborEncode({ ...defaultModelPayload, bias: 0.9 }) },
    });
    const { proposal } = await mentor.canon.getProposal({ id: proposed?.id ?? "" });
    if (proposal === undefined) throw new Error("expected a proposal");
    const privateKey = deployment.witnessKeys["alice"] ?? expect.fail("no key");
    const options: AttestOptions = { verdict: "approve", privateKey, origin };
    const lies: readonly (readonly [string, Partial<Proposal>, Partial<AttestOptions>?])[] = [
      ["another deployment", { origin: "elsewhere" }],
      ["another deployment than the caller's", {}, { origin: "elsewhere" }],
      ["another hash", { recordHash: new Uint8Array(32) }],
      ["another body", { body: cborEncode({ a: 1 }) }],
      ["something besides", { with: [proposal.body] }],
      ["an end", { state: ProposalState.PROPOSAL_STATE_EXPIRED }],
      ["no epoch", { epoch: 2n ** 60n }],
    ];
    for (const [what, lie, other] of lies)
      expect(
        await errorOf(mentor.attest({ ...proposal, ...lie }, { ...options, ...other })),
        what,
      ).to.be.instanceOf(ProofError);
    expect(await signAttestation(proposal, options)).to.be.instanceOf(Uint8Array);
    const { attestation, committed } = await served.as("guest").attest(proposal, options);
    expect(attestation).to.include({ witness: "alice", role: AttestationRole.ATTESTATION_ROLE_APPROVE });
    expect(committed === undefined).to.equal(false);
  });
});
