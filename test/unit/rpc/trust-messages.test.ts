/** Each field of a decision's reply is that field of the decision, and no other one. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { formatDecision, formatSimulation } from "../../../src/rpc/trust/messages.ts";
import type { Decision } from "../../../src/trust/decision.ts";
import { decide } from "./fake-server.ts";

const call = { signal: new AbortController().signal, deadlineMs: 1, metadata: {} };
const question = { action: "read", target: "public/docs", session: "s", input: new Uint8Array(0) } as never;

const decided = (chain: Partial<Decision["chain"]>): Decision => {
  const decision = decide(question, call);
  return { ...decision, chain: { ...decision.chain, ...chain } };
};

describe("a decision's reply", () => {
  for (const [verdict, z] of [
    ["allow", 2.5],
    ["deny", -3.25],
    ["review", 0.125],
  ] as const) {
    it(`has the score, z and threshold that were recorded with ${verdict}`, () => {
      const score = 1 / (1 + Math.exp(-z));
      const reply = formatDecision(decided({ verdict, z, score, threshold: 0.375 }), false);
      expect([reply.score, reply.z, reply.threshold, reply.bias]).to.deep.equal([score, z, 0.375, 1]);
      expect(reply.allowed).to.equal(verdict === "allow");
      expect(1 / (1 + Math.exp(-(reply.z ?? 0)))).to.equal(reply.score);
    });
  }

  it("leaves out what could not be computed", () => {
    const reply = formatDecision(decided({ z: null, score: null, threshold: null }), false);
    expect([reply.score, reply.z, reply.threshold]).to.deep.equal([undefined, undefined, undefined]);
  });
});

describe("a simulation's reply", () => {
  it("has each score where it belongs", () => {
    const decision = {
      auditId: "a",
      action: "read",
      target: "t",
      subject: "s",
      current: "allow",
      candidate: "deny",
      currentScore: 0.8125,
      candidateScore: 0.25,
      candidateReason: "SCORE_BELOW_THRESHOLD",
    } as const;
    const reply = formatSimulation({ scored: 3, flipped: 1, erased: 2, warnings: [], decisions: [decision] });
    expect(reply).to.include({ scored: 3, flipped: 1, erased: 2 });
    expect(reply.decisions[0]).to.include({ currentScore: 0.8125, candidateScore: 0.25 });
  });
});
