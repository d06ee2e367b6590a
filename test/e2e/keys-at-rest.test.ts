/** The key-encryption key from each of its sources, with every command that opens a data directory. */
import { expect } from "chai";
import { randomBytes } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "mocha";
import { runCommandLine } from "../../src/cli/command-line.ts";
import { loadConfig, serveUntilSignal } from "../../src/cli/deployment/serve.ts";
import { deploymentFormat } from "../../src/deployment/file.ts";
import { freePorts, sigilHere, type Ended } from "./command.ts";
import { person } from "./person.ts";

type Environment = Readonly<Record<string, string>>;

/** A command that opens the directory, with the words it takes besides. */
const commands: readonly (readonly [name: string, words: readonly string[]])[] = [
  ["serve", [...freePorts, "--log-level", "fatal"]],
  ["fsck", []],
  ["keys rewrap", ["--to", "file:next.kek"]],
];

let cwd: string;
const inDirectory = async (): Promise<void> => {
  cwd = await mkdtemp(join(tmpdir(), "sigil-at-rest-"));
};

const init = async (kek: string, env: Environment = {}): Promise<void> => {
  const words = ["init", "--data", "data", "--dev", "--origin", "sigil.test", "--kek", kek];
  const { exitCode, problems } = await sigilHere(words, { cwd, env });
  expect(exitCode, problems).to.equal(0);
};

const run = (command: string, words: readonly string[], env: Environment = {}): Promise<Ended> =>
  sigilHere([...command.split(" "), "--data", "data", ...words], { cwd, env });

/** Every file there is, by its path; nothing may be made, changed or taken away. */
const contents = async (): Promise<Readonly<Record<string, string>>> => {
  const entries = await readdir(cwd, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  return Object.fromEntries(
    await Promise.all(paths.map(async (path) => [path, await readFile(path, "hex")] as const)),
  );
};

const requireRefused = async (
  [command, words]: (typeof commands)[number],
  env: Environment,
  says: string,
): Promise<void> => {
  const before = await contents();
  const { exitCode, output, problems } = await run(command, words, env);
  expect(problems, command).to.include(says);
  expect([exitCode, output], command).to.deep.equal([2, ""]);
  expect(await contents(), command).to.deep.equal(before);
};

const replaceIn = async (path: string, found: string, by: string): Promise<void> => {
  const text = await readFile(join(cwd, path), "utf8");
  expect(text).to.include(found);
  await writeFile(join(cwd, path), text.replace(found, by));
};

const key = (): string => randomBytes(32).toString("base64");

describe("a wrong key-encryption key", () => {
  beforeEach(inDirectory);
  afterEach(() => rm(cwd, { recursive: true }));

  it("in a file is recognised by every command before anything is touched", async () => {
    await init("file:kek");
    await writeFile(join(cwd, "kek"), key());
    for (const command of commands) await requireRefused(command, {}, "does not open this data directory");
  });

  it("in the environment is recognised by every command before anything is touched", async () => {
    await init("env:SIGIL_KEK", { SIGIL_KEK: key() });
    const env = { SIGIL_KEK: key() };
    for (const command of commands) await requireRefused(command, env, "does not open this data directory");
    for (const command of commands.slice(1)) await requireRefused(command, {}, "SIGIL_KEK is not set");
  });

  it("from a passphrase is recognised by every command before anything is touched", async () => {
    await init("passphrase", { SIGIL_PASSPHRASE: "right" });
    const env = { SIGIL_PASSPHRASE: "wrong" };
    for (const command of commands) await requireRefused(command, env, "does not open this data directory");
    for (const command of commands) await requireRefused(command, {}, "set SIGIL_PASSPHRASE");
  });
});

describe("a newer format", () => {
  beforeEach(inDirectory);
  afterEach(() => rm(cwd, { recursive: true }));

  for (const [path, known] of [
    ["data/deployment.json", deploymentFormat],
    ["data/keys/record-1.json", 1],
  ] as const) {
    it(`of ${path} is refused by every command, with both versions named`, async () => {
      await init("file:kek");
      await replaceIn(path, `"format": ${known}`, '"format": 70');
      for (const command of commands)
        await requireRefused(command, {}, `format 70, this program knows up to ${known}`);
    });
  }

  it("is told from everything else, though all the rest of the file is another", async () => {
    await init("file:kek");
    await writeFile(join(cwd, "data/deployment.json"), JSON.stringify({ format: 70, name: "x" }));
    const says = `format 70, this program knows up to ${deploymentFormat}`;
    for (const command of commands) await requireRefused(command, {}, says);
  });
});

describe("a passphrase", () => {
  before(async () => {
    await inDirectory();
    await init("passphrase", { SIGIL_PASSPHRASE: "grün wie Öl" });
  });
  after(() => rm(cwd, { recursive: true }));

  const words = (): readonly string[] => ["--data", join(cwd, "data"), ...freePorts, "--log-level", "fatal"];

  it("is asked for where somebody serves at a terminal, and is not echoed", async () => {
    const { terminal, seen } = person(["grün wie Ölx\u007f\r"]);
    let served = false;
    await serveUntilSignal(loadConfig(words(), terminal), terminal, () => {
      served = true;
      process.emit("SIGTERM", "SIGTERM");
    });
    expect(served).to.equal(true);
    expect(seen.modes).to.deep.equal([true, false]);
    expect(seen.notes).to.deep.equal(["Passphrase of the key-encryption key:"]);
  });

  it("that is wrong or not typed at all ends the start with a sentence, the keyboard given back", async () => {
    for (const [typed, says] of [
      ["grün\r", "sigil: the key-encryption key from passphrase does not open this data directory"],
      ["\u0003", "sigil: key unavailable: no passphrase was typed"],
    ] as const) {
      const { terminal, seen } = person([typed]);
      expect(await runCommandLine(["serve", ...words()], terminal)).to.equal(2);
      expect(seen.notes.at(-1)).to.equal(says);
      expect(seen.modes).to.deep.equal([true, false]);
    }
  });

  it("is moved to another, the old one asked for once, the new one twice", async () => {
    const move = ["keys", "rewrap", "--data", join(cwd, "data"), "--to", "passphrase"];
    const slip = person(["grün wie Öl\r", "blau\r", "balu\r"]);
    expect(await runCommandLine(move, slip.terminal)).to.equal(2);
    expect(slip.seen.notes.at(-1)).to.include("the two passphrases differ");
    const { terminal, seen } = person(["grün wie Öl\r", "blau\r", "blau\r"]);
    expect(await runCommandLine(move, terminal), seen.notes.at(-1)).to.equal(0);
    expect(seen.notes.slice(0, 3)).to.deep.equal([
      "Passphrase of the key-encryption key:",
      "New passphrase of the key-encryption key:",
      "Once more:",
    ]);
    expect((await run("fsck", [], { SIGIL_PASSPHRASE: "grün wie Öl" })).exitCode).to.equal(2);
    expect((await run("fsck", [], { SIGIL_PASSPHRASE: "blau" })).output).to.include("CLEAN");
  });
});

describe("sigil keys rewrap", () => {
  beforeEach(inDirectory);
  afterEach(() => rm(cwd, { recursive: true }));

  it("moves from a file to the environment, to a passphrase and back to a file, each opening everything", async () => {
    await init("file:kek");
    const env = { SIGIL_KEK: key(), SIGIL_PASSPHRASE: "one", SIGIL_NEW_PASSPHRASE: "one" };
    for (const [at, to] of ["env:SIGIL_KEK", "passphrase", "file:next.kek"].entries()) {
      const moved = await run("keys rewrap", ["--to", to, "--json"], env);
      expect(moved.exitCode, moved.problems).to.equal(0);
      const kek = to.replace("file:", `file:${cwd}/`);
      expect(JSON.parse(moved.output)).to.include({ kek, keys: 3, leftBehind: null });
      expect((await run("fsck", [], env)).output).to.include("CLEAN");
      const kept = await readdir(join(cwd, "data"));
      expect(kept.sort()).to.deep.equal(["anchor", "deployment.json", `keys-${at + 2}`, "ledger", "modules"]);
    }
  });

  it("says what to keep, and prints nothing secret", async () => {
    const env = { SIGIL_KEK: key(), SIGIL_NEW_PASSPHRASE: "canary-77d0" };
    await init("env:SIGIL_KEK", env);
    const { output, problems } = await run("keys rewrap", ["--to", "passphrase"], env);
    expect(output).to.match(/key-encryption key +passphrase\nbefore +env:SIGIL_KEK\nkeys moved +3/);
    expect(problems).to.include("keep it as long as you keep them").and.to.include("Keep the passphrase");
    expect(output + problems)
      .to.not.include("canary-77d0")
      .and.to.not.include(env.SIGIL_KEK);
  });

  it("needs a source that it knows", async () => {
    await init("file:kek");
    for (const to of ["kms:x", "file:", "env:a b"]) {
      await requireRefused(
        ["keys rewrap", ["--to", to]],
        {},
        "must be file:PATH, env:NAME, passphrase or pkcs11:URI",
      );
    }
    await requireRefused(["keys rewrap", []], {}, "--to SOURCE is needed");
  });
});
