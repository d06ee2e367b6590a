/** One thing has one spelling at every door: what is decided on, recorded, found again and repeated. */
import { expect } from "chai";
import fc from "fast-check";
import { SigilError, Verdict, type SigilConnection } from "@sigil/client";
import { after, before, describe, it } from "mocha";
import { defaultModelPayload } from "../../src/trust/default-model.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";

const hex = (byte: number, upper: boolean): string => {
  const digits = byte.toString(16).padStart(2, "0");
  return `%${upper ? digits.toUpperCase() : digits}`;
};
const escaped = (character: string, upper: boolean): string =>
  Array.from(new TextEncoder().encode(character), (byte) => hex(byte, upper)).join("");

/** Any way to write a name: some of them the same thing, some nothing that is accepted. */
const respellingOf = (name: string): fc.Arbitrary<string> =>
  fc
    .array(
      fc.constantFrom("", "", "", "", "lower", "upper", "decomposed", "//", "/./", "twice", "unseen", "wide"),
      {
        minLength: name.length,
        maxLength: name.length,
      },
    )
    .map((ways) =>
      Array.from(name, (character, index) => {
        switch (ways[index]) {
          case "lower":
            return character === "/" ? "/" : escaped(character, false);
          case "upper":
            return character === "/" ? "/" : escaped(character, true);
          case "decomposed":
            return character.normalize("NFD");
          case "//":
            return character === "/" ? "//" : character;
          case "/./":
            return character === "/" ? "/./" : character;
          case "twice":
            return character === "/" || character === "."
              ? escaped(escaped(character, true), true)
              : character;
          case "unseen":
            return character === "/" ? "/\u200b" : character;
          case "wide":
            return character === "/" ? "\uff0f" : character;
          case "":
          case undefined:
            return character;
        }
      }).join(""),
    );

const verdictOf = async (connection: SigilConnection, target: string): Promise<string> => {
  try {
    const { verdict, auditId } = await connection.trust.check({ action: "write", target });
    return `${verdict} ${auditId}`;
  } catch (error) {
    if (error instanceof SigilError && error.codeName === "INVALID_ARGUMENT") return "refused";
    throw error;
  }
};

describe("one spelling, end to end", () => {
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

  for (const [name, verdict] of [
    ["user/ann/credentials/k", Verdict.VERDICT_DENY],
    ["user/jörg+tag@example.com/notes 1", Verdict.VERDICT_ALLOW],
  ] as const) {
    it(`gives every respelling of ${name} the same verdict, or refuses it, and records one name`, async () => {
      const operator = served.as("operator");
      let decided = 0;
      await fc.assert(
        fc.asyncProperty(respellingOf(name), async (raw) => {
          const answer = await verdictOf(operator, raw);
          if (answer === "refused") return;
          decided += 1;
          const [given = "", auditId = ""] = answer.split(" ");
          expect(Number(given), raw).to.equal(verdict);
          const { chain } = await operator.audit.getFrozenChain({ auditId });
          expect(chain?.target, raw).to.equal(name);
        }),
        { numRuns: 60 },
      );
      expect(decided).to.be.above(3);
    });
  }

  it("repeats a batch that is spelled otherwise, by its key", async () => {
    const operator = served.as("operator");
    const ask = (target: string, subject: string) =>
      operator.trust.batchCheck({
        idempotencyKey: "respelled",
        checks: [{ action: "read", target, subject }],
      });
    const first = await ask("user/ann/a b", "observer");
    const again = await ask("/user//ann/a%20b/", "spiffe://sigil.test/observer");
    const [one, other] = [first, again].map(({ results }) => results[0]?.outcome);
    if (one?.$case !== "decision" || other?.$case !== "decision") throw new Error("no decision");
    expect(other.value.auditId).to.equal(one.value.auditId);
    expect(other.value.replayed).to.equal(true);
  });

  it("finds the decisions about a name by any spelling of it", async () => {
    const operator = served.as("operator");
    const { auditId } = await operator.trust.check({
      action: "read",
      target: "shelf/één boek",
      subject: "observer",
    });
    for (const targetGlob of ["shelf/**", "//shelf//e\u0301e\u0301n%20*/", "shelf/%C3%A9%C3%A9n boek"]) {
      const { chains } = await operator.audit.listFrozenChains({ targetGlob });
      expect(
        chains.map((chain) => chain.auditId),
        targetGlob,
      ).to.deep.equal([auditId]);
    }
    const { chains } = await operator.audit.listFrozenChains({
      principal: "spiffe://sigil.test/observer",
      targetGlob: "shelf/**",
    });
    expect(chains).to.have.length(1);
  });

  it("takes a SPIFFE id of its own trust domain for the principal, by level and by who asks", async () => {
    const observer = served.as("observer");
    const own = await observer.trust.check({
      action: "read",
      target: "public/a",
      subject: "spiffe://sigil.test/observer",
    });
    expect(own.subject).to.equal("observer");
    const other = await served
      .as("operator")
      .trust.check({ action: "read", target: "public/a", subject: "SPIFFE://SIGIL.TEST//mentor/" });
    expect([other.subject, other.level]).to.deep.equal(["mentor", 4]);
  });

  it("decides on a write by the canonical name of its record, whatever the record's id", async () => {
    const operator = served.as("operator");
    const { auditId } = await operator.canon.writeRecord({
      id: "/secrets/x/",
      kind: "note",
      content: { $case: "payloadJson", value: "{}" },
    });
    const { chain } = await operator.audit.getFrozenChain({ auditId });
    expect(chain?.target).to.equal("canon/user/secrets/x");
  });

  it("proposes a model by the canonical spelling of its globs", async () => {
    const mentor = served.as("mentor");
    const targets = { ...defaultModelPayload.targets, "/re\u0301sume\u0301s//**": 0.9 };
    const { proposal } = await mentor.canon.proposeRecord({
      id: "trust_model/active",
      content: { $case: "payloadJson", value: JSON.stringify({ ...defaultModelPayload, targets }) },
    });
    expect(proposal?.payloadJson).to.include('"résumés/**"').and.not.include('"/re');
  });
});

describe("a deployment whose model has globs from before", () => {
  it("decides by what they meant, and every decision verifies", async () => {
    const targets = { "**": 0, "/admin//**": 0.9 };
    await using deployment = await makeDeployment({ model: { ...defaultModelPayload, targets } });
    await using served = await deployment.serve();
    const operator = served.as("operator");
    for (const target of ["admin/keys", "/admin/keys", "/admin//keys"]) {
      const { verdict, auditId } = await operator.trust.check({ action: "write", target });
      expect(verdict, target).to.equal(Verdict.VERDICT_DENY);
      const { verified } = await operator.audit.verifyFrozenChain({ auditId });
      expect(verified, target).to.equal(true);
    }
  });
});
