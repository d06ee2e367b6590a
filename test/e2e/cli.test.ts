/** The command line against a real server: what it prints, what it exits with, what it refuses. */
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { recordKey } from "../../src/ledger/layout/keyspace.ts";
import { openLevelStore } from "../../src/storage/level.ts";
import {
  freePorts,
  serving,
  servingHere,
  sigil,
  sigilHere,
  type Ended,
  type RunOptions,
  type Serving,
} from "./command.ts";

const caller = (name: string): readonly string[] => ["--key", `data.keys/${name}.pem`, "--principal", name];
const question = (action: string, target: string): readonly string[] => [
  "check",
  "--action",
  action,
  "--target",
  target,
];

const modeOf = async (path: string): Promise<string> => ((await stat(path)).mode & 0o777).toString(8);

describe("the command line", function () {
  this.slow(3000);
  let cwd = "";
  let server: Serving | undefined;
  const path = (name: string): string => join(cwd, name);
  const options = (input?: string): RunOptions => ({
    cwd,
    env: { SIGIL_CLIENT_SERVER: server?.target ?? "127.0.0.1:1" },
    ...(input === undefined ? {} : { input }),
  });
  const run = (words: readonly string[], input?: string): Promise<Ended> => sigilHere(words, options(input));
  /** In a process of its own, where the process is the point: its exit code, its pipes, its modes of files. */
  const runProcess = (words: readonly string[], input?: string): Promise<Ended> =>
    sigil(words, options(input));
  /** JSON of a command that must succeed. */
  const json = async (words: readonly string[]): Promise<Record<string, unknown>> => {
    const { output, problems, exitCode } = await run([...words, "--json"]);
    expect(exitCode, problems).to.be.oneOf([0, 1]);
    return JSON.parse(output) as Record<string, unknown>;
  };
  const check = async (words: readonly string[] = caller("operator")): Promise<string> =>
    String((await json([...question("write", "user/notes"), ...words]))["auditId"]);

  before(async () => {
    // This process opens a ledger too, and a start refuses files that others may read.
    process.umask(0o077);
    cwd = await mkdtemp(join(tmpdir(), "sigil-cli-"));
    const made = await sigilHere(["init", "--data", "data", "--dev", "--origin", "cli.test"], { cwd });
    expect(made.exitCode, made.problems).to.equal(0);
    server = await serving(["serve", "--data", "data", ...freePorts], { cwd });
  });

  after(async () => {
    await server?.stop();
    await rm(cwd, { recursive: true, force: true });
  });

  describe("sigil check", () => {
    it("exits with 0 for an allow, 1 for a deny and 2 without an answer", async () => {
      const allowed = await runProcess(question("read", "public/docs"));
      const denied = await runProcess(question("delete", "user/profile"));
      const unreachable = await runProcess([...question("read", "public/docs"), "--server", "127.0.0.1:1"]);
      expect([allowed.exitCode, denied.exitCode, unreachable.exitCode]).to.deep.equal([0, 1, 2]);
      expect(allowed.output).to.match(/^ALLOW {2}read public\/docs\n/);
      expect(denied.output).to.match(/^DENY [\s\S]*LEVEL_TOO_LOW/);
      expect(unreachable.output).to.equal("");
      expect(unreachable.problems).to.match(/UNAVAILABLE[\s\S]*sigil dev/);
    });

    it("exits with 1 for a review", async () => {
      const { exitCode, output } = await run([...question("delete", "web/search"), ...caller("operator")]);
      expect(output).to.match(/^REVIEW/);
      expect(exitCode).to.equal(1);
    });

    it("prints the reply as JSON", async () => {
      const decision = await json([...question("write", "user/notes"), ...caller("operator")]);
      expect(decision).to.include({ verdict: "VERDICT_ALLOW", allowed: true, subject: "operator" });
    });

    it("takes the input from standard input", async () => {
      const words = [...question("write", "user/notes"), ...caller("operator"), "--input", "-", "--json"];
      const { auditId } = JSON.parse((await runProcess(words, "hello")).output) as Record<string, string>;
      const chain = await json(["audit", "get", auditId ?? "", ...caller("operator")]);
      expect(chain["inputBytes"]).to.equal("5");
    });

    it("answers the lines of a file in order and exits with the worst of them", async () => {
      const lines = [
        { action: "read", target: "public/docs" },
        { action: "write", target: "config/flags", subject: "mentor", input: { on: true } },
        { action: "delete", target: "user/profile", subject: "guest" },
      ];
      await writeFile(path("requests.jsonl"), `${lines.map((line) => JSON.stringify(line)).join("\n")}\n`);
      const denied = await run(["check", "--file", "requests.jsonl", ...caller("operator")]);
      const rows = denied.output.trim().split("\n").slice(1);
      expect(rows.map((row) => /\b(?:ALLOW|DENY)\b/.exec(row)?.[0])).to.deep.equal([
        "ALLOW",
        "ALLOW",
        "DENY",
      ]);
      expect(denied.exitCode).to.equal(1);
      const mixed = [lines[0], { ...lines[0], action: "" }].map((line) => JSON.stringify(line)).join("\n");
      const failed = await runProcess(["check", "--file", "-", "--json", ...caller("operator")], mixed);
      const answers = failed.output
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Record<string, Record<string, unknown>>);
      expect(answers[0]?.["decision"]?.["allowed"]).to.equal(true);
      expect(answers[1]?.["error"]?.["code"]).to.equal("INVALID_ARGUMENT");
      expect(failed.exitCode).to.equal(2);
    });

    it("names the line of a file that is no request", async () => {
      const { exitCode, problems } = await run(
        ["check", "--file", "-"],
        '{"action":"read"}\n{"tarket":"x"}\n',
      );
      expect(problems).to.include('line 2: "tarket"').and.to.include('"target"');
      expect(exitCode).to.equal(2);
    });
  });

  describe("sigil audit", () => {
    it("shows, lists and verifies a decision that was just made", async () => {
      const auditId = await check();
      const shown = await run(["audit", "get", auditId, ...caller("operator")]);
      expect(shown.output).to.include(auditId).and.to.include("user/notes").and.to.include("Reasoning:");
      // Everything that was added up, and the rows that it came from.
      const [, z = "", bias = ""] =
        /\nz +([+−][\d.]+) logits[\s\S]*\nbias +([+−][\d.]+)\n/.exec(shown.output) ?? [];
      const logits = [
        ...shown.output.matchAll(/^(?:action_risk|target_sensitivity|level|rate|entropy) .* ([+−][\d.]+)$/gm),
      ];
      const number = (text = ""): number => Number(text.replace("−", "-"));
      expect(logits).to.have.lengthOf(5);
      expect(logits.reduce((sum, [, each]) => sum + number(each), number(bias))).to.be.closeTo(
        number(z),
        0.03,
      );
      expect(shown.output)
        .to.match(/\naction glob +write\n/)
        .and.to.match(/\ntarget glob +user\/\*\*\n/);
      const listed = await run(["audit", "list", "--target", "user/**", ...caller("operator")]);
      expect(listed.output).to.include(auditId);
      const verified = await run(["audit", "verify", auditId, ...caller("operator")]);
      expect(verified.output).to.match(/^VERIFIED/);
      expect([shown.exitCode, listed.exitCode, verified.exitCode]).to.deep.equal([0, 0, 0]);
    });

    it("says so of a tenant that there is not, and lists nothing of one that is the caller's own", async () => {
      await check();
      for (const words of [
        ["audit", "list"],
        ["canon", "list"],
      ]) {
        const { exitCode, problems } = await run([...words, "--tenant", "nosuch", ...caller("root")]);
        expect(problems).to.include('no record of tenant "nosuch"');
        expect(exitCode).to.equal(2);
        expect((await run([...words, "--tenant", "demo", ...caller("root")])).exitCode).to.equal(0);
      }
    });

    it("keeps to its filters", async () => {
      await run([...question("delete", "user/notes"), ...caller("observer")]);
      const words = [
        "audit",
        "list",
        "--who",
        "observer",
        "--verdict",
        "deny",
        ...caller("operator"),
        "--json",
      ];
      const { output } = await run(words);
      const chains = output
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Record<string, string>);
      expect(chains).to.have.lengthOf.at.least(1);
      expect(new Set(chains.map(({ subject, verdict }) => `${subject} ${verdict}`))).to.deep.equal(
        new Set(["observer VERDICT_DENY"]),
      );
    });

    it("exits with 2 for a decision that is not there", async () => {
      const { exitCode, problems } = await run(["audit", "get", "nothing", ...caller("operator")]);
      expect(problems).to.include("NOT_FOUND");
      expect(exitCode).to.equal(2);
    });

    it("prints the checkpoint as a signed note", async () => {
      const { output } = await run(["audit", "checkpoint"]);
      expect(output).to.match(/^cli\.test\n\d+\n[A-Za-z0-9+/=]{44}\n\n— cli\.test [A-Za-z0-9+/=]+\n$/);
    });
  });

  describe("sigil model and simulate", () => {
    it("simulates the model it was given and finds nothing changed", async () => {
      await check();
      const { output } = await run(["model", "get", "--json", ...caller("observer")]);
      await writeFile(path("candidate.json"), output);
      const same = await run(["simulate", "--candidate", "candidate.json", ...caller("mentor")]);
      expect(same.output, same.problems).to.match(/^\d+ scored, 0 would change/);
      expect(same.exitCode).to.equal(0);
    });

    it("takes the payload that canon get shows, as propose does", async () => {
      const { output } = await run(["canon", "get", "trust_model/active", "--system", ...caller("observer")]);
      await writeFile(path("payload.json"), output);
      const same = await run(["simulate", "--candidate", "payload.json", ...caller("mentor")]);
      expect(same.output, same.problems).to.match(/^\d+ scored, 0 would change/);
    });

    it("shows what a stricter model would change and exits with 1", async () => {
      await check();
      const answer = (await json(["model", "get", ...caller("observer")])) as { model: object };
      const strict = { ...answer.model, threshold: 0.99, review: undefined };
      await writeFile(path("strict.json"), JSON.stringify(strict));
      const { output, exitCode } = await run(["simulate", "--candidate", "strict.json", ...caller("mentor")]);
      expect(output).to.match(/ALLOW +0\.\d+ +DENY/);
      expect(exitCode).to.equal(1);
    });

    it("names a field that no model has", async () => {
      await writeFile(path("odd.json"), JSON.stringify({ treshold: 0.5 }));
      const { problems } = await run(["simulate", "--candidate", "odd.json", ...caller("mentor")]);
      expect(problems).to.include('"treshold"').and.to.include('"threshold"');
    });
  });

  describe("sigil token", () => {
    it("prints one token for the deployment that is served here", async () => {
      const { output } = await run(["token", "--lifetime", "60", ...caller("operator")]);
      const claims = JSON.parse(Buffer.from(output.split(".")[1] ?? "", "base64url").toString()) as {
        readonly [name: string]: unknown;
        readonly iat: number;
        readonly exp: number;
      };
      expect(claims).to.include({ sub: "operator", iss: "operator", aud: "cli.test" });
      expect(claims.exp - claims.iat).to.equal(60);
    });

    it("does not ask a server elsewhere whom a token is for", async () => {
      const { exitCode, problems } = await run([
        "token",
        ...caller("operator"),
        "--server",
        "sigil.example:443",
      ]);
      expect(problems).to.include("--origin");
      expect(exitCode).to.equal(2);
    });

    it("refuses a key that others may read", async () => {
      await run(["key", "new", "loose.pem"]);
      await chmod(path("loose.pem"), 0o644);
      const { problems } = await run(["token", "--key", "loose.pem", "--principal", "operator"]);
      expect(problems).to.include("chmod 600 loose.pem");
    });
  });

  describe("sigil key", () => {
    it("makes a key that only its owner can read, and never overwrites one", async () => {
      const made = await runProcess(["key", "new", "alice.pem"]);
      expect(made.output).to.match(/^ed25519:[\w-]{43}\n$/);
      expect(await modeOf(path("alice.pem"))).to.equal("600");
      const before = await readFile(path("alice.pem"), "utf8");
      const again = await run(["key", "new", "alice.pem"]);
      expect(again.exitCode).to.equal(2);
      expect(await readFile(path("alice.pem"), "utf8")).to.equal(before);
      expect((await run(["key", "show", "alice.pem"])).output).to.equal(made.output);
    });
  });

  describe("sigil init", () => {
    const publicKey = async (name: string): Promise<string> =>
      (await run(["key", "new", `${name}.pem`])).output.trim();

    it("makes a deployment of given keys that serves, private to its owner", async () => {
      const [root, w1, w2, ann] = await Promise.all(["root", "w1", "w2", "ann"].map(publicKey));
      const words = ["init", "--data", "own", "--origin", "own.test", "--root", root ?? "", "--quorum", "2"];
      const witnesses = ["--witness", `alice=${w1}`, "--witness", `bob=${w2}`];
      const made = await runProcess([
        ...words,
        ...witnesses,
        "--principal",
        `ann=operator:acme:${ann}`,
        "--json",
      ]);
      expect(made.exitCode, made.problems).to.equal(0);
      expect(JSON.parse(made.output)).to.include({ origin: "own.test" });
      expect(await modeOf(path("own"))).to.equal("700");
      expect(await modeOf(path("own.kek"))).to.equal("600");
      await using own = await servingHere(["serve", "--data", "own", ...freePorts], { cwd });
      const as = ["--server", own.target, "--key", "ann.pem", "--principal", "ann"];
      const { output } = await run([...question("write", "user/notes"), ...as]);
      expect(output)
        .to.match(/^ALLOW/)
        .and.to.include("ann, Operator");
    });

    it("refuses a directory that is not empty", async () => {
      const { exitCode, problems } = await run(["init", "--data", "data", "--dev"]);
      expect(problems).to.include("data is not empty");
      expect(exitCode).to.equal(2);
    });

    it("refuses a quorum that cannot be or that nobody could reach", async () => {
      const key = await publicKey("one");
      const words = ["init", "--data", "none", "--origin", "o.test", "--root", key, "--witness", `w=${key}`];
      for (const k of ["0", "2", "-1", "x"]) {
        const { exitCode, problems } = await run([...words, `--quorum=${k}`]);
        expect(problems, k).to.include("--quorum must be");
        expect(exitCode, k).to.equal(2);
      }
    });

    it("counts one key once, whatever it is called", async () => {
      const key = await publicKey("twice");
      const words = ["init", "--data", "none", "--origin", "o.test", "--root", key, "--quorum", "2"];
      const { problems } = await run([...words, "--witness", `a=${key}`, "--witness", `b=${key}`]);
      expect(problems).to.include("named twice");
    });
  });

  describe("sigil fsck", () => {
    const damage = async (data: string, position: bigint): Promise<void> => {
      await using store = await openLevelStore(join(data, "ledger"));
      const value = Uint8Array.from((await store.get(recordKey(position))) ?? []);
      value[40] = (value[40] ?? 0) ^ 0x80;
      await store.commit([{ kind: "put", key: recordKey(position), value }]);
    };

    it("exits with 0 for a clean directory, 1 naming the first bad position, 2 when it cannot run", async () => {
      await run(["init", "--data", "checked", "--dev"]);
      const clean = await runProcess(["fsck", "--data", "checked"]);
      expect(clean.output, clean.problems).to.match(/^CLEAN/);
      await damage(path("checked"), 3n);
      const damaged = await run(["fsck", "--data", "checked", "--json"]);
      expect(JSON.parse(damaged.output)).to.include({ ok: false, firstBadPosition: "3" });
      const inUse = await run(["fsck", "--data", "data"]);
      expect(inUse.problems).to.include("in use by another process");
      expect([clean.exitCode, damaged.exitCode, inUse.exitCode]).to.deep.equal([0, 1, 2]);
    });
  });

  describe("sigil dev", () => {
    it("makes its deployment once and prints lines that can be typed", async () => {
      const home = path("home");
      await mkdir(home);
      {
        await using first = await serving(["dev", ...freePorts], { cwd: home });
        // The greeting comes after the log line, and a signal before it finds nobody listening.
        while (!first.problems().includes("then witness-2")) await setTimeout(10);
        expect(await first.stop()).to.equal(0);
        expect(first.problems())
          .to.include("made a development deployment")
          .and.to.include("grpcurl -plaintext")
          .and.to.include("attest PROPOSAL --key .sigil/keys/witness-1.pem");
      }
      await using second = await serving(["dev", ...freePorts], { cwd: home });
      expect(second.problems()).to.not.include("made a development deployment");
      const as = ["--server", second.target, "--key", ".sigil/keys/operator.pem", "--principal", "operator"];
      const { output } = await sigilHere([...question("write", "user/notes"), ...as], { cwd: home });
      expect(output).to.match(/^ALLOW/);
    });
  });

  describe("sigil config", () => {
    it("shows where each value comes from and masks secrets", async () => {
      const env = { SIGIL_LOG_LEVEL: "debug", SIGIL_PASSPHRASE: "canary-8c1f" };
      const { output } = await sigilHere(["config", "--listen", "127.0.0.1:7000"], { cwd, env });
      expect(output).to.match(/listen +127\.0\.0\.1:7000 +flag --listen/);
      expect(output).to.match(/log_level +debug +environment SIGIL_LOG_LEVEL/);
      expect(output).to.include("********").and.to.not.include("canary-8c1f");
    });
  });

  it("names the nearest known word for a slip, on standard error, and exits with 2", async () => {
    const { exitCode, problems, output } = await runProcess(["check", "--acton", "read"]);
    expect(problems).to.include("--acton is not a flag").and.to.include("--action");
    expect([exitCode, output]).to.deep.equal([2, ""]);
  });

  it("prints no colour where no terminal shows it, and colour where it is forced", async () => {
    const plain = await runProcess(question("read", "public/docs"));
    const env = { SIGIL_CLIENT_SERVER: server?.target ?? "", FORCE_COLOR: "1" };
    const forced = await sigil(question("read", "public/docs"), { cwd, env });
    expect(plain.output).to.not.include("\u001b");
    expect(forced.output).to.include("\u001b[32mALLOW");
  });
});
