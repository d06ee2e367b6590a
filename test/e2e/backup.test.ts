/**
 * Backup and restore as an operator does them: from the command line, under load, killed, damaged, on another machine.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type SigilConnection } from "@sigil/client";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { freePorts, servingHere, sigilHere, type Ended, type Serving } from "./command.ts";

const mainPath = join(import.meta.dirname, "../../src/main.ts");
const asRoot = ["--key", "data.keys/root.pem", "--principal", "root"] as const;

type Json = Readonly<Record<string, unknown>>;

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const pauseMs = 20;

/** Guests who ask one thing after the other, with a pause so that a slow copy is not outrun, until told to stop. */
const load = (target: string): { readonly stop: () => Promise<readonly string[]> } => {
  const connection = connect({ target, tls: "insecure" });
  const auditIds: string[] = [];
  let stopping = false;
  const ask = async (guest: number): Promise<void> => {
    for (let turn = 0; !stopping; turn += 1) {
      const idempotencyKey = turn % 4 === 0 ? `${guest}/${turn}/${auditIds.length}` : "";
      const input = { action: "read", target: `public/${guest}/${turn}`, idempotencyKey };
      auditIds.push((await connection.trust.check(input)).auditId);
      await wait(pauseMs);
    }
  };
  const guests = Array.from({ length: 8 }, (_, guest) => ask(guest));
  return {
    stop: async () => {
      stopping = true;
      await Promise.all(guests);
      connection.close();
      return auditIds;
    },
  };
};

describe("backup and restore", function () {
  this.slow(20_000);
  let cwd = "";
  let server: Serving | undefined;
  let acknowledged: readonly string[] = [];
  let earlyCheckpoint = "";
  const path = (...names: readonly string[]): string => join(cwd, ...names);
  const env = () => ({ SIGIL_CLIENT_SERVER: server?.target ?? "127.0.0.1:1" });
  const run = (words: readonly string[]): Promise<Ended> => sigilHere(words, { cwd, env: env() });
  const ok = async (words: readonly string[]): Promise<string> => {
    const { output, problems, exitCode } = await run(words);
    expect(exitCode, problems).to.equal(0);
    return output;
  };
  const back = async (to: string, more: readonly string[] = []): Promise<Json> =>
    JSON.parse(await ok(["backup", "--to", to, "--json", ...more, ...asRoot])) as Json;
  const restore = (from: string, data: string, more: readonly string[] = []): Promise<Ended> =>
    run(["restore", "--from", from, "--data", data, "--json", ...more]);
  const isThere = (name: string): Promise<boolean> =>
    readdir(path(name)).then(
      () => true,
      () => false,
    );

  before(async () => {
    cwd = await mkdtemp(join(tmpdir(), "sigil-backup-"));
    const made = await sigilHere(["init", "--data", "data", "--dev", "--origin", "backup.test"], { cwd });
    expect(made.exitCode, made.problems).to.equal(0);
    server = await servingHere(["serve", "--data", "data", ...freePorts], { cwd });
  });

  after(async () => {
    await server?.stop();
    await rm(cwd, { recursive: true, force: true });
  });

  it("copies a server under load, and the second time only what is new", async () => {
    const asking = load(server?.target ?? "");
    await wait(400);
    const first = await back("backup");
    earlyCheckpoint = String(first["checkpoint"]);
    await wait(400);
    const second = await back("backup");
    acknowledged = await asking.stop();
    const third = await back("backup");
    const [size1, size2, size3] = [first, second, third].map(({ size }) => Number(size));
    expect(size1).to.be.greaterThan(10);
    expect(size2).to.be.greaterThan(size1 ?? 0);
    expect(Number(second["added"])).to.equal((size2 ?? 0) - (size1 ?? 0));
    // Everything acknowledged before the third began is in it: its decisions and the genesis group.
    expect(size3).to.be.at.least(acknowledged.length);
    expect(await readdir(path("backup", "segments"))).to.have.length.within(2, 3);
    expect((await readdir(path("backup"))).toSorted()).to.deep.equal([
      "manifest.json",
      "segments",
      "state-3",
    ]);
    const kek = await readFile(path("data.kek"), "utf8");
    for (const name of await readdir(path("backup"), { recursive: true, withFileTypes: true })) {
      if (!name.isFile()) continue;
      const content = await readFile(join(name.parentPath, name.name), "latin1");
      expect(content.includes(kek.trim()), `the key is in ${name.name}`).to.equal(false);
    }
  });

  it("takes Root of tenant system", async () => {
    const refused = await run([
      "backup",
      "--to",
      "other",
      "--key",
      "data.keys/admin.pem",
      "--principal",
      "admin",
    ]);
    expect(refused.exitCode).to.equal(2);
    expect(refused.problems).to.include("PERMISSION_DENIED");
  });

  it("refuses to go on with the backup of another deployment", async () => {
    await sigilHere(["init", "--data", "stranger", "--dev", "--origin", "backup.test"], { cwd });
    await using other = await servingHere(["serve", "--data", "stranger", ...freePorts], { cwd });
    const caller = ["--key", "stranger.keys/root.pem", "--principal", "root", "--server", other.target];
    const refused = await run(["backup", "--to", "backup", ...caller]);
    expect(refused.exitCode).to.equal(2);
    expect(refused.problems).to.match(/OUT_OF_RANGE|another genesis record/);
  });

  it("restores on another machine with nothing but the backup and the key", async () => {
    await mkdir(path("elsewhere"));
    await cp(path("backup"), path("elsewhere", "backup"), { recursive: true });
    await cp(path("data.kek"), path("elsewhere", "moved.kek"));
    await server?.stop();
    server = undefined;
    await rename(path("data"), path("lost"));
    await rename(path("data.kek"), path("lost.kek"));
    const restored = await restore("elsewhere/backup", "elsewhere/data", [
      "--kek",
      "file:elsewhere/moved.kek",
    ]);
    expect(restored.exitCode, restored.problems).to.equal(0);
    const facts = JSON.parse(restored.output) as Json;
    const clean = JSON.parse(await ok(["fsck", "--data", "elsewhere/data", "--json"])) as Json;
    expect(clean["ok"]).to.equal(true);
    expect(Number(clean["size"])).to.equal(Number(facts["size"]) + 1);
    server = await servingHere(["serve", "--data", "elsewhere/data", ...freePorts], { cwd });
    for (const auditId of [acknowledged[0], acknowledged.at(-1)]) {
      await ok(["audit", "verify", auditId ?? ""]);
    }
    const records = await ok(["canon", "list", "--system", "--prefix", "restoration/", "--json", ...asRoot]);
    const id = /restoration\/[0-9a-f-]{36}/.exec(records)?.[0] ?? "";
    const payload = JSON.parse(await ok(["canon", "get", id, "--system", ...asRoot])) as Json;
    expect(Number(payload["size"])).to.equal(Number(facts["size"]));
    expect(payload["checkpoint"]).to.equal(facts["checkpoint"]);
    expect(payload["backup"]).to.equal(facts["backup"]);
  });

  it("goes on with a backup of what it restored", async () => {
    const next = await back("elsewhere/backup");
    expect(Number(next["added"])).to.be.at.least(1);
  });

  it("restores a ledger whose signing keys were replaced", async () => {
    for (const role of ["record", "checkpoint"]) await ok(["keys", "rotate", role, ...asRoot]);
    const made = await back("elsewhere/backup");
    const more = ["--kek", "file:elsewhere/moved.kek"];
    const restored = await restore("elsewhere/backup", "rotated", more);
    expect(restored.exitCode, restored.problems).to.equal(0);
    expect((JSON.parse(restored.output) as Json)["checkpoint"]).to.equal(made["checkpoint"]);
    await ok(["fsck", "--data", "rotated"]);
  });

  it("leaves a directory with something in it alone", async () => {
    const refused = await restore("backup", "lost", ["--kek", "file:lost.kek"]);
    expect(refused.exitCode).to.equal(2);
    expect(refused.problems).to.include("is not empty");
  });

  it("recognises a wrong key before it copies anything", async () => {
    const refused = await restore("backup", "fresh", ["--kek", "file:stranger.kek"]);
    expect(refused.exitCode).to.equal(2);
    expect(refused.problems).to.include("does not open");
    expect(await isThere("fresh")).to.equal(false);
    expect(await isThere("fresh.partial")).to.equal(false);
  });

  it("refuses a backup behind a later checkpoint, naming both sizes", async () => {
    await writeFile(path("later"), await ok(["audit", "checkpoint"]));
    const refused = await restore("backup", "fresh", ["--kek", "file:lost.kek", "--not-before", "later"]);
    expect(refused.exitCode).to.equal(1);
    expect(refused.problems).to.match(
      /ends at size \d+ \(root [0-9a-f]{64}\), .* of size \d+ \(root [0-9a-f]{64}\)/,
    );
    expect(await isThere("fresh")).to.equal(false);
  });

  it("refuses a backup of another past, naming both roots", async () => {
    const [origin, size] = earlyCheckpoint.split("\n");
    const forged = earlyCheckpoint.replace(
      `${origin}\n${size}\n${earlyCheckpoint.split("\n")[2]}`,
      `${origin}\n${size}\n${Buffer.alloc(32, 7).toString("base64")}`,
    );
    await writeFile(path("forged"), forged);
    const refused = await restore("backup", "fresh", ["--kek", "file:lost.kek", "--not-before", "forged"]);
    expect(refused.exitCode, refused.problems).to.equal(1);
    expect(refused.problems).to.include(`at size ${size} has the root`).and.to.include("07".repeat(32));
    expect(await isThere("fresh")).to.equal(false);
  });

  it("restores a backup that holds the checkpoint shown", async () => {
    await writeFile(path("early"), earlyCheckpoint);
    const restored = await restore("backup", "again", ["--kek", "file:lost.kek", "--not-before", "early"]);
    expect(restored.exitCode, restored.problems).to.equal(0);
  });

  it("leaves no directory when it is killed, and begins anew", async () => {
    const words = ["restore", "--from", "backup", "--data", "anew", "--kek", "file:lost.kek"];
    const child = spawn(process.execPath, [mainPath, ...words], { cwd });
    const closed = once(child, "close");
    while (child.exitCode === null && !(await isThere("anew.partial/ledger"))) await wait(1);
    child.kill("SIGKILL");
    await closed;
    expect(child.signalCode).to.equal("SIGKILL");
    expect(await isThere("anew")).to.equal(false);
    await writeFile(path("anew.partial", "letter"), "dear");
    expect((await run(words)).problems).to.include("anew.partial is not empty");
    await rm(path("anew.partial", "letter"));
    const restored = await run(words);
    expect(restored.exitCode, restored.problems).to.equal(0);
    expect(await isThere("anew.partial")).to.equal(false);
  });

  it("refuses a flipped byte anywhere", async () => {
    const files = (await readdir(path("backup"), { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
    expect(files.length).to.be.greaterThan(6);
    for (const file of files) {
      const whole = await readFile(file);
      for (const offset of new Set([0, Math.floor(whole.length / 2), whole.length - 1])) {
        if (whole.length === 0) continue;
        const flipped = Uint8Array.from(whole);
        flipped[offset] = (flipped[offset] ?? 0) ^ 1;
        await writeFile(file, flipped);
        const refused = await restore("backup", "fresh", ["--kek", "file:lost.kek"]);
        expect(refused.exitCode, `byte ${offset} of ${file}`).to.be.oneOf([1, 2]);
        expect(refused.problems).to.match(/is refused|has format/);
        expect(await isThere("fresh")).to.equal(false);
      }
      await writeFile(file, whole);
    }
    expect((await restore("backup", "fresh", ["--kek", "file:lost.kek"])).exitCode).to.equal(0);
  });

  it("brings the key along when asked to", async () => {
    await cp(path("elsewhere", "moved.kek"), path("kept.kek"));
    const made = await run(["backup", "--to", "keyed", "--with-kek", ...asRoot]);
    expect(made.exitCode, made.problems).to.equal(0);
    const restored = await restore("keyed", "keyed-data");
    expect(restored.exitCode, restored.problems).to.equal(0);
    expect(await readFile(path("keyed-data.kek"))).to.deep.equal(await readFile(path("kept.kek")));
    await ok(["fsck", "--data", "keyed-data"]);
    await cp(path("stranger.kek"), path("taken.kek"));
    const refused = await restore("keyed", "taken");
    expect(refused.problems).to.include("taken.kek is another key");
    expect(await readFile(path("taken.kek"))).to.deep.equal(await readFile(path("stranger.kek")));
  });

  it("goes on after being killed at any moment", async () => {
    const fill = async (connection: SigilConnection, from: number): Promise<void> => {
      const checks = Array.from({ length: 500 }, (_, index) => ({
        action: "read",
        target: `public/${from + index}/${"x".repeat(200)}`,
      }));
      await connection.trust.batchCheck({ checks });
    };
    using connection = connect({ target: server?.target ?? "", tls: "insecure", deadlineMs: 60_000 });
    // More segments than the kills below let through.
    for (let from = 0; from < 2000; from += 500) await fill(connection, from);
    const words = ["backup", "--to", "killed", "--segment-kib", "64", ...asRoot];
    let killed = 0;
    // What the manifest lists is kept; a file that it does not list yet goes with the next run.
    const segments = (): Promise<number> =>
      readFile(path("killed", "manifest.json"), "utf8").then(
        (text) => (JSON.parse(text) as { readonly segments: readonly unknown[] }).segments.length,
        () => 0,
      );
    for (const more of [0, 1, 1, 1, 1, 1]) {
      const held = await segments();
      const child = spawn(process.execPath, [mainPath, ...words], { cwd, env: { ...process.env, ...env() } });
      const closed = once(child, "close");
      // Once while it starts, then as soon as so much more of it counts: after a time a fast machine would be done.
      if (more === 0) await Promise.race([wait(250), closed]);
      while (child.exitCode === null && (await segments()) < held + more) await wait(1);
      child.kill("SIGKILL");
      await closed;
      if (child.signalCode === "SIGKILL") killed += 1;
    }
    expect(killed).to.be.greaterThan(0);
    expect(await segments()).to.be.greaterThan(0);
    const done = await back("killed", ["--segment-kib", "64"]);
    expect((await readdir(path("killed", "segments"))).length).to.be.greaterThan(1);
    const restored = await restore("killed", "after-kill", ["--kek", "file:elsewhere/moved.kek"]);
    expect(restored.exitCode, restored.problems).to.equal(0);
    expect((JSON.parse(restored.output) as Json)["checkpoint"]).to.equal(done["checkpoint"]);
  });
});
