/** A deployment whose keys are on a PKCS #11 token, from the command line: made, served, rotated, backed up, moved. */
import { expect } from "chai";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, before, beforeEach, describe, it } from "mocha";
import { skipWithoutToken, useSoftHsm, type SoftHsm } from "../contract/softhsm.ts";
import { runCommandLine } from "../../src/cli/command-line.ts";
import { freePorts, running, sigilHere, type Ended } from "./command.ts";
import { person } from "./person.ts";

const pin = "canary-5d81-pin";
const kek = "pkcs11:token=one;object=kek";
const custody = "pkcs11:token=one;object=keys";
const asRoot = ["--key", "data.keys/root.pem", "--principal", "root"];

let hsm: SoftHsm;
let cwd: string;
const tokens = { one: pin, two: "2222" };
const withPin = { SIGIL_PKCS11_PIN: pin };

const run = (words: readonly string[], env: Readonly<Record<string, string>> = withPin): Promise<Ended> =>
  sigilHere(words, { cwd, env: { SIGIL_PKCS11_MODULE: hsm.library, ...env } });

const ok = async (words: readonly string[], env = {}): Promise<Ended> => {
  const ended = await run(words, { ...withPin, ...env });
  expect(ended.exitCode, ended.problems).to.equal(0);
  expect(ended.output + ended.problems).to.not.include(pin);
  return ended;
};

const init = (more: readonly string[]): Promise<Ended> =>
  ok(["init", "--data", "data", "--dev", "--origin", "token.test", "--json", ...more]);

const path = (...names: readonly string[]): string => join(cwd, ...names);

type File = Record<string, unknown> & { kek: Record<string, unknown> };
const readDescription = async (): Promise<File> =>
  JSON.parse(await readFile(path("data", "deployment.json"), "utf8")) as File;

/** Everything in the working directory, and how many objects there are on the tokens. */
const contents = async () => {
  const entries = await readdir(cwd, { recursive: true, withFileTypes: true });
  const paths = entries.filter((each) => each.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  const files = await Promise.all(paths.map(async (each) => [each, await readFile(each, "hex")] as const));
  return { files: Object.fromEntries(files), objects: await hsm.objects() };
};

const serve = async (env: Readonly<Record<string, string>> = {}) => {
  const server = running(["serve", "--data", "data", ...freePorts, "--log-level", "debug"], {
    cwd,
    env: { ...hsm.env, ...withPin, ...env },
  });
  const log = await server.printed(/"msg":"serving"/);
  const { target } = JSON.parse(log.split("\n").find((line) => line.includes('"serving"')) ?? "{}") as {
    readonly target: string;
  };
  return {
    client: { SIGIL_CLIENT_SERVER: target },
    stop: async (): Promise<string> => {
      expect(await server.end("SIGTERM")).to.equal(0);
      return server.printed(/./);
    },
  };
};

describe("keys on a PKCS #11 token", function () {
  this.slow(10_000);

  before(async function () {
    skipWithoutToken(this);
  });
  beforeEach(async () => {
    hsm = await useSoftHsm({ tokens });
    cwd = await mkdtemp(join(tmpdir(), "sigil-token-e2e-"));
  });
  afterEach(async () => {
    await hsm.remove();
    await rm(cwd, { recursive: true });
  });

  it("are made there, sign and rotate while the server serves, and never lie in a file", async () => {
    const made = JSON.parse((await init(["--kek", kek, "--custody", custody])).output) as File;
    expect(made).to.include({ kek, custody });
    expect(await readDescription()).to.include({ custody });
    const server = await serve();
    await ok(["keys", "rotate", "record", ...asRoot], server.client);
    await ok(["keys", "rotate", "checkpoint", ...asRoot], server.client);
    await ok(["check", "--action", "read", "--target", "public/page", ...asRoot], server.client);
    const walked = await ok(["keys", "walk", "--genesis", String(made["genesis"]), "--json"], server.client);
    const states = (JSON.parse(walked.output) as { readonly keys: readonly { readonly state: string }[] })
      .keys;
    expect(states.map(({ state }) => state)).to.deep.equal(["ended", "ended", "active", "active"]);
    expect(await server.stop()).to.not.include(pin);
    // An AES key and two pairs: the pairs that have ended are gone.
    expect(await hsm.objects()).to.equal(5);
    expect((await ok(["fsck", "--data", "data"])).output).to.include("CLEAN");
    expect(await readdir(path("data", "keys"))).to.deep.equal(["data"]);
    await (await serve()).stop();
  });

  it("sign no checkpoint by ML-DSA-44: a start that is told to says so, and one whose keys are in files does", async () => {
    await init(["--kek", kek, "--custody", custody]);
    const before = await contents();
    const words = ["serve", ...freePorts, "--checkpoint-mldsa44", "--data"];
    const refused = await run([...words, "data"]);
    expect([refused.exitCode, refused.problems]).to.deep.equal([
      2,
      "sigil: config checkpoint_mldsa44: needs signing keys in files: this deployment's are on a PKCS #11 token\n",
    ]);
    expect(await contents()).to.deep.equal(before);
    // The key-encryption key on a token wraps such a key like any other.
    await ok(["init", "--data", "filed", "--dev", "--origin", "token.test", "--kek", kek]);
    for (const _ of ["made", "opened again"]) {
      const server = running([...words, "filed", "--log-level", "debug"], {
        cwd,
        env: { ...hsm.env, ...withPin, SIGIL_PKCS11_MODULE: hsm.library },
      });
      await server.printed(/"msg":"serving"/);
      expect(await server.end("SIGTERM")).to.equal(0);
    }
    expect(await readdir(path("filed", "keys"))).to.include("checkpoint_mldsa44-1.json");
    expect((await ok(["fsck", "--data", "filed"])).output).to.include("CLEAN");
  });

  it("are in no backup, and a restore finds them on the token", async () => {
    await init(["--kek", kek, "--custody", custody]);
    const server = await serve();
    const backup = ["backup", "--to", "old", ...asRoot];
    expect((await ok(backup, server.client)).problems).to.include("The signing keys are on a token");
    const keyed = await run([...backup, "--with-kek"], { ...withPin, ...server.client });
    expect([keyed.exitCode, keyed.problems.includes("--with-kek takes a key in a file")]).to.deep.equal([
      2,
      true,
    ]);
    const restore = ["restore", "--from", "old", "--data"];
    await ok(["keys", "rotate", "record", ...asRoot], server.client);
    await ok(["backup", "--to", "new", ...asRoot], server.client);
    await server.stop();
    const held = (await readdir(path("new"), { recursive: true })).filter((name) => name.endsWith(".json"));
    expect(held.filter((name) => /record-|checkpoint-/.test(name))).to.deep.equal([]);

    // The key that the older one's ledger ends with was destroyed by the rotation.
    const late = await run([...restore, "late"]);
    expect([late.exitCode, late.output]).to.deep.equal([2, ""]);
    expect(late.problems).to.match(/the record key \S+ is not on the token: it is missing/);
    const wrongWay = await run(["restore", "--from", "new", "--data", "late", "--custody", "file"]);
    expect(wrongWay.problems).to.include("has its signing keys on a token");
    const elsewhere = await run(
      ["restore", "--from", "new", "--data", "late", "--custody", "pkcs11:token=two"],
      {
        SIGIL_PKCS11_PIN: "2222",
      },
    );
    expect(elsewhere.exitCode).to.equal(2);
    expect(await readdir(cwd)).to.not.include("late");
    const uri = `pkcs11:token=one?module-path=${hsm.library}`;
    await ok(["restore", "--from", "new", "--data", "restored", "--custody", uri]);
    expect(await readFile(path("restored", "deployment.json"), "utf8")).to.include(`token=one;object=keys?`);
    expect((await ok(["fsck", "--data", "restored"])).output).to.include("CLEAN");
  });

  it("wrong in any way, are recognised by every command before anything is touched", async () => {
    await init(["--kek", kek, "--custody", custody]);
    const whole = await readDescription();
    const commands: readonly (readonly string[])[] = [
      ["serve", "--data", "data", ...freePorts, "--log-level", "fatal"],
      ["fsck", "--data", "data"],
      ["keys", "rewrap", "--data", "data", "--to", "file:next.kek"],
    ];
    const withKek = (source: string): File => ({ ...whole, kek: { ...whole.kek, source } });
    await ok([
      "init",
      "--data",
      "other",
      "--dev",
      "--origin",
      "o",
      "--kek",
      "pkcs11:token=one;object=another",
    ]);
    const cases: readonly (readonly [
      says: string,
      description: File,
      env: Readonly<Record<string, string>>,
    ])[] = [
      ["token=one: the PIN is wrong", whole, { SIGIL_PKCS11_PIN: "4711471147" }],
      ["token=one: it needs its PIN: set SIGIL_PKCS11_PIN", whole, {}],
      ["there is no such token; there is", withKek("pkcs11:token=three;object=kek"), withPin],
      ['there is no object "gone" on it', withKek("pkcs11:token=one;object=gone"), withPin],
      ["it must be an AES key of 32 bytes", withKek("pkcs11:token=one;object=keys%2Frecord%2F1"), withPin],
      ["does not open this data directory", withKek("pkcs11:token=one;object=another"), withPin],
    ];
    for (const [says, description, env] of cases) {
      await writeFile(path("data", "deployment.json"), JSON.stringify(description));
      const before = await contents();
      for (const words of commands) {
        const { exitCode, output, problems } = await run(words, env);
        expect(problems, words.join(" ")).to.include(says);
        expect([exitCode, output], words.join(" ")).to.deep.equal([2, ""]);
        expect(problems).to.not.include("4711471147");
      }
      expect(await contents(), says).to.deep.equal(before);
    }
    const lost: File = { ...whole, custody: "pkcs11:token=one;object=others" };
    await writeFile(path("data", "deployment.json"), JSON.stringify(lost));
    for (const words of commands.slice(0, 2)) {
      expect((await run(words)).problems).to.include("key unavailable: there is no record key");
    }
  });

  it("are refused on a token that cannot do Ed25519, which says what it needs", async () => {
    // The first of such a list is passed over by the library.
    const lacking = "-CKM_MD5,CKM_EDDSA";
    const says =
      "cannot do Ed25519: it needs the mechanisms CKM_EC_EDWARDS_KEY_PAIR_GEN, CKM_EDDSA and lacks CKM_EDDSA";
    await hsm.setMechanisms(lacking);
    const words = ["init", "--data", "data", "--dev", "--origin", "token.test", "--kek", "file:kek"];
    const refused = await run([...words, "--custody", custody]);
    expect([refused.exitCode, refused.problems.includes(says)], refused.problems).to.deep.equal([2, true]);
    expect(await readdir(path("data"))).to.deep.equal([]);
    await hsm.setMechanisms("ALL");
    await init(["--kek", "file:kek", "--custody", custody]);
    await hsm.setMechanisms(lacking);
    const before = await contents();
    const start = await run(["serve", "--data", "data", ...freePorts, "--log-level", "fatal"]);
    expect([start.exitCode, start.problems.includes(says)]).to.deep.equal([2, true]);
    expect(await contents()).to.deep.equal(before);
    await hsm.setMechanisms("-CKM_MD5,CKM_AES_GCM");
    const wrapping = await run(["keys", "rewrap", "--data", "data", "--to", kek]);
    expect(wrapping.problems).to.include("cannot do AES-GCM: it needs the mechanisms CKM_AES_GCM and lacks");
  });

  it("are opened with a PIN that is typed once, and not shown", async () => {
    await init(["--kek", kek, "--custody", custody]);
    const typed = person([`${pin}\r`], { SIGIL_PKCS11_MODULE: hsm.library });
    expect(await runCommandLine(["fsck", "--data", path("data")], typed.terminal)).to.equal(0);
    expect(typed.seen.notes).to.deep.equal(["PIN of the token token=one:"]);
    expect(typed.seen.modes).to.deep.equal([true, false]);
    const nobody = person(["\u0003"], { SIGIL_PKCS11_MODULE: hsm.library });
    expect(await runCommandLine(["fsck", "--data", path("data")], nobody.terminal)).to.equal(2);
    expect(nobody.seen.notes.at(-1)).to.equal("sigil: key unavailable: no PIN was typed");
  });

  it("take no PIN in their URI, and repeat none", async () => {
    for (const flag of ["--kek", "--custody"]) {
      const uri = `${kek}?pin-value=${pin}`;
      const { exitCode, problems } = await run(["init", "--data", "data", "--dev", flag, uri]);
      expect([exitCode, problems.includes("must not hold the PIN")], problems).to.deep.equal([2, true]);
      expect(problems).to.not.include(pin);
    }
    expect(await readdir(cwd)).to.deep.equal([]);
  });
});
