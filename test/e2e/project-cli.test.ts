/**
 * `sigil project postgres` as a person has it: from the files of a relay into a real PostgreSQL, killed, followed,
 * rebuilt, compared; what it says and how it ends; passwords and certificates; and the queries that the guide prints.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { toHex } from "../../src/core/bytes.ts";
import { makeCertificate } from "../contract/certificates.ts";
import { appendEvents, rotateEvents } from "../contract/golden-files.ts";
import { generateLedger, type GoldenLedger } from "../contract/golden-ledger.ts";
import { skipWithoutPostgres, startPostgres, type Postgres } from "../contract/postgres.ts";
import { digestOf, fill, query } from "../contract/projection.ts";
import { sigil, sigilHere } from "./command.ts";

const mainPath = join(import.meta.dirname, "../../src/main.ts");
const repository = join(import.meta.dirname, "../..");

describe("sigil project postgres", () => {
  let postgres: Postgres;
  let ledger: GoldenLedger;
  let cwd: string;
  let count: number;
  let words: (database: string, ...more: readonly string[]) => readonly string[];

  before(async function () {
    skipWithoutPostgres(this);
    postgres = await startPostgres();
    ledger = await generateLedger({ seed: 21, count: 600 });
    count = ledger.places.length;
    cwd = await mkdtemp(join(tmpdir(), "sigil-project-"));
    await appendEvents(cwd, ledger, [0, 250]);
    await rotateEvents(cwd, [0, 250]);
    await appendEvents(cwd, ledger, [250, count]);
    words = (database, ...more) => [
      "project",
      "postgres",
      "--from",
      `file:${cwd}`,
      "--genesis",
      toHex(ledger.genesis),
      "--to",
      postgres.address(database),
      ...more,
    ];
    for (const name of ["filled", "followed", "broken"]) {
      await query(postgres.address(), `CREATE DATABASE ${name}`);
    }
    await query(postgres.address(), "CREATE ROLE analyst LOGIN");
    const made = await sigilHere(words("filled", "--once", "--reader", "analyst"), { cwd });
    expect(made.exitCode, made.problems).to.equal(0);
  });

  after(async () => {
    await postgres?.[Symbol.asyncDispose]();
    if (cwd !== undefined) await rm(cwd, { recursive: true });
  });

  it("fills a database and finds it equal to the ledger", async () => {
    const again = await sigilHere(words("filled", "--once", "--json"), { cwd });
    expect(JSON.parse(again.output)).to.deep.equal({
      next: String(count),
      projected: false,
      caught_up: true,
    });
    const checked = await sigilHere(words("filled", "--check", "--json"), { cwd });
    expect(checked.exitCode, checked.problems).to.equal(0);
    const report = JSON.parse(checked.output) as Record<string, unknown>;
    expect(report).to.include({ ok: true, next: String(count) });
    expect(report["stored"]).to.deep.equal(report["ledger"]);
  });

  it("rebuilds it beside what is there", async () => {
    const before = await digestOf(postgres.address("filled"));
    const rebuilt = await sigilHere(words("filled", "--rebuild"), { cwd });
    expect(rebuilt.exitCode, rebuilt.problems).to.equal(0);
    expect(rebuilt.output).to.match(/^up to date at \d+ records in postgres:/);
    expect(await digestOf(postgres.address("filled"))).to.deep.equal(before);
  });

  it("names what differs, and ends with 1", async () => {
    await fill({ address: postgres.address("broken"), ledger });
    await query(
      postgres.address("broken"),
      "UPDATE sigil_v1.decisions SET reason = 'OTHER' WHERE verdict = 'review'",
    );
    const checked = await sigilHere(words("broken", "--check"), { cwd });
    expect(checked.exitCode).to.equal(1);
    const first = ledger.places.findIndex(
      ({ body }) =>
        body.kind === "frozen_chain" &&
        (body.payload as { readonly verdict: string }).verdict === "review" &&
        !body.tenant.startsWith("gone"),
    );
    expect(checked.output).to.match(
      new RegExp(`^DIFFERS {2}decisions at position ${first}: column reason is not what the ledger gives`),
    );
  });

  it("names where a source ends that has less than the projection", async () => {
    const directory = await mkdtemp(join(tmpdir(), "sigil-shorter-"));
    await appendEvents(directory, ledger, [0, 300]);
    const shorter = words("filled", "--check").map((word) =>
      word === `file:${cwd}` ? `file:${directory}` : word,
    );
    const checked = await sigilHere(shorter, { cwd });
    expect(checked.output).to.match(/^DIFFERS {2}record_versions at position 300: the source ends here/);
    expect(checked.exitCode).to.equal(1);
    await rm(directory, { recursive: true });
  });

  it("goes on where it was killed, and follows files over their rotation", async function () {
    const directory = await mkdtemp(join(tmpdir(), "sigil-follow-"));
    await appendEvents(directory, ledger, [0, 100]);
    const follow = () =>
      spawn(
        process.execPath,
        [mainPath, ...words("followed").map((word) => (word === `file:${cwd}` ? `file:${directory}` : word))],
        { stdio: "ignore" },
      );
    const reached = async (next: bigint): Promise<void> => {
      for (let turn = 0; turn < 600; turn += 1) {
        const rows = await query(postgres.address("followed"), "SELECT next FROM sigil_v1.cursor").catch(
          () => [],
        );
        if (((rows[0]?.["next"] as bigint | undefined) ?? 0n) >= next) return;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      expect.fail(`it did not reach ${next}`);
    };
    const killed = follow();
    await reached(100n);
    killed.kill("SIGKILL");
    await once(killed, "close");
    await appendEvents(directory, ledger, [100, 300]);
    const following = follow();
    await reached(300n);
    await rotateEvents(directory, [0, 300]);
    await appendEvents(directory, ledger, [300, count]);
    await reached(BigInt(count));
    following.kill("SIGTERM");
    await once(following, "close");
    expect(following.exitCode).to.equal(0);
    expect(await digestOf(postgres.address("followed"))).to.deep.equal(
      await digestOf(postgres.address("filled")),
    );
    await rm(directory, { recursive: true });
  });

  it("stops at a file that lost a line, and leaves a torn one for later", async () => {
    const directory = await mkdtemp(join(tmpdir(), "sigil-torn-"));
    await appendEvents(directory, ledger, [0, 40]);
    const path = join(directory, "events.jsonl");
    const lines = (await readFile(path, "utf8")).split("\n");
    await query(postgres.address(), "CREATE DATABASE torn");
    const from = (...more: readonly string[]) =>
      words("torn", ...more).map((word) => (word === `file:${cwd}` ? `file:${directory}` : word));
    await writeFile(path, lines.slice(0, 20).join("\n"));
    const torn = await sigilHere(from("--once", "--json"), { cwd });
    // The checkpoint came with the last event of the batch, which is torn off.
    expect(torn.problems).to.contain("has 19 records and no checkpoint that holds them");
    const cursor = await query(postgres.address("torn"), "SELECT next, is_ready FROM sigil_v1.cursor");
    expect(cursor).to.deep.equal([{ next: 19n, is_ready: false }]);
    await writeFile(path, [...lines.slice(0, 25), ...lines.slice(26)].join("\n"));
    const lost = await sigilHere(from("--once"), { cwd });
    expect(lost.exitCode).to.equal(1);
    expect(lost.problems).to.contain("position 26 follows position 25, and position 24 was taken last");
    await writeFile(path, "{}\n");
    const strange = await sigilHere(from("--once"), { cwd });
    expect(strange.exitCode).to.equal(2);
    expect(strange.problems).to.contain("line 1: is no event of a relay");
    await rm(directory, { recursive: true });
  });

  it("says what is wrong with its arguments, and ends with 2", async () => {
    const wrongs: readonly (readonly [readonly string[], string])[] = [
      [["--to", "postgres://ann:secret@127.0.0.1/x"], "must hold no password"],
      [["--to", "mysql://ann@127.0.0.1/x"], "must be postgres://USER@HOST:PORT/DATABASE"],
      [["--to", "postgres://ann@127.0.0.1/100%"], "must percent-encode its database as UTF-8"],
      [["--to", "postgres://%ff@127.0.0.1/x"], "must percent-encode its user as UTF-8"],
      [["--to", "postgres://ann@127.0.0.1/x?sslmode=require"], "sslmode must be verify-full or disable"],
      [["--to", "postgres://ann@127.0.0.1:1/x"], "the database failed (ECONNREFUSED)"],
      [["--to", "postgres://ann@127.0.0.1/x", "--schema", "Sigil"], "--schema must be"],
      [["--to", "postgres://ann@127.0.0.1/x", "--check", "--once"], "--check changes nothing"],
    ];
    for (const [more, rule] of wrongs) {
      const genesis = ["--genesis", toHex(ledger.genesis)];
      const ended = await sigilHere(["project", "postgres", "--from", `file:${cwd}`, ...genesis, ...more], {
        cwd,
      });
      expect(ended.problems).to.contain(rule);
      expect(ended.problems).not.to.contain("secret");
      expect(ended.exitCode).to.equal(2);
    }
    const other = await sigilHere(
      words("filled", "--once").map((word) => (word === toHex(ledger.genesis) ? "00".repeat(32) : word)),
      { cwd },
    );
    expect(other.problems).to.contain("a ledger of another genesis record");
    expect(other.exitCode).to.equal(1);
  });

  it("proves who it is by a password of a file, over TLS with a certificate that it verifies", async function () {
    const made = await makeCertificate("localhost", "DNS:localhost");
    await using guarded = await startPostgres({
      files: { "server.crt": made.cert, "server.key": made.key },
      settings: ["ssl = on"],
      hba: [
        "local all all trust",
        "hostssl all keeper 127.0.0.1/32 scram-sha-256",
        "hostnossl all keeper 127.0.0.1/32 reject",
        "host all all 127.0.0.1/32 trust",
      ],
    });
    await query(guarded.address(), "CREATE ROLE keeper LOGIN PASSWORD 'hush-hush' CREATEROLE");
    await query(guarded.address(), "CREATE DATABASE kept OWNER keeper");
    const [password, wrong, ca] = ["password", "wrong", "ca.pem"].map((name) => join(cwd, name));
    await writeFile(password ?? "", "hush-hush\n", { mode: 0o600 });
    await writeFile(wrong ?? "", "guess\n", { mode: 0o600 });
    await writeFile(ca ?? "", made.cert);
    const to = (query: string) => [
      "project",
      "postgres",
      "--from",
      `file:${cwd}`,
      "--genesis",
      toHex(ledger.genesis),
      "--once",
      "--to",
      `postgres://keeper@localhost:${guarded.port}/kept?${query}`,
    ];
    const trusted = `sslmode=verify-full&sslrootcert=${encodeURIComponent(ca ?? "")}`;
    const whole = await sigilHere([...to(trusted), "--password-file", password ?? ""], { cwd });
    expect(whole.exitCode, whole.problems).to.equal(0);
    const inEnvironment = await sigil(to(trusted), { cwd, env: { PGPASSWORD: "hush-hush" } });
    expect(inEnvironment.exitCode, inEnvironment.problems).to.equal(0);
    const refusals: readonly (readonly [readonly string[], RegExp])[] = [
      [[...to(trusted), "--password-file", wrong ?? ""], /28P01/],
      [[...to("sslmode=verify-full"), "--password-file", password ?? ""], /SELF_SIGNED_CERT/],
      [[...to("sslmode=disable"), "--password-file", password ?? ""], /28000|28P01/],
    ];
    for (const [argv, code] of refusals) {
      const refused = await sigilHere(argv, { cwd });
      expect(refused.problems).to.match(code);
      expect(refused.problems + refused.output).not.to.contain("hush-hush");
      expect(refused.exitCode).to.equal(2);
    }
  });

  it("answers every query of the guide, to a role that only reads", async () => {
    const page = await readFile(join(repository, "docs/guides/queries-postgres.md"), "utf8");
    const queries = [...page.matchAll(/^### (\d+)\. .*\n\n```sql\n([^`]+)```$/gm)];
    expect(queries.map(([, number]) => Number(number))).to.deep.equal(
      Array.from({ length: 20 }, (_, at) => at + 1),
    );
    const asAnalyst = postgres.address("filled").replace(/\/\/[^@]+@/, "//analyst@");
    for (const [, number, text = ""] of queries) {
      expect((await query(asAnalyst, text)).length, `query ${number}`).to.be.greaterThan(0);
    }
  });
});
