/**
 * Streams of the connection through a proxy that cuts its connections: an export, a watch and a following that each
 * have everything once and in order. And what works over TCP works on a Unix socket.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { connect, SigilError, type SigilConnection } from "@sigil/client";
import { repository } from "../../scripts/run.ts";
import { unhurriedModel } from "./canon-writes.ts";
import { startProxy } from "../contract/cutting-proxy.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";

const count = 60;
const ids = Array.from({ length: count }, (_, at) => `cut/${String(at).padStart(3, "0")}`);
/** Enough for a few records; more with each connection, so that a call of any length ends at some time. */
const bytesOf = (connection: number): number => 6_000 + 2_000 * connection;

/** Runs what the README shows of modules. @returns what it prints, but for the id of its decision. */
const runSnippet = async (sigil: SigilConnection): Promise<readonly unknown[]> => {
  const readme = await readFile(join(repository, "clients/typescript/README.md"), "utf8");
  const [, snippet] = /```ts\n([^`]*sigil\.run\([^`]*)```/.exec(readme) ?? [];
  if (snippet === undefined) throw new Error("the README shows no run");
  const directory = await mkdtemp(join(tmpdir(), "sigil-run-"));
  try {
    const file = join(directory, "snippet.mjs");
    await writeFile(file, `export default async (sigil, console) => {\n${snippet}};\n`);
    const { default: show } = (await import(pathToFileURL(file).href)) as {
      readonly default: (sigil: SigilConnection, console: { log: typeof print }) => Promise<void>;
    };
    const printed: unknown[] = [];
    const print = (...words: readonly unknown[]): void => void printed.push(...words);
    await show(sigil, { log: print });
    const auditId = printed.pop();
    if (auditId === "" || auditId === undefined) throw new Error("the run names no decision");
    return printed;
  } finally {
    await rm(directory, { recursive: true });
  }
};

const portOf = ({ server }: ServedDeployment): number => Number(server.target.split(":").at(-1));

describe("streams over connections that are cut", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  before(async () => {
    deployment = await makeDeployment({ model: unhurriedModel });
    served = await deployment.serve();
    const content = { $case: "payloadJson", value: JSON.stringify({ text: "x".repeat(300) }) } as const;
    for (const id of ids)
      await served.as("operator").canon.writeRecord({ id, kind: "note", content, expectedVersion: 0n });
  });
  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  const cutting = async (work: (sigil: SigilConnection) => AsyncGenerator<string>): Promise<void> => {
    await using proxy = await startProxy(portOf(served), { bytesOf });
    using sigil = connect({
      target: `127.0.0.1:${proxy.port}`,
      tls: "insecure",
      signer: deployment.signer("operator"),
    });
    const seen: string[] = [];
    for await (const id of work(sigil)) {
      seen.push(id);
      if (seen.length === count) break;
    }
    expect(seen).to.deep.equal(ids);
    expect(proxy.spent()).to.be.at.least(3);
  };

  it("have every record once and in order, by sigil.records, which ends by itself", async () => {
    let ended = false;
    await cutting(async function* (sigil) {
      const filter = { idPrefix: "cut/" };
      const all: string[] = [];
      for await (const { record } of sigil.records({ filter })) all.push(record?.record?.id ?? "");
      ended = true;
      yield* all;
    });
    expect(ended).to.equal(true);
  });

  it("by sigil.watch", () =>
    cutting(async function* (sigil) {
      for await (const { event } of sigil.watch({ filter: { idPrefix: "cut/" }, fromPosition: 0n }))
        if (event?.$case === "record") yield event.value.record?.id ?? "";
    }));

  it("and every decision once and in order, by sigil.follow", async () => {
    await using proxy = await startProxy(portOf(served), { bytesOf });
    const signer = deployment.signer("observer");
    using sigil = connect({ target: `127.0.0.1:${proxy.port}`, tls: "insecure", signer });
    const wanted: string[] = [];
    for (let each = 0; each < 20; each += 1) {
      const question = { action: "write", target: `user/notes/${each}`, session: "cut" };
      wanted.push((await served.as("operator").check(question)).auditId);
    }
    const seen: string[] = [];
    for await (const { auditId } of sigil.follow({ session: "cut", pageSize: 2 }, { idleMs: 5 })) {
      seen.push(auditId);
      if (seen.length === wanted.length) break;
    }
    expect(seen).to.deep.equal(wanted);
    expect(proxy.spent()).to.be.at.least(1);
  });
});

describe("a Unix socket", () => {
  it("takes tokens without TLS: checks, proofs, batches, streams, exports, runs and a watch", async () => {
    const directory = await mkdtemp(join(tmpdir(), "sigil-unix-"));
    try {
      await using deployment = await makeDeployment();
      const path = join(directory, "sigil.sock");
      await using served = await deployment.serve({ config: { listen: { path } } });
      expect(served.server.target).to.equal(`unix:${path}`);
      const genesis = (await served.server.ledger.reader.readAt(0n)).hash;
      const open = (principal: "operator", verifyDecisions?: { readonly genesis: Uint8Array }) =>
        connect({
          target: `unix:${path}`,
          tls: "insecure",
          signer: deployment.signer(principal),
          verifyDecisions,
        });
      using sigil = open("operator", { genesis });
      const question = { action: "write", target: "user/notes" };
      expect((await sigil.require(question)).subject).to.equal("operator");
      const { results } = await sigil.trust.batchCheck({ checks: [question, question] });
      expect(results.map(({ outcome }) => outcome?.$case)).to.deep.equal(["decision", "decision"]);
      for await (const { outcome } of sigil.trust.streamChecks([{ correlationId: "1", check: question }]))
        expect(outcome?.$case).to.equal("decision");
      const content = { $case: "payloadJson", value: "{}" } as const;
      await sigil.canon.writeRecord({ id: "note/a", kind: "note", content });
      const found: (string | undefined)[] = [];
      for await (const { record } of sigil.records({ filter: { idPrefix: "note/" } }))
        found.push(record?.record?.id);
      expect(found).to.deep.equal(["note/a"]);
      for await (const { event } of sigil.watch({ kinds: ["note"], fromPosition: 0n })) {
        if (event?.$case !== "record") continue;
        expect(event.value.record?.id).to.equal("note/a");
        break;
      }
      expect(await runSnippet(sigil)).to.deep.equal([0, { greeting: "hello, Ada" }]);
      const denied = await sigil.run({ name: "no-such-module" }).catch((thrown: unknown) => thrown);
      expect(denied).to.be.instanceOf(SigilError).and.include({ codeName: "NOT_FOUND" });
      expect(await sigil.health()).to.equal("SERVING");
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
