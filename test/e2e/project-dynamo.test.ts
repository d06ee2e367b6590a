/**
 * A projection in DynamoDB, against Moto, which speaks its protocol, behind the limits of DynamoDB that Moto lacks: the
 * suite of every database; `sigil project dynamo` as a person has it; a server that is down, hangs, throttles, loses
 * its data or is not who it should be; and the questions of the guide.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runInNewContext } from "node:vm";
import { DeleteCommand, GetCommand, QueryCommand } from "@aws-sdk/lib-dynamodb";
import { expect } from "chai";
import { it } from "mocha";
import { toHex } from "../../src/core/bytes.ts";
import { sha256 } from "../../src/core/hash.ts";
import { appendLeaves, emptyFrontier } from "../../src/core/merkle/tree.ts";
import { decodeEnvelope, encodeEnvelope } from "../../src/core/record/record.ts";
import { makeCertificate } from "../contract/certificates.ts";
import {
  dynamoAt,
  startDynamoServer,
  type DynamoTestPlace,
  type DynamoTestServer,
} from "../contract/dynamo-place.ts";
import { dynamoMissing, startDynamo } from "../contract/dynamo-server.ts";
import { appendEvents } from "../contract/golden-files.ts";
import { compareDatabase, digestDatabase, fillDatabase } from "../contract/projection.ts";
import { describeProjection, faultOf, type SuiteContext } from "../contract/projection-suite.ts";
import type { Throttle } from "../contract/strict-dynamo.ts";
import { sigil, sigilHere } from "./command.ts";

const repository = join(import.meta.dirname, "../..");

/** A directory with the ledger as a relay's files, and the command's words but for `--to`. */
const withFiles = async (
  { ledger }: SuiteContext,
  work: (words: readonly string[], directory: string) => Promise<void>,
): Promise<void> => {
  const directory = await mkdtemp(join(tmpdir(), "sigil-project-dynamo-"));
  try {
    await appendEvents(directory, ledger, [0, ledger.places.length]);
    const words = ["project", "dynamo", "--from", `file:${directory}`, "--genesis", toHex(ledger.genesis)];
    await work(words, directory);
  } finally {
    await rm(directory, { recursive: true });
  }
};

const commandTests = (context: () => SuiteContext): void => {
  const here = () => ({
    ...context(),
    place: context().place as DynamoTestPlace,
    server: context().server as DynamoTestServer,
  });

  it("is filled, compared and rebuilt by the command, which names what differs and ends with 1", async () => {
    const { place, server, ledger, expected } = here();
    await withFiles(context(), async (words, cwd) => {
      const run = (...more: readonly string[]) =>
        sigilHere([...words, "--to", server.address(place.name), ...more], { cwd });
      const filled = await run("--once", "--json");
      expect(filled.exitCode, filled.problems).to.equal(0);
      const whole = { next: String(ledger.places.length), projected: true, caught_up: true };
      expect(JSON.parse(filled.output)).to.deep.equal(whole);
      const checked = await run("--check", "--json");
      expect(checked.exitCode, checked.problems).to.equal(0);
      expect(JSON.parse(checked.output)).to.include({ ok: true, next: whole.next });
      const rebuilt = await run("--rebuild");
      expect(rebuilt.output).to.match(/^up to date at \d+ records in dynamodb:/);
      expect(await digestDatabase(place.database)).to.deep.equal(expected);
      const [, , change] = place.changes[0] ?? [];
      await change?.();
      const broken = await run("--check");
      expect(broken.exitCode).to.equal(1);
      expect(broken.output).to.match(
        /^DIFFERS {2}decisions at position \d+: column verdict is not what the ledger gives/,
      );
    });
  });

  it("says what is wrong with its arguments, and ends with 2", async () => {
    const endpoint = (text: string): string => `dynamodb://eu-central-1/audit?endpoint=${text}`;
    const wrongs: readonly (readonly [readonly string[], string])[] = [
      [["--to", "dynamodb://key:secret@eu-central-1/audit"], "must hold no credentials"],
      [["--to", "postgres://ann@127.0.0.1/x"], "must be dynamodb://REGION/TABLE"],
      [["--to", "dynamodb://eu-central-1/"], "must name a table"],
      [["--to", "dynamodb://eu-central-1/a%20b"], "must name a table"],
      [["--to", "dynamodb://EU/audit"], "must be dynamodb://REGION/TABLE"],
      [["--to", "dynamodb://eu-central-1/audit?ssl=true"], "knows no parameter ssl"],
      [["--to", "dynamodb://eu-central-1/audit?tls=false"], "tls=false needs an endpoint"],
      [["--to", endpoint("ftp://127.0.0.1")], "endpoint must be http://HOST:PORT or https://HOST:PORT"],
      [["--to", endpoint("https://key:secret@db.example")], "endpoint must hold no credentials"],
      [["--to", endpoint("http://db.example:8000")], "endpoint must be https:"],
      [["--to", `${endpoint("http://127.0.0.1:1")}&tls=maybe`], "tls must be true or false"],
      [["--to", endpoint("http://127.0.0.1:1"), "--check", "--once"], "--check changes nothing"],
    ];
    await withFiles(context(), async (words, cwd) => {
      for (const [more, rule] of wrongs) {
        const ended = await sigilHere([...words, ...more], { cwd });
        expect(ended.problems).to.contain(rule);
        expect(ended.problems).not.to.contain("secret");
        expect(ended.exitCode).to.equal(2);
      }
      const { server } = here();
      const nothing = await sigilHere([...words, "--to", server.address("nothing"), "--check"], { cwd });
      expect(nothing.problems).to.contain("the database failed (no projection)");
      expect(nothing.exitCode).to.equal(2);
    });
  });

  it("says who does not answer or let it in, without a key, and ends with 2", async () => {
    const made = await makeCertificate("localhost", "DNS:localhost");
    await using closed = await startDynamo({ asksForKeys: true });
    await using secure = await startDynamo({ tls: made });
    const { strict } = here().server;
    await withFiles(context(), async (words, cwd) => {
      const ca = join(cwd, "ca.pem");
      await writeFile(ca, made.cert);
      const keys = { AWS_ACCESS_KEY_ID: "AKIAHUSHHUSH", AWS_SECRET_ACCESS_KEY: "hush-hush" };
      const run = (endpoint: string, env: Readonly<Record<string, string>> = keys) =>
        sigil([...words, "--once", "--to", `dynamodb://eu-central-1/audit?endpoint=${endpoint}`], {
          cwd,
          env,
        });
      const tls = `https://localhost:${secure.port}`;
      const trusted = await run(tls, { ...keys, NODE_EXTRA_CA_CERTS: ca });
      expect(trusted.exitCode, trusted.problems).to.equal(0);
      const stranger = await run(closed.url);
      strict.throttle = () => ({ kind: "refused", code: "UnrecognizedClientException" });
      const unknown = await run(`http://127.0.0.1:${strict.port}`);
      strict.throttle = undefined;
      await closed.kill();
      const refusals = [
        // Moto refuses in words of its own, DynamoDB in JSON.
        { ended: stranger, code: /the database failed \(HTTP 403\)/ },
        { ended: unknown, code: /the database failed \(UnrecognizedClientException\)/ },
        { ended: await run(closed.url), code: /the database failed \(ECONNREFUSED\)/ },
        { ended: await run(tls), code: /the database failed \(DEPTH_ZERO_SELF_SIGNED_CERT\)/ },
        { ended: await run(`http://localhost:${secure.port}`), code: /the database failed \(/ },
        {
          ended: await run(closed.url, {
            AWS_ACCESS_KEY_ID: "",
            AWS_SECRET_ACCESS_KEY: "",
            AWS_EC2_METADATA_DISABLED: "true",
            HOME: cwd,
          }),
          code: /the database failed \(CredentialsProviderError\)/,
        },
      ];
      for (const { ended, code } of refusals) {
        expect(ended.problems).to.match(code);
        expect(ended.problems + ended.output).not.to.match(/hush|HUSH/);
        expect(ended.exitCode).to.equal(2);
      }
    });
  });

  it("waits where it is throttled, comes to the same, and gives up in the end", async () => {
    const { ledger, expected, place, server } = here();
    const { strict } = server;
    const throttles: readonly Throttle[] = [
      { kind: "refused", code: "ProvisionedThroughputExceededException" },
      { kind: "refused", code: "ThrottlingException" },
      { kind: "refused", code: "TransactionInProgressException" },
      { kind: "cancelled", code: "ProvisionedThroughputExceeded" },
      { kind: "cancelled", code: "ThrottlingError" },
      { kind: "cancelled", code: "TransactionConflict" },
      { kind: "unprocessed" },
    ];
    try {
      let asked = 0;
      strict.throttle = () => {
        asked += 1;
        return asked % 3 === 0 ? undefined : throttles[asked % throttles.length];
      };
      const address = server.address(place.name);
      await fillDatabase(dynamoAt(address, { random: () => 0.01 }), { ledger });
      strict.throttle = (action) =>
        action === "TransactWriteItems" ? { kind: "cancelled", code: "ThrottlingError" } : undefined;
      const impatient = dynamoAt(address, { throttledMs: 300 });
      expect(await faultOf(fillDatabase(impatient, { ledger }))).to.deep.include({
        kind: "databaseFailed",
        code: "TransactionCanceledException",
      });
    } finally {
      strict.throttle = undefined;
    }
    expect(await digestDatabase(place.database)).to.deep.equal(expected);
  });

  it("stops when its server dies, hangs or has lost its data, and goes on when it is back", async () => {
    const { ledger, expected } = here();
    await using dynamo = await startDynamo();
    const database = dynamoAt(`dynamodb://eu-central-1/audit?endpoint=${dynamo.url}`, { requestMs: 3000 });
    const stopping = async (stop: () => void | Promise<void>) => {
      let stopped: Promise<void> | undefined;
      const fault = await faultOf(
        fillDatabase(database, {
          ledger,
          from: { batchMessages: 20 },
          onApplied: () => {
            stopped ??= Promise.resolve(stop());
          },
        }),
      );
      await stopped;
      return fault;
    };
    expect(await stopping(dynamo.suspend)).to.include({ kind: "databaseFailed" });
    dynamo.wake();
    await fillDatabase(database, { ledger });
    expect(await digestDatabase(database)).to.deep.equal(expected);
    await dynamo.kill();
    await dynamo.start();
    await fillDatabase(database, { ledger, from: { size: 100n } });
    expect(await stopping(dynamo.kill)).to.include({ kind: "databaseFailed", code: "ECONNREFUSED" });
    await dynamo.start();
    await fillDatabase(database, { ledger });
    expect(await digestDatabase(database)).to.deep.equal(expected);
    expect((await compareDatabase(database, ledger)).difference).to.equal(undefined);
  });

  it("writes nothing once another consumer has opened it, however long it hung", async () => {
    const { ledger, place, server, expected } = here();
    const { database, name } = place;
    const half = BigInt(Math.floor(ledger.places.length / 2));
    for (const until of [0n, half]) {
      let isOvertaken = false;
      const slow = fillDatabase(database, {
        ledger,
        from: { batchMessages: 20 },
        wrap: (store) => ({
          resume: () => store.resume(),
          publish: () => store.publish(),
          apply: async (gathered) => {
            if (isOvertaken) return store.apply(gathered);
            isOvertaken = true;
            const Key = { pk: "projection", sk: "writer" };
            await server.documents.send(new DeleteCommand({ TableName: name, Key }));
            // It is opened, and perhaps goes on.
            if (until === 0n)
              await database.withStore({ genesis: ledger.genesis, mode: "resume" }, async () => {});
            else await fillDatabase(database, { ledger, from: { size: until } });
            const before = await place.items();
            try {
              return await store.apply(gathered);
            } finally {
              expect(await place.items()).to.deep.equal(before);
            }
          },
        }),
      });
      expect((await faultOf(slow)).kind).to.equal("consumerRunning");
    }
    await fillDatabase(database, { ledger });
    expect(await digestDatabase(database)).to.deep.equal(expected);
  });

  it("keeps a record of 1 MiB in pieces, and nothing of it once its tenant is erased", async () => {
    const { ledger, place } = here();
    const [, orderPosition = 0n] = [...ledger.erasures][0] ?? [];
    const order = ledger.places[Number(orderPosition)];
    const first = ledger.places.find(({ body }) => body.kind === "config");
    if (order === undefined || first === undefined) return expect.fail("the ledger has no erasure");
    const envelope = encodeEnvelope({
      ...decodeEnvelope(first.envelope),
      statement: new Uint8Array(900_000).fill(7),
    });
    const body = { ...first.body, tenant: "gone-1", payload: "é".repeat(500_000) };
    const places = [
      { position: 0n, leaf: first.leaf, record: { envelope, hash: sha256(envelope), body } },
      { position: 1n, leaf: order.leaf, record: order },
    ];
    const batch = (at: number) => ({
      places: places.slice(at, at + 1),
      from: BigInt(at),
      checkpoint: undefined,
      progress: {
        next: BigInt(at + 1),
        lanes: new Map([["feed", { position: BigInt(at) }]]),
        frontier: appendLeaves(
          emptyFrontier,
          places.slice(0, at + 1).map(({ leaf }) => leaf),
        ).frontier,
      },
    });
    await place.database.withStore({ genesis: ledger.genesis, mode: "resume" }, async (store) => {
      await store.apply(batch(0));
      expect(
        (await place.items()).filter(({ sk }) => /#(envelope|payload)#/.test(String(sk))).length,
      ).to.equal(8);
      await place.database.withStoredRows(async (stored) => {
        const [row] = (await stored.read(0n, 1n)).record_versions;
        expect(row).to.deep.include({ envelope, payload: JSON.stringify(body.payload) });
      });
      expect(await store.apply(batch(1))).to.deep.equal([{ tenant: "gone-1", records: 1n }]);
    });
    expect(await place.holding("gone-1")).to.deep.equal([]);
    expect((await place.items()).filter(({ sk }) => String(sk).startsWith("0".repeat(20)))).to.have.length(1);
  });

  it("answers every question of the guide", async () => {
    const { ledger, place, server } = here();
    await fillDatabase(place.database, { ledger });
    const page = await readFile(join(repository, "docs/guides/queries-dynamo.md"), "utf8");
    const [, common = ""] = /^```js\n(const name = [\s\S]+?)```$/m.exec(page) ?? [];
    const questions = [...page.matchAll(/^### (\d+)\. .*\n\n```js\n([^`]+)```$/gm)];
    expect(questions.map(([, number]) => Number(number))).to.deep.equal(
      Array.from({ length: 20 }, (_, at) => at + 1),
    );
    const given = { documents: server.documents, GetCommand, QueryCommand, Buffer };
    for (const [, number, text = ""] of questions) {
      // The page's own words, of which the last is the answer.
      const asked = text.trim().replace(/^(?!const |\s|\}|\)|await reports)(.*)/m, "$1");
      const at = asked.search(/^(?!const |[\s})\]])\S/m);
      const whole = `(async () => { ${common.replace('"audit"', `"${place.name}"`)}\n${asked.slice(0, at)} return ${asked.slice(at)} })()`;
      const found = (await runInNewContext(whole, given)) as readonly unknown[];
      expect(found.length, `question ${number}`).to.be.greaterThan(0);
    }
  });

  it("wrote nothing that DynamoDB would have refused", () => {
    const { strict } = here().server;
    expect(strict.faults).to.deep.equal([]);
    expect(strict.counts.get("TransactWriteItems")).to.be.greaterThan(100);
    expect(strict.counts.get("BatchWriteItem")).to.equal(undefined);
  });
};

describeProjection("a projection in DynamoDB", {
  start: startDynamoServer,
  missing: dynamoMissing,
  count: 300,
  requests: 3,
  more: commandTests,
});
