/** Who remains to propose when a principal is lowered. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { loweringFault, type ProposerSources } from "../../../src/identity/proposers.ts";
import type { EnrolledPrincipal } from "../../../src/identity/principals.ts";
import { createWorld, openWorld } from "../../contract/memory-ledger.ts";
import { createKey, principalWith } from "./minting.ts";

const rootOf = (id: string, tenant: string): EnrolledPrincipal => ({
  id,
  principal: principalWith(createKey(), { loa: "root", tenant }),
  enrolment: "governed",
  position: 0n,
});

const enrolled = [rootOf("ann", "system"), rootOf("ben", "system"), rootOf("cleo", "doomed")];

describe("the proposers that remain", () => {
  it("are not those of an erased tenant", async () => {
    await using ledger = await openWorld(await createWorld());
    const faultWhen = async (erased: string): Promise<unknown> => {
      let at = 0;
      const sources: ProposerSources = {
        ledger: {
          reader: {
            async *heads() {
              for (const { position } of enrolled) yield { position, version: 1n };
            },
            readAt: () => ledger.reader.readAt(0n),
            isErased: (tenant) => tenant === erased,
          },
        },
        principals: { inRecord: async () => enrolled[at++] },
      };
      return loweringFault(sources, {
        after: (each) =>
          each.id === "ben"
            ? {
                ...each.principal,
                suspension: { recordId: "x", reason: "", by: "ann", position: 0n, timeMs: 0 },
              }
            : each.principal,
        counts: () => true,
      });
    };
    expect(await faultWhen("nobody")).to.equal(null);
    expect(await faultWhen("doomed")).to.equal("lastProposer");
  });
});
