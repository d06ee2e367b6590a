/** Many writers on one record at once: every version has one winner, and the history has no gap. */
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { SigilError, type SigilConnection } from "@sigil/client";
import { idOf, payloadOf, put, recordIn, unhurriedModel, writeOf } from "./canon-writes.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";

const writers = 200;

describe("concurrent writers", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  let operator: SigilConnection;

  before(async () => {
    deployment = await makeDeployment({ model: unhurriedModel });
    served = await deployment.serve();
    operator = served.as("operator", { deadlineMs: 30_000 });
  });
  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  const all = <Value>(attempt: (writer: number) => Promise<Value>): Promise<readonly Value[]> =>
    Promise.all(Array.from({ length: writers }, (_, writer) => attempt(writer)));

  /** The versions of a record, oldest first, after checking that each follows the one before. */
  const chain = async (id: string) => {
    const { records, nextPageToken } = await operator.canon.listHistory({
      id,
      oldestFirst: true,
      pageSize: 1000,
    });
    expect(nextPageToken).to.equal("");
    expect(records.map(({ version }) => version)).to.deep.equal(records.map((_, index) => BigInt(index + 1)));
    for (const [index, { record }] of records.entries()) {
      const { hash } = records[index - 1]?.record ?? { hash: new Uint8Array(0) };
      expect(Buffer.from(record?.prev ?? [])).to.deep.equal(Buffer.from(hash));
    }
    return records;
  };

  it("gives each version to exactly one of 200, and tells the others which version there is now", async () => {
    const id = "race/expected";
    const wins = new Map<bigint, string>();
    const told = new Set<bigint>();
    await all(async (writer) => {
      let expectedVersion = 0n;
      for (let attempt = 0; attempt < 5; attempt += 1) {
        const mark = `${writer}/${attempt}`;
        try {
          const { version } = await put(operator, id, { mark }, { expectedVersion });
          expect(version, "a writer wins the version after the one it expected").to.equal(
            expectedVersion + 1n,
          );
          expect(wins.has(version), `version ${version} has two winners`).to.equal(false);
          wins.set(version, mark);
          expectedVersion = version;
        } catch (error) {
          const refused = SigilError.from(error);
          expect(refused.codeName, refused.message).to.equal("ABORTED");
          const current = BigInt(refused.facts["version"] ?? "-1");
          expect(current > expectedVersion, "the version a loser is told is a newer one").to.equal(true);
          told.add(current);
          expectedVersion = current;
        }
      }
    });
    const records = await chain(id);
    expect(records.map(payloadOf)).to.deep.equal(records.map(({ version }) => ({ mark: wins.get(version) })));
    expect(wins.size).to.equal(records.length);
    expect([...told].every((version) => wins.has(version))).to.equal(true);
    expect(records.length).to.be.greaterThan(4);
  });

  it("lets one of 200 create a record, and one of 200 batches that share an id", async () => {
    const created = await all((writer) =>
      put(operator, "race/create", { writer }, { expectedVersion: 0n }).then(
        () => "won",
        (error: unknown) => SigilError.from(error).facts["version"],
      ),
    );
    expect(created.filter((outcome) => outcome === "won")).to.have.length(1);
    expect(created.filter((outcome) => outcome === "1")).to.have.length(writers - 1);
    const batches = await all(async (writer) => {
      const writes = [
        writeOf(`race/own/${writer}`, {}),
        writeOf("race/batch", { writer }, { expectedVersion: 0n }),
      ];
      return operator.canon.batchWriteRecords({ writes }).then(
        ({ results }) => results.map(idOf),
        (error: unknown) => SigilError.from(error).codeName,
      );
    });
    const [won] = batches.filter((outcome) => outcome !== "ABORTED");
    expect(batches.filter((outcome) => outcome === "ABORTED")).to.have.length(writers - 1);
    const { records } = await operator.canon.listRecords({
      filter: { idPrefix: "race/own/" },
      pageSize: 1000,
    });
    expect([...records.map(idOf), "race/batch"], "the losers left nothing").to.deep.equal(won);
  });

  it("lets all of 200 succeed when none expects a version, each with a version of its own", async () => {
    const answers = await all((writer) => put(operator, "race/any", { writer }));
    const versions = answers.map(({ version }) => version).toSorted((a, b) => Number(a - b));
    expect(versions).to.deep.equal(Array.from({ length: writers }, (_, index) => BigInt(index + 1)));
    const records = await chain("race/any");
    for (const answer of answers) {
      expect(records[Number(answer.version) - 1]?.record).to.deep.equal(recordIn(answer));
    }
  });
});
