/**
 * Canon from the command line: records, proposals, witnesses and a watch, against a real server and its sample keys.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { cborEncode } from "../../src/core/cbor/cbor.ts";
import { freePorts, running, servingHere, sigilHere, type Ended, type Serving } from "./command.ts";

const caller = (name: string): readonly string[] => ["--key", `data.keys/${name}.pem`, "--principal", name];
const asWitness = (number: number): readonly string[] => [
  "--key",
  `data.keys/witness-${number}.pem`,
  "--yes",
];

type Json = Readonly<Record<string, unknown>>;
type ProposalJson = { readonly id: string; readonly body: string; readonly recordHash: string };

describe("canon on the command line", function () {
  this.slow(5000);
  let cwd = "";
  let server: Serving | undefined;
  let model: Json = {};
  const path = (name: string): string => join(cwd, name);
  const env = () => ({ SIGIL_CLIENT_SERVER: server?.target ?? "127.0.0.1:1" });
  const run = (words: readonly string[], input?: string): Promise<Ended> =>
    sigilHere(words, { cwd, env: env(), ...(input === undefined ? {} : { input }) });
  const ok = async (words: readonly string[], input?: string): Promise<string> => {
    const { output, problems, exitCode } = await run(words, input);
    expect(exitCode, problems).to.equal(0);
    return output;
  };
  const put = (id: string, payload: object, more: readonly string[] = []): Promise<Ended> =>
    run(
      ["canon", "put", id, "--kind", "config", "--json-file", "-", ...more, ...caller("operator")],
      JSON.stringify(payload),
    );
  const modelNow = async (): Promise<Json> =>
    JSON.parse(await ok(["canon", "get", "trust_model/active", "--system", ...caller("observer")])) as Json;
  const propose = async (threshold: number, more: readonly string[] = []): Promise<string> => {
    const payload = { ...model, threshold, review: null };
    const words = ["propose", "-", "--id", "trust_model/active", "--json", ...more, ...caller("mentor")];
    return (JSON.parse(await ok(words, JSON.stringify(payload))) as { proposal: { id: string } }).proposal.id;
  };

  before(async () => {
    cwd = await mkdtemp(join(tmpdir(), "sigil-canon-cli-"));
    const made = await sigilHere(["init", "--data", "data", "--dev", "--origin", "canon.test"], { cwd });
    expect(made.exitCode, made.problems).to.equal(0);
    server = await servingHere(["serve", "--data", "data", ...freePorts], { cwd });
    model = await modelNow();
  });

  after(async () => {
    await server?.stop();
    await rm(cwd, { recursive: true, force: true });
  });

  describe("sigil canon", () => {
    it("puts, gets, lists, shows the history of and ends a record", async () => {
      expect((await put("config/a", { on: true, rate: 0.25 })).output).to.match(/^WRITTEN {2}config\/a\n/);
      expect((await put("config/a", { on: false }, ["--expect", "1"])).exitCode).to.equal(0);
      const newest = await run(["canon", "get", "config/a", ...caller("observer")]);
      expect(JSON.parse(newest.output)).to.deep.equal({ on: false });
      expect(newest.problems).to.match(/version +2\n/);
      const first = await ok(["canon", "get", "config/a", "--version", "1", ...caller("observer")]);
      expect(JSON.parse(first)).to.deep.equal({ on: true, rate: 0.25 });
      const listed = await ok(["canon", "list", "--kind", "config", ...caller("observer")]);
      expect(listed).to.match(/config\/a +config +2 /);
      await ok(["canon", "rm", "config/a", "--expect", "2", ...caller("operator")]);
      const history = await ok(["canon", "history", "config/a", "--json", ...caller("observer")]);
      const versions = history
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Json);
      expect(versions.map(({ version }) => version)).to.deep.equal(["3", "2", "1"]);
      expect(versions[0]?.["tombstone"]).to.equal(true);
      const gone = await run(["canon", "get", "config/a", ...caller("observer")]);
      expect(gone.problems).to.include("NOT_FOUND");
      expect([gone.exitCode, gone.output]).to.deep.equal([2, ""]);
    });

    it("shows a record from its bytes, also one whose view no reply holds", async () => {
      const wide = Array.from({ length: 100 }, () => Array.from({ length: 4000 }, () => false));
      await writeFile(path("wide.cbor"), cborEncode(wide));
      await ok(["canon", "put", "wide/a", "--kind", "wide", "--cbor", "wide.cbor", ...caller("operator")]);
      const shown = await ok(["canon", "get", "wide/a", ...caller("observer")]);
      expect(JSON.parse(shown)).to.deep.equal(wide);
    });

    it("exits with 1 for what is refused: another version, a level too low, a second use of a key", async () => {
      await put("config/b", { n: 1 });
      const stale = await put("config/b", { n: 2 }, ["--expect", "0"]);
      expect(stale.problems).to.include("is at version 1");
      const guest = ["canon", "put", "config/b", "--kind", "config", "--json-file", "-", ...caller("guest")];
      const denied = await run(guest, "{}");
      expect(denied.problems).to.include("PERMISSION_DENIED");
      await put("config/c", { n: 1 }, ["--idempotency-key", "k"]);
      const again = await put("config/c", { n: 2 }, ["--idempotency-key", "k"]);
      expect(again.problems).to.include("ALREADY_EXISTS");
      expect([stale.exitCode, denied.exitCode, again.exitCode]).to.deep.equal([1, 1, 1]);
    });

    it("sends JSON as it is: a key that occurs twice and a number out of range are refused", async () => {
      const words = [
        "canon",
        "put",
        "config/d",
        "--kind",
        "config",
        "--json-file",
        "-",
        ...caller("operator"),
      ];
      for (const payload of ['{"a":1,"a":2}', '{"a":9007199254740993}']) {
        const { exitCode, problems } = await run(words, payload);
        expect(problems, payload).to.include("INVALID_ARGUMENT");
        expect(exitCode, payload).to.equal(2);
      }
    });

    it("watches: prints a put once, goes on after a restart of the server, and ends on SIGINT with 0", async () => {
      await put("config/w1", { n: 1 });
      const words = [
        "canon",
        "watch",
        "--prefix",
        "config/w",
        "--from",
        "0",
        "--json",
        ...caller("observer"),
      ];
      await using watch = running(words, { cwd, env: env() });
      await watch.printed(/config\/w1/);
      const listen = server?.target ?? "";
      await server?.stop();
      const again = ["serve", "--data", "data", ...freePorts, "--listen", listen];
      server = await servingHere(again, { cwd });
      await put("config/w2", { n: 2 });
      const seen = await watch.printed(/config\/w2/);
      const events = seen
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Record<string, Json & string>);
      expect(events.map(({ record }) => record?.["id"])).to.deep.equal(["config/w1", "config/w2"]);
      for (const { record, nextPosition } of events) {
        expect(BigInt(nextPosition ?? "")).to.equal(BigInt(String(record?.["position"])) + 1n);
      }
      expect(await watch.end("SIGINT")).to.equal(0);
    });
  });

  describe("sigil propose, attest and commit", () => {
    it("does not commit below k, commits at k, and says who attested", async () => {
      const id = await propose(0.51, ["--reason", "a little stricter"]);
      const shown = await ok(["proposal", id, ...caller("observer")]);
      expect(shown).to.include("- threshold: 0.5\n+ threshold: 0.51").and.to.include("a little stricter");
      const first = await ok(["attest", id, ...asWitness(1)]);
      expect(first)
        .to.include("- threshold: 0.5\n+ threshold: 0.51")
        .and.to.include("recorded decisions:")
        .and.to.match(/approval of witness-1 .*needs 1 more approval/);
      const short = await run(["commit", id, ...caller("mentor")]);
      expect(short.problems).to.include("still needs 1 approval");
      expect(short.exitCode).to.equal(1);
      expect((await modelNow())["threshold"]).to.equal(0.5);
      const waiting = (witness: number) =>
        ok(["proposals", "--waiting", `witness-${witness}`, ...caller("observer")]);
      expect(await waiting(1)).to.not.include(id);
      expect(await waiting(2)).to.include(id);
      expect(await ok(["attest", id, ...asWitness(2)])).to.include("COMMITTED");
      expect((await modelNow())["threshold"]).to.equal(0.51);
      const system = await run(["canon", "get", "trust_model/active", "--system", ...caller("observer")]);
      expect(system.problems)
        .to.match(/attested by +witness-1, witness-2\n/)
        .and.to.include(id);
      expect(await ok(["commit", id, ...caller("mentor")])).to.include("COMMITTED");
      expect(await ok(["proposals", "--state", "committed", ...caller("observer")])).to.include(id);
    });

    it("shows the decisions that would flip, asks, and signs only for a yes", async () => {
      const checked = [
        "check",
        "--action",
        "write",
        "--target",
        "user/notes",
        "--json",
        ...caller("operator"),
      ];
      const { auditId } = JSON.parse(await ok(checked)) as { readonly auditId: string };
      const riskier = { ...(model["actions"] as Json), write: { risk: 0.6, min_loa: "observer" } };
      const words = ["propose", "-", "--id", "trust_model/active", "--json", ...caller("mentor")];
      const proposed = await ok(words, JSON.stringify({ ...model, actions: riskier }));
      const { id } = (JSON.parse(proposed) as { readonly proposal: ProposalJson }).proposal;
      const type = (input: string): Promise<Ended> =>
        sigilHere(["attest", id, "--key", "data.keys/witness-1.pem"], {
          cwd,
          env: env(),
          input,
          keyboard: true,
        });
      for (const answer of ["n\n", "\n", "maybe\n", ""]) {
        const { exitCode, output, problems } = await type(answer);
        expect([exitCode, problems.includes("you did not say yes")], answer).to.deep.equal([1, true]);
        expect(output)
          .to.match(/ would change\n/)
          .and.to.include(auditId);
      }
      const shown = await ok(["proposal", id, ...caller("observer")]);
      expect(shown)
        .to.match(/needs +2 more approvals/)
        .and.to.include("The flip report that is signed with the change is not shown");
      const witness = ["--key", "data.keys/witness-1.pem", "--principal", "witness/witness-1"];
      expect(await ok(["proposal", id, ...witness]))
        .to.match(
          /Flip report, signed with the change: of the last \d+ decisions below position \d+, 1 would flip/,
        )
        .and.to.match(/\n *\d+ +allow +(?:deny|review) +[0-9a-f]{64}/);
      expect((await type("y\n")).output).to.include("TAKEN");
      await ok(["withdraw", id, ...caller("mentor")]);
    });

    it("waits for sigil commit where it was asked to", async () => {
      const id = await propose(0.52, ["--separate-commit"]);
      await ok(["attest", id, ...asWitness(1)]);
      expect(await ok(["attest", id, ...asWitness(2)])).to.include(`sigil commit ${id} is next`);
      expect((await modelNow())["threshold"]).to.equal(0.51);
      expect(await ok(["commit", id, ...caller("mentor")])).to.include("COMMITTED");
      expect((await modelNow())["threshold"]).to.equal(0.52);
    });

    it("rejects, refuses a second statement of one witness, and withdraws", async () => {
      const id = await propose(0.53);
      expect(await ok(["attest", id, "--reject", ...asWitness(1)])).to.include("rejection of witness-1");
      const twice = await run(["attest", id, ...asWitness(1)]);
      expect(twice.problems).to.include("ALREADY_EXISTS");
      expect(twice.exitCode).to.equal(1);
      expect(await ok(["withdraw", id, "--reason", "no", ...caller("mentor")])).to.include("WITHDRAWN");
      const late = await run(["attest", id, ...asWitness(2)]);
      expect(late.problems).to.include("not signed: it is withdrawn");
      expect(late.exitCode).to.equal(1);
    });

    it("signs without a network and sends what was signed", async () => {
      const id = await propose(0.54);
      await writeFile(path("p.json"), await ok(["proposal", id, "--json", ...caller("observer")]));
      const offline = ["--proposal", "p.json", "--server", "127.0.0.1:1"];
      const words = ["attest", id, ...asWitness(3), ...offline, "--out", "w3.cose"];
      expect(await ok([...words, "--origin", "canon.test"])).to.include("SIGNED");
      expect((await readFile(path("w3.cose"))).length).to.be.greaterThan(64);
      const again = await run([...words, "--origin", "canon.test"]);
      expect(again.problems).to.include("never overwritten");
      const other = await propose(0.54);
      const elsewhere = await run(["attest", other, "--statement", "w3.cose"]);
      expect(elsewhere.problems).to.include("not sent").and.to.include(id);
      expect(elsewhere.exitCode).to.equal(1);
      expect(await ok(["attest", id, "--statement", "w3.cose"])).to.include("approval of witness-3");
    });

    it("signs nothing for another origin, nor a body that is not what it is said to be", async () => {
      const id = await propose(0.55);
      const whole = JSON.parse(await ok(["proposal", id, "--json", ...caller("observer")])) as {
        readonly proposal: ProposalJson;
      };
      const words = ["attest", id, ...asWitness(1), "--proposal", "forged.json", "--out", "forged.cose"];
      const forge = async (changed: Partial<ProposalJson>, origin = "canon.test"): Promise<Ended> => {
        await writeFile(
          path("forged.json"),
          JSON.stringify({ ...whole, proposal: { ...whole.proposal, ...changed } }),
        );
        return run([...words, "--origin", origin]);
      };
      const body = Buffer.from(whole.proposal.body, "base64");
      // The last byte of the threshold: still a canonical body, of another model.
      const at = body.indexOf("threshold") + "threshold".length + 8;
      body.writeUInt8(body.readUInt8(at) ^ 1, at);
      const outcomes = [
        await forge({ body: body.toString("base64") }),
        await forge({ recordHash: Buffer.alloc(32).toString("base64") }),
        await forge({}, "other.test"),
      ];
      expect(outcomes.map(({ exitCode }) => exitCode)).to.deep.equal([1, 1, 1]);
      expect(outcomes[0]?.problems).to.include("its body hashes to");
      expect(outcomes[1]?.problems).to.include("its body hashes to");
      expect(outcomes[2]?.problems).to.include("not for other.test");
      expect(await readFile(path("forged.cose")).catch(() => "none")).to.equal("none");
    });

    it("does not sign unseen: without a terminal it takes --yes, and only a witness's key", async () => {
      const id = await propose(0.55);
      const silent = await run(["attest", id, "--key", "data.keys/witness-1.pem"]);
      expect(silent.problems).to.include("--yes");
      const stranger = await run(["attest", id, "--key", "data.keys/mentor.pem", "--yes"]);
      expect(stranger.problems).to.include("does not belong to an enrolled witness");
      expect([silent.exitCode, stranger.exitCode]).to.deep.equal([2, 2]);
    });
  });

  describe("sigil witness and quorum", () => {
    const proposed = async (words: readonly string[]): Promise<string> => {
      const { proposal } = JSON.parse(await ok([...words, "--json", ...caller("mentor")])) as {
        proposal: { id: string };
      };
      return proposal.id;
    };
    const attestAll = (id: string, witnesses: readonly number[]) =>
      Promise.all(witnesses.map((witness) => ok(["attest", id, ...asWitness(witness)])));
    const asCaller = ["--caller", "observer", "--caller-key", "data.keys/observer.pem"];

    it("shows who must agree to anybody", async () => {
      const listed = await ok(["witness", "list"]);
      expect(listed)
        .to.match(/witness-3 +ed25519:[\w-]{43} +witness-3/)
        .and.to.include("takes 2 of 3");
      expect(await ok(["quorum"])).to.match(/^A change takes 2 of 3, epoch 1\./);
    });

    it("enrols a witness when its key has signed too, gives it a new key, and takes it out", async () => {
      const [key, newKey] = await Promise.all(
        ["carol", "carol-2"].map(async (name) => (await ok(["key", "new", `${name}.pem`])).trim()),
      );
      const added = await proposed([
        "witness",
        "add",
        "carol",
        "--public-key",
        key ?? "",
        "--owner",
        "Carol",
      ]);
      await ok(["attest", added, ...asWitness(1)]);
      const second = await ok(["attest", added, ...asWitness(2)]);
      expect(second).to.include("needs the statement of the new key").and.to.include(`public_key: ${key}`);
      const possession = ["attest", added, "--key", "carol.pem", "--yes", ...asCaller];
      expect(await ok(possession)).to.include("COMMITTED");
      expect(await ok(["quorum"])).to.include("2 of 4, epoch 2");

      const replaced = await proposed(["witness", "replace", "carol", "--public-key", newKey ?? ""]);
      const shown = await ok(["attest", replaced, "--key", "carol-2.pem", "--yes", ...asCaller]);
      expect(shown).to.include(`- public_key: ${key}\n+ public_key: ${newKey}`);
      await attestAll(replaced, [1, 2]);
      expect(await ok(["witness", "list"])).to.include(newKey);

      const removed = await proposed(["witness", "remove", "carol"]);
      await attestAll(removed, [1, 3]);
      expect(await ok(["witness", "list"])).to.not.include("carol");
    });

    it("proposes another k, and is told which one cannot be", async () => {
      const refused = await run(["quorum", "--set", "4", ...caller("mentor")]);
      expect(refused.problems).to.include("INVALID_ARGUMENT").and.to.include("from 1 to 3");
      const id = await proposed(["quorum", "--set", "1"]);
      await attestAll(id, [1, 2]);
      expect(await ok(["quorum", "--json"])).to.include('"k":1');
    });
  });
});
