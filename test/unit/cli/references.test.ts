/** Records by reference: nothing that was not fetched, or is another record, passes. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { resolveReferences, type Resolve } from "../../../src/cli/project/references.ts";
import { verifyOwn } from "../../../src/core/keys/verify.ts";
import { noProgress, resumeConsumer, takeBatch, type Place } from "../../../src/projections/consumer.ts";
import type { LaneMessage, LaneSource } from "../../../src/projections/message.ts";
import { generateLedger } from "../../contract/golden-ledger.ts";
import { messagesOf } from "../../contract/golden-source.ts";

describe("records that were published by reference", () => {
  const taken = async (changes: {
    readonly resolve?: Resolve;
    readonly isResolved?: boolean;
  }): Promise<readonly Place[]> => {
    const ledger = await generateLedger({ seed: 45, count: 100 });
    const whole = messagesOf(ledger, { size: 20n });
    const messages = whole.map((message): LaneMessage => {
      const { envelope: _, ...others } = message;
      return message.position === 7n ? { ...others, isReference: true } : message;
    });
    const source: LaneSource = {
      after: async function* () {
        yield { messages };
      },
    };
    const resolve: Resolve = changes.resolve ?? (async (position) => whole[Number(position)]?.envelope);
    const read = changes.isResolved === false ? source : resolveReferences(source, resolve);
    const options = { genesis: ledger.genesis, verify: verifyOwn, lanes: "one" } as const;
    const places: Place[] = [];
    for await (const batch of read.after(new Map(), new AbortController())) {
      places.push(...(await takeBatch(resumeConsumer(noProgress, undefined), batch, options)).places);
    }
    return places;
  };

  const refusal = (changes: Parameters<typeof taken>[0]): Promise<unknown> =>
    taken(changes).then(
      () => "taken",
      (error: Error) => error.message,
    );

  it("are taken once they are fetched, or known to be erased", async () => {
    expect((await taken({})).map(({ record }) => record !== undefined)).to.not.include(false);
    const erased = await taken({ resolve: async () => undefined });
    expect(erased.filter(({ record }) => record === undefined).map(({ position }) => position)).to.deep.equal(
      [7n],
    );
  });

  it("are refused where another record comes, or nobody fetched them", async () => {
    const other: Resolve = async () => new Uint8Array(40);
    expect(await refusal({ resolve: other })).to.contain("position 7 fails inclusion");
    expect(await refusal({ isResolved: false })).to.contain(
      "position 7 fails inclusion: its envelope was not",
    );
  });
});
