/**
 * Replies that their callers take: pages, streams and batches under a small `message_bytes_max`, and for a caller who
 * takes less.
 */
import { generateKeyPairSync } from "node:crypto";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { SigilError, type CallOptions, type SigilConnection } from "@sigil/client";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";

const configured = 65_536;
const small = 16_384;
/** More principals than a short reply takes. */
const enrolled = 160;

const failureOf = async (work: Promise<unknown>): Promise<SigilError> => {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof SigilError)) throw new Error("expected a SigilError");
  return error;
};

describe("a reply's room", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  const decided: string[] = [];
  const written: string[] = [];

  /** The configured limit, and a channel that takes a quarter of it. */
  const callers = (level: "operator" | "mentor" | "root"): Readonly<Record<string, SigilConnection>> => ({
    configured: served.as(level),
    smaller: served.as(level, { channelOptions: { "grpc.max_receive_message_length": small } }),
  });

  before(async () => {
    const { privateKey } = generateKeyPairSync("ed25519");
    const also = Array.from({ length: enrolled }, (_, at) => ({
      id: `one-of-many-${at}`,
      loa: "observer" as const,
      tenant: "acme",
      keys: [privateKey],
    }));
    deployment = await makeDeployment({ also });
    served = await deployment.serve({ config: { message_bytes_max: configured } });
    const operator = served.as("operator");
    for (let at = 0; at < 60; at += 1) {
      const input = Buffer.alloc(at % 20 === 0 ? 12_000 : 10, at);
      const { auditId } = await operator.trust.check({
        action: "write",
        target: `user/notes/${at}`,
        input,
        keepInput: true,
      });
      decided.push(auditId);
    }
    for (let at = 0; at < 12; at += 1) {
      const id = `note/${String(at).padStart(3, "0")}`;
      const value = { text: "x".repeat(at % 4 === 0 ? 24_000 : 3000) };
      await operator.canon.writeRecord({ id, kind: "note", content: { $case: "payload", value } });
      written.push(id);
    }
    for (let at = 0; at < 10; at += 1) {
      const value = { at, text: "y".repeat(5000) };
      await operator.canon.writeRecord({
        id: "other/long",
        kind: "note",
        content: { $case: "payload", value },
      });
    }
    const mentor = served.as("mentor");
    for (let at = 0; at < 8; at += 1) {
      const payloadJson = JSON.stringify({
        kind: `note-${at}`,
        schema: { type: "object", description: "z".repeat(7000) },
      });
      await mentor.canon.proposeRecord({
        id: `schema/note-${at}`,
        content: { $case: "payloadJson", value: payloadJson },
      });
    }
  });

  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  const walk = async (
    page: (pageToken: string) => Promise<{ readonly ids: readonly string[]; readonly nextPageToken: string }>,
  ): Promise<readonly string[]> => {
    const all: string[] = [];
    let pages = 0;
    for (let token = ""; ;) {
      const { ids, nextPageToken } = await page(token);
      all.push(...ids);
      pages += 1;
      if (nextPageToken === "") break;
      token = nextPageToken;
    }
    expect(pages).to.be.above(1);
    return all;
  };

  for (const name of ["configured", "smaller"]) {
    it(`lets every decision be listed, each once, page by page (${name})`, async () => {
      const caller = callers("operator")[name] as SigilConnection;
      const seen = await walk(async (pageToken) => {
        const { chains, nextPageToken } = await caller.audit.listFrozenChains({ action: "write", pageToken });
        return { ids: chains.map(({ auditId }) => auditId), nextPageToken };
      });
      expect(seen).to.deep.equal(decided.toReversed());
    });

    it(`lets every record and every version be listed and streamed (${name})`, async () => {
      const caller = callers("operator")[name] as SigilConnection;
      const filter = { idPrefix: "note/" };
      const seen = await walk(async (pageToken) => {
        const { records, nextPageToken } = await caller.canon.listRecords({ filter, pageToken });
        return { ids: records.map(({ record }) => record?.id ?? ""), nextPageToken };
      });
      expect(seen).to.deep.equal(written);
      const streamed: string[] = [];
      for await (const { record } of caller.canon.streamRecords({ filter }))
        streamed.push(record?.record?.id ?? "");
      expect(streamed).to.deep.equal(written);
      const versions = await walk(async (pageToken) => {
        const { records, nextPageToken } = await caller.canon.listHistory({ id: "other/long", pageToken });
        return { ids: records.map(({ version }) => String(version)), nextPageToken };
      });
      expect(versions).to.deep.equal(Array.from({ length: 10 }, (_, at) => String(10 - at)));
    });

    it(`lets every proposal be listed (${name})`, async () => {
      const caller = callers("mentor")[name] as SigilConnection;
      const seen = await walk(async (pageToken) => {
        const { proposals, nextPageToken } = await caller.canon.listProposals({ pageToken });
        return { ids: proposals.map(({ recordId }) => recordId), nextPageToken };
      });
      expect([...seen].sort()).to.deep.equal(Array.from({ length: 8 }, (_, at) => `schema/note-${at}`));
    });

    it(`gives a backup in pieces that arrive (${name})`, async () => {
      const caller = callers("root")[name] as SigilConnection;
      let [bytes, told] = [0, 0n];
      for await (const { part } of caller.backup.backup({ fromSize: 0n })) {
        if (part?.$case === "chunk") bytes += part.value.length;
        if (part?.$case === "end") told = part.value.bytes;
      }
      expect(bytes).to.be.above(configured);
      expect(told > 0n).to.equal(true);
    });

    it(`shows as many decisions of a simulation as fit, and counts them all (${name})`, async () => {
      const caller = callers("mentor")[name] as SigilConnection;
      const { model } = await caller.trust.getActiveModel({});
      const subjectMatter = { $case: "lastDecisions", value: 1000 } as const;
      const reply = await caller.trust.simulate({ candidate: model, subjectMatter, includeUnchanged: true });
      expect(reply.scored).to.be.above(80);
      expect(reply.decisions.length).to.be.above(20).and.at.most(reply.scored);
    });
  }

  it("lets every principal be listed", async () => {
    const { principals } = callers("root")["smaller"] as SigilConnection;
    const names = await walk(async (pageToken) => {
      const page = await principals.listPrincipals({ pageToken, pageSize: 1000 });
      return { ids: page.principals.map(({ id }) => id), ...page };
    });
    expect(names).to.have.length(4 + enrolled);
    expect(new Set(names).size).to.equal(names.length);
  });

  const sizeOf = async (): Promise<bigint> => (await served.as("operator").audit.getCheckpoint({})).size;
  const checks = (count: number) =>
    Array.from({ length: count }, () => ({ action: "read", target: "public/a" }));

  it("refuses a batch whose answers might not fit before anything is decided, and says how many would", async () => {
    const operator = served.as("operator");
    const before = await sizeOf();
    const error = await failureOf(operator.trust.batchCheck({ checks: checks(700) }));
    expect(error.codeName).to.equal("INVALID_ARGUMENT");
    const [{ field, description } = { field: "", description: "" }] = error.fieldViolations;
    expect(field).to.equal("checks");
    const fits = Number(/at most (\d+)/.exec(description)?.[1]);
    expect(fits).to.be.above(10);
    expect(await sizeOf()).to.equal(before);
    expect((await operator.trust.batchCheck({ checks: checks(fits) })).results).to.have.length(fits);
    await failureOf(operator.trust.batchCheck({ checks: checks(fits + 1) }));
  });

  it("has room for the longest answers that a batch of that many can get", async () => {
    const operator = served.as("operator");
    const error = await failureOf(operator.trust.batchCheck({ checks: checks(700) }));
    const fits = Number(
      /at most (\d+)/.exec(error.message)?.[1] ??
        /at most (\d+)/.exec(error.fieldViolations[0]?.description ?? "")?.[1],
    );
    const long: CallOptions = { metadata: { "x-request-id": "r".repeat(128) } };
    const wrong = Array.from({ length: fits }, () => ({
      action: "!",
      target: "!".repeat(900),
      subject: "!".repeat(300),
    }));
    expect((await operator.trust.batchCheck({ checks: wrong }, long)).results).to.have.length(fits);
    const named = Array.from({ length: fits }, () => ({
      action: "a".repeat(128),
      target: "t".repeat(512),
      subject: "s".repeat(200),
    }));
    expect((await operator.trust.batchCheck({ checks: named }, long)).results).to.have.length(fits);
  });

  it("refuses writes whose answers would not fit, before they are decided", async () => {
    const operator = callers("operator")["smaller"] as SigilConnection;
    const before = await sizeOf();
    const write = (id: string, length: number) =>
      ({ id, kind: "note", content: { $case: "payload", value: { text: "w".repeat(length) } } }) as const;
    const one = await failureOf(operator.canon.writeRecord(write("new/a", 9000)));
    expect([one.codeName, one.fieldViolations[0]?.field]).to.deep.equal(["INVALID_ARGUMENT", "content"]);
    const writes = Array.from({ length: 8 }, (_, at) => write(`new/${at}`, 1000));
    const many = await failureOf(operator.canon.batchWriteRecords({ writes }));
    expect([many.codeName, many.fieldViolations[0]?.field]).to.deep.equal(["INVALID_ARGUMENT", "writes"]);
    expect(await sizeOf()).to.equal(before);
    expect((await operator.canon.batchWriteRecords({ writes: writes.slice(0, 3) })).results).to.have.length(
      3,
    );
  });

  for (const value of ["0", "-1", "x", "1e6", "16383", "16384 "]) {
    it(`takes "${value}" for no number of bytes`, async () => {
      const metadata = { "sigil-reply-bytes-max": value };
      const error = await failureOf(
        served.as("operator").trust.check({ action: "read", target: "public/a" }, { metadata }),
      );
      expect(error.codeName).to.equal("INVALID_ARGUMENT");
      expect(error.fieldViolations[0]?.field).to.equal("sigil-reply-bytes-max");
    });
  }
});
