/** Modules from the command line, from a file to a run, and what the data directory keeps of them. */
import { sha256 } from "@sigil/core/hash";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { freePorts, servingHere, sigilHere, type Ended, type Serving } from "./command.ts";
import { unpackFormat } from "../data/formats/unpack.ts";
import { codeOf, hexOf } from "./modules.ts";

const as = (name: string): readonly string[] => ["--key", `data.keys/${name}.pem`, "--principal", name];

type Json = Readonly<Record<string, unknown>>;

/** Says a line on its log, copies nothing, and exits with 3. */
const grumpy = codeOf({
  imports: ["proc_exit"],
  inside: '(data (i32.const 64) "no \\1b[31m today\\nbye")',
  body: "(call $log (i32.const 64) (i32.const 18)) (call $say (i32.const 64) (i32.const 2)) (call $proc_exit (i32.const 3))",
});

describe("modules on the command line", function () {
  this.slow(5000);
  let cwd = "";
  let server: Serving | undefined;
  const path = (...names: readonly string[]): string => join(cwd, ...names);
  const env = () => ({ SIGIL_CLIENT_SERVER: server?.target ?? "127.0.0.1:1" });
  const run = (words: readonly string[], input?: string): Promise<Ended> =>
    sigilHere(words, { cwd, env: env(), ...(input === undefined ? {} : { input }) });
  const ok = async (words: readonly string[], input?: string): Promise<string> => {
    const { output, problems, exitCode } = await run(words, input);
    expect(exitCode, problems).to.equal(0);
    return output;
  };
  const approve = async (proposal: string): Promise<void> => {
    const id = (JSON.parse(proposal) as { proposal: { id: string } }).proposal.id;
    for (const witness of [1, 2]) {
      await ok(["attest", id, "--key", `data.keys/witness-${witness}.pem`, "--yes"]);
    }
  };

  before(async () => {
    cwd = await mkdtemp(join(tmpdir(), "sigil-module-cli-"));
    const made = await sigilHere(["init", "--data", "data", "--dev", "--origin", "module.test"], { cwd });
    expect(made.exitCode, made.problems).to.equal(0);
    await writeFile(path("grumpy.wasm"), grumpy);
    server = await servingHere(["serve", "--data", "data", ...freePorts], { cwd });
  });
  after(async () => {
    await server?.stop();
    await rm(cwd, { recursive: true, force: true });
  });

  it("runs hello, from text, from a file and from standard input", async () => {
    const hello = ["module", "run", "hello", ...as("operator")];
    const greeting = '{"greeting":"hello, Ada"}';
    expect(await ok([...hello, "--input-json", '{"name":"Ada"}'])).to.equal(`${greeting}\n`);
    await writeFile(path("ada.json"), '{"name":"Ada"}');
    await ok([...hello, "--input", "ada.json", "--output", "out.json"]);
    expect(await readFile(path("out.json"), "utf8")).to.equal(greeting);
    const json = JSON.parse(await ok([...hello, "--input", "-", "--json"], '{"name":"Ada"}')) as Json;
    expect(json).to.include({ outputJson: greeting, version: "1" });
    const said = await run([...hello, "--input-json", '{"name":"Ada"}', "--verbose"]);
    expect(said.problems).to.match(/^run +module_run\/[0-9a-f-]{36}\naudit id +[0-9a-f-]{36}\n/);
  });

  it("says with its exit code whether there is an answer", async () => {
    const denied = await run(["module", "run", "hello"]);
    expect(denied.exitCode).to.equal(1);
    expect(denied.problems).to.include("LEVEL_TOO_LOW").and.to.include("sigil audit get");
    expect((await run(["module", "run", "nobody", ...as("operator")])).exitCode).to.equal(2);
    const both = await run(["module", "run", "hello", "--input", "-", "--input-json", "{}"]);
    expect([both.exitCode, both.problems]).to.deep.equal([
      2,
      "sigil: --input and --input-json exclude each other\n",
    ]);
    expect((await run(["module", "run", "hello", "--input-json", "{"])).problems).to.include("input_json");
  });

  it("inspects a file without a server", async () => {
    const shown = await sigilHere(["module", "inspect", "grumpy.wasm"], { cwd });
    expect(shown.output).to.include(hexOf(sha256(grumpy)));
    expect(shown.output).to.match(/import wasi_snapshot_preview1\.proc_exit +\(i32\) -> \(\)/);
    expect(shown.output).to.include("--memory-pages 1");
    const json = JSON.parse(
      (await sigilHere(["module", "inspect", "grumpy.wasm", "--json"], { cwd })).output,
    ) as Json;
    expect(json).to.include({ digest: hexOf(sha256(grumpy)), bytes: grumpy.length });
    const none = await sigilHere(["module", "inspect", "data/deployment.json"], { cwd });
    expect(none.exitCode).to.equal(2);
    expect(none.problems).to.include("malformed module");
  });

  it("proposes, runs with the log on standard error, and retires", async () => {
    const words = ["--name", "grumpy", "--level", "operator", "--memory-pages", "2", "--json"];
    await approve(await ok(["module", "propose", "grumpy.wasm", ...words, ...as("mentor")]));
    const ran = await run(["module", "run", "grumpy", ...as("operator")]);
    expect(ran.exitCode).to.equal(1);
    expect(ran.output).to.equal("no\n");
    // What a module writes does not reach the terminal's controls.
    expect(ran.problems).to.equal("no \u{fffd}[31m today\nbye\nsigil: the module exited with 3\n");
    const listed = await ok(["module", "list", ...as("observer")]);
    expect(listed).to.match(/^grumpy +1 +active +Operator +[0-9a-f]{16} +\d+$/m);
    const shown = await ok(["module", "get", "grumpy", ...as("observer")]);
    expect(shown).to.include("witness-1, witness-2 (2 of 3 needed)");
    await approve(await ok(["module", "retire", "grumpy", "--reason", "rude", "--json", ...as("mentor")]));
    const retired = await run(["module", "run", "grumpy", ...as("operator")]);
    expect(retired.exitCode).to.equal(1);
    expect(retired.problems).to.include("MODULE_RETIRED");
    expect(await ok(["module", "list", ...as("observer")])).not.to.include("grumpy");
    expect(await ok(["module", "list", "--retired", "--json", ...as("observer")])).to.include(
      '"retired":true',
    );
    const bad = await run(["module", "propose", "grumpy.wasm", "--name", "x", "--level", "king"]);
    expect(bad.problems).to.include("--level must be guest, observer, operator, mentor or root");
  });

  it("is carried by a backup, found missing or altered by fsck, and back after a restore", async () => {
    await ok(["backup", "--to", "backup", ...as("root")]);
    await server?.stop();
    server = undefined;
    const [first = ""] = (await readdir(path("data", "modules"))).sort();
    const clean = await run(["fsck", "--data", "data"]);
    expect(clean.exitCode, clean.output).to.equal(0);
    const hello = hexOf(
      sha256(await readFile(join(import.meta.dirname, "../../generated/modules/hello.wasm"))),
    );
    const code = path("data", "modules", `${hello}.wasm`);
    await writeFile(code, "altered");
    const altered = await run(["fsck", "--data", "data", "--json"]);
    expect(altered.exitCode).to.equal(1);
    expect((JSON.parse(altered.output) as { problems: readonly Json[] }).problems).to.deep.equal([
      {
        position: "12",
        step: "module",
        rule: `the code of "module/hello" was altered: it must have the digest ${hello}`,
      },
    ]);
    await rm(code);
    expect((await run(["fsck", "--data", "data"])).output).to.include(
      'the code of "module/hello" is not here',
    );
    await ok(["restore", "--from", "backup", "--data", "again", "--kek", "file:data.kek"]);
    expect(await readdir(path("again", "modules")))
      .to.include(`${hello}.wasm`)
      .and.to.include(first);
    expect((await run(["fsck", "--data", "again"])).exitCode).to.equal(0);
    server = await servingHere(["serve", "--data", "again", ...freePorts], { cwd });
    const greeted = await ok(["module", "run", "hello", "--input-json", '{"name":"Bo"}', ...as("operator")]);
    expect(greeted).to.equal('{"greeting":"hello, Bo"}\n');
  });

  it("brings hello by a proposal to a deployment that was made before there were modules", async () => {
    const old = path("old");
    const facts = unpackFormat(2, old);
    const env = { [facts.kekName]: facts.kek };
    const migrated = await sigilHere(["migrate", "--data", "data"], { cwd: old, env });
    expect(migrated.exitCode, migrated.problems).to.equal(0);
    const hello = join(import.meta.dirname, "../../generated/modules/hello.wasm");
    await using older = await servingHere(["serve", "--data", "data", ...freePorts], {
      cwd: old,
      env,
    });
    const at = { SIGIL_CLIENT_SERVER: older.target };
    const there = (words: readonly string[]): Promise<Ended> => sigilHere(words, { cwd: old, env: at });
    const asOperator = ["--key", "operator.pem", "--principal", "operator"];
    const say = ["module", "run", "hello", "--input-json", '{"name":"A"}', ...asOperator];
    expect((await there(say)).problems).to.include("NOT_FOUND");
    const words = [
      "--name",
      "hello",
      "--level",
      "operator",
      "--json",
      "--key",
      "root.pem",
      "--principal",
      "root",
    ];
    const proposed = await there(["module", "propose", hello, ...words]);
    expect(proposed.exitCode, proposed.problems).to.equal(0);
    const { proposal } = JSON.parse(proposed.output) as { proposal: { id: string } };
    const attested = await there(["attest", proposal.id, "--key", "alice.pem", "--yes"]);
    expect(attested.exitCode, attested.problems).to.equal(0);
    expect((await there(say)).output).to.equal('{"greeting":"hello, A"}\n');
  });
});
