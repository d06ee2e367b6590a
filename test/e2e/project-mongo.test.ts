/**
 * A projection in MongoDB, against FerretDB, which speaks its protocol: the suite of every database; `sigil project
 * mongo` as a person has it; a server that is down, hangs, or is not who it should be; and the queries of the guide.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runInNewContext } from "node:vm";
import { expect } from "chai";
import type { Document } from "mongodb";
import { it } from "mocha";
import { toHex } from "../../src/core/bytes.ts";
import { makeCertificate } from "../contract/certificates.ts";
import { appendEvents } from "../contract/golden-files.ts";
import {
  mongoAt,
  startMongoServer,
  type MongoTestPlace,
  type MongoTestServer,
} from "../contract/mongo-place.ts";
import { mongoMissing, startMongo } from "../contract/mongo-server.ts";
import { compareDatabase, digestDatabase, fillDatabase } from "../contract/projection.ts";
import { describeProjection, faultOf, type SuiteContext } from "../contract/projection-suite.ts";
import { sigilHere } from "./command.ts";

const repository = join(import.meta.dirname, "../..");

/** A directory with the ledger as a relay's files, and the command's words but for `--to`. */
const withFiles = async (
  { ledger }: SuiteContext,
  work: (words: readonly string[], directory: string) => Promise<void>,
): Promise<void> => {
  const directory = await mkdtemp(join(tmpdir(), "sigil-project-mongo-"));
  try {
    await appendEvents(directory, ledger, [0, ledger.places.length]);
    const words = ["project", "mongo", "--from", `file:${directory}`, "--genesis", toHex(ledger.genesis)];
    await work(words, directory);
  } finally {
    await rm(directory, { recursive: true });
  }
};

const commandTests = (context: () => SuiteContext): void => {
  it("is filled, compared and rebuilt by the command, which names what differs and ends with 1", async () => {
    const place = context().place as MongoTestPlace;
    const { address } = context().server as MongoTestServer;
    await withFiles(context(), async (words, cwd) => {
      const run = (...more: readonly string[]) =>
        sigilHere([...words, "--to", address(place.db.databaseName), ...more], { cwd });
      const count = context().ledger.places.length;
      const filled = await run("--once", "--json");
      expect(filled.exitCode, filled.problems).to.equal(0);
      const whole = { next: String(count), projected: true, caught_up: true };
      expect(JSON.parse(filled.output)).to.deep.equal(whole);
      const checked = await run("--check", "--json");
      expect(checked.exitCode, checked.problems).to.equal(0);
      expect(JSON.parse(checked.output)).to.include({ ok: true, next: String(count) });
      const rebuilt = await run("--rebuild");
      expect(rebuilt.output).to.match(/^up to date at \d+ records in mongodb:/);
      expect(await digestDatabase(place.database)).to.deep.equal(context().expected);
      await place.db
        .collection("sigil_v1_b2_record_versions")
        .updateMany({ "decision.verdict": "review" }, { $set: { "decision.reason": "OTHER" } });
      const broken = await run("--check");
      expect(broken.exitCode).to.equal(1);
      expect(broken.output).to.match(
        /^DIFFERS {2}decisions at position \d+: column reason is not what the ledger gives/,
      );
    });
  });

  it("says what is wrong with its arguments, and ends with 2", async () => {
    const wrongs: readonly (readonly [readonly string[], string])[] = [
      [["--to", "mongodb://ann:secret@127.0.0.1/x"], "must hold no password"],
      [["--to", "postgres://ann@127.0.0.1/x"], "must be mongodb://USER@HOST:PORT/DATABASE"],
      [["--to", "mongodb://127.0.0.1/100%"], "must name a database"],
      [["--to", "mongodb://127.0.0.1/a.b"], "must name a database"],
      [["--to", "mongodb://%ff@127.0.0.1/x"], "must percent-encode its user as UTF-8"],
      [["--to", "mongodb://127.0.0.1/x?ssl=true"], "knows no parameter ssl"],
      [["--to", "mongodb://127.0.0.1/x?tls=maybe"], "tls must be true or false"],
      [["--to", "mongodb://127.0.0.1/x?tlsCAFile=ca.pem"], "tlsCAFile needs tls=true"],
      [["--to", "mongodb://127.0.0.1/x", "--collection", "Sigil"], "--collection must be"],
      [["--to", "mongodb://127.0.0.1/x", "--check", "--once"], "--check changes nothing"],
    ];
    await withFiles(context(), async (words, cwd) => {
      for (const [more, rule] of wrongs) {
        const ended = await sigilHere([...words, ...more], { cwd });
        expect(ended.problems).to.contain(rule);
        expect(ended.problems).not.to.contain("secret");
        expect(ended.exitCode).to.equal(2);
      }
      const { address } = context().server as MongoTestServer;
      const nothing = await sigilHere([...words, "--to", address("nothing"), "--check"], { cwd });
      expect(nothing.problems).to.contain("the database failed (no projection)");
      expect(nothing.exitCode).to.equal(2);
    });
  });

  it("says who does not answer or let it in, without a password, and ends with 2", async () => {
    const made = await makeCertificate("localhost", "DNS:localhost");
    await using plain = await startMongo();
    await using guarded = await startMongo({ tls: made });
    await withFiles(context(), async (words, cwd) => {
      const [password, ca] = [join(cwd, "password"), join(cwd, "ca.pem")];
      await writeFile(password, "hush-hush\n", { mode: 0o600 });
      await writeFile(ca, made.cert);
      const secure = `localhost:${guarded.port}/kept?tls=true`;
      const trusted = `mongodb://${secure}&tlsCAFile=${encodeURIComponent(ca)}`;
      const whole = await sigilHere([...words, "--once", "--to", trusted], { cwd });
      expect(whole.exitCode, whole.problems).to.equal(0);
      const user = `mongodb://keeper@127.0.0.1:${plain.port}/kept`;
      await plain.kill();
      const down = await sigilHere([...words, "--to", user, "--password-file", password], { cwd });
      await plain.start();
      // It has no users: whoever names one is refused.
      const [stranger, untrusted, clear] = await Promise.all([
        sigilHere([...words, "--to", user, "--password-file", password], { cwd }),
        sigilHere([...words, "--to", `mongodb://${secure}`], { cwd }),
        sigilHere([...words, "--to", `mongodb://localhost:${guarded.port}/kept`], { cwd }),
      ]);
      const refusals = [
        { ended: down, code: /ECONNREFUSED/ },
        {
          ended: stranger,
          code: /the database failed \((AuthenticationFailed|MechanismUnavailable|BadValue|18|NotImplemented)/,
        },
        { ended: untrusted, code: /SELF_SIGNED_CERT/ },
        { ended: clear, code: /the database failed/ },
      ];
      for (const { ended, code } of refusals) {
        expect(ended.problems).to.match(code);
        expect(ended.problems + ended.output).not.to.contain("hush-hush");
        expect(ended.exitCode).to.equal(2);
      }
    });
  });

  it("is let in over TLS by SCRAM and the password of a file or the environment, and with no other", async () => {
    const tls = await makeCertificate("localhost", "DNS:localhost");
    await using guarded = await startMongo({ tls, user: { name: "keeper", password: "hush-hush" } });
    await withFiles(context(), async (words, cwd) => {
      await writeFile(join(cwd, "ca.pem"), tls.cert);
      await writeFile(join(cwd, "right"), "hush-hush\n", { mode: 0o600 });
      await writeFile(join(cwd, "wrong"), "wrong-one\n", { mode: 0o600 });
      const run = (user: string, more: readonly string[], env: Readonly<Record<string, string>> = {}) => {
        const to = `mongodb://${user}localhost:${guarded.port}/kept?tls=true&tlsCAFile=ca.pem`;
        return sigilHere([...words, "--to", to, ...more], { cwd, env });
      };
      const filled = await run("keeper@", ["--once", "--password-file", "right"]);
      expect(filled.exitCode, filled.problems).to.equal(0);
      const checked = await run("keeper@", ["--check"], { MONGODB_PASSWORD: "hush-hush" });
      expect(checked.exitCode, checked.problems).to.equal(0);
      const refused = await Promise.all([
        run("keeper@", ["--once", "--password-file", "wrong"]),
        run("stranger@", ["--once", "--password-file", "right"]),
        run("", ["--once"]),
      ]);
      for (const { exitCode, output, problems } of refused) {
        expect(problems).to.match(/the database failed \((AuthenticationFailed|Unauthorized)\)/);
        expect(problems + output).not.to.match(/hush-hush|wrong-one/);
        expect(exitCode).to.equal(2);
      }
    });
  });

  it("stops when its server dies or hangs, and goes on when it is back", async () => {
    const { ledger, expected } = context();
    await using mongo = await startMongo();
    const database = mongoAt(mongo.address("audit"));
    const stopping = (stop: () => void | Promise<void>) => {
      let batches = 0;
      return fillDatabase(database, {
        ledger,
        from: { batchMessages: 20 },
        onApplied: () => {
          batches += 1;
          if (batches === 1) void stop();
        },
      });
    };
    expect((await faultOf(stopping(mongo.kill))).kind).to.equal("databaseFailed");
    await mongo.start();
    expect((await faultOf(stopping(mongo.suspend))).kind).to.equal("databaseFailed");
    mongo.wake();
    await fillDatabase(database, { ledger });
    expect(await digestDatabase(database)).to.deep.equal(expected);
    expect((await compareDatabase(database, ledger)).difference).to.equal(undefined);
  });

  it("keeps a consumer that was overtaken from writing over what another one wrote", async () => {
    const { ledger, place, expected } = context();
    const { db, database } = place as MongoTestPlace;
    const half = BigInt(Math.floor(ledger.places.length / 2));
    let isOvertaken = false;
    const slow = fillDatabase(database, {
      ledger,
      from: { batchMessages: 20 },
      wrap: (store) => ({
        resume: () => store.resume(),
        publish: () => store.publish(),
        apply: async (gathered) => {
          if (!isOvertaken) {
            isOvertaken = true;
            await db.collection<Document & { readonly _id: string }>("sigil").deleteOne({ _id: "writer" });
            await fillDatabase(database, { ledger, from: { size: half } });
          }
          return store.apply(gathered);
        },
      }),
    });
    expect((await faultOf(slow)).kind).to.equal("consumerRunning");
    await fillDatabase(database, { ledger });
    expect(await digestDatabase(database)).to.deep.equal(expected);
  });

  it("answers every query of the guide", async () => {
    const { ledger, place } = context();
    const { db, database } = place as MongoTestPlace;
    await fillDatabase(database, { ledger });
    const page = await readFile(join(repository, "docs/guides/queries-mongo.md"), "utf8");
    const queries = [...page.matchAll(/^### (\d+)\. .*\n\n```js\n([^`]+)```$/gm)];
    expect(queries.map(([, number]) => Number(number))).to.deep.equal(
      Array.from({ length: 20 }, (_, at) => at + 1),
    );
    const own = db.collection<Document & { readonly _id: string }>("sigil");
    const current = await own.findOne({ _id: "current" });
    const [versions, records] = ["record_versions", "records"].map((name) =>
      db.collection(String(current?.[name])),
    );
    for (const [, number, text = ""] of queries) {
      // The page's own words, as in the shell.
      const asked = runInNewContext(text, { versions, records }) as PromiseLike<unknown> & {
        readonly toArray?: () => Promise<readonly unknown[]>;
      };
      const found = asked.toArray === undefined ? [await asked] : await asked.toArray();
      expect(found.length, `query ${number}`).to.be.greaterThan(0);
    }
  });
};

describeProjection("a projection in MongoDB", {
  start: startMongoServer,
  missing: mongoMissing,
  // FerretDB reads everything for most questions.
  count: 300,
  requests: 2,
  more: commandTests,
});
