/** What a committed record carries of the statements about its proposal: those that count, and nothing else. */
import { expect } from "chai";
import { describe, it } from "mocha";
import type { KeptProposal } from "../../../src/canon/proposals/kept-proposal.ts";
import { evidenceOf } from "../../../src/canon/proposals/steps.ts";
import { factsOf, keyOf, twoOfThree, witnessOf } from "./quorum-world.ts";

type Statement = { readonly witness: number; readonly role: "approve" | "reject"; readonly epoch: number };

const keptOf = (statements: readonly Statement[]): KeptProposal =>
  ({
    id: "proposal/1",
    position: 1000n,
    recordHash: new Uint8Array(32),
    payload: { base: null, expiresMs: 1, proposer: "mentor", commit: "auto" },
    enrols: null,
    ending: null,
    received: statements.map(({ witness, role, epoch }, index) => ({
      witness: `w${witness}`,
      role,
      statement: Uint8Array.of(index),
      parsed: {
        kid: witnessOf(witness).thumbprint,
        digest: new Uint8Array(32).fill(index),
        attestation: { epoch },
      },
    })),
  }) as unknown as KeptProposal;

describe("the evidence of a commit", () => {
  const { epoch } = twoOfThree;
  const approvals = [1, 2, 3].map((witness): Statement => ({ witness, role: "approve", epoch }));
  const indexesOf = (statements: readonly Statement[], facts = factsOf()) =>
    evidenceOf(keptOf(statements), facts).map(([index]) => index);

  it("is every approval that counts", () => {
    expect(indexesOf(approvals)).to.deep.equal([0, 1, 2]);
  });

  it("is no rejection, and no approval of another epoch or of the proposer's own key", () => {
    const [one, two, three] = approvals as [Statement, Statement, Statement];
    expect(indexesOf([one, { ...two, role: "reject" }, three])).to.deep.equal([0, 2]);
    expect(indexesOf([one, { ...two, epoch: epoch - 1 }, three])).to.deep.equal([0, 2]);
    expect(indexesOf(approvals, factsOf({ proposerKeys: [keyOf(2)] }))).to.deep.equal([0, 2]);
  });
});
