/** A backup in one file: gone on with, killed, damaged, and put together by somebody who means harm. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@sigil/client";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { create } from "tar";
import { freePorts, servingHere, sigilHere, type Ended, type Serving } from "./command.ts";

const mainPath = join(import.meta.dirname, "../../src/main.ts");
const asRoot = ["--key", "data.keys/root.pem", "--principal", "root"] as const;
type Json = Readonly<Record<string, unknown>>;

describe("a backup in one file", function () {
  this.slow(10_000);
  let cwd = "";
  let server: Serving | undefined;
  const env = () => ({ SIGIL_CLIENT_SERVER: server?.target ?? "127.0.0.1:1" });
  const run = (words: readonly string[]): Promise<Ended> => sigilHere(words, { cwd, env: env() });
  const ok = async (words: readonly string[]): Promise<string> => {
    const { output, problems, exitCode } = await run(words);
    expect(exitCode, problems).to.equal(0);
    return output;
  };
  const back = async (to: string): Promise<Json> =>
    JSON.parse(await ok(["backup", "--to", to, "--segment-kib", "64", "--json", ...asRoot])) as Json;
  const restore = (from: string, data: string): Promise<Ended> =>
    run(["restore", "--from", from, "--data", data, "--kek", "file:data.kek", "--json"]);
  const isThere = (name: string): Promise<boolean> =>
    access(join(cwd, name)).then(
      () => true,
      () => false,
    );
  const fill = async (from: number): Promise<void> => {
    using connection = connect({ target: server?.target ?? "", tls: "insecure", deadlineMs: 60_000 });
    const checks = Array.from({ length: 150 }, (_, index) => ({
      action: "read",
      target: `public/${from + index}/${"x".repeat(200)}`,
    }));
    await connection.trust.batchCheck({ checks });
  };
  const names = async (): Promise<readonly string[]> =>
    (await readdir(cwd)).filter((name) => !/^(?:data|stranger)/.test(name)).toSorted();

  before(async () => {
    cwd = await mkdtemp(join(tmpdir(), "sigil-backup-file-"));
    const made = await sigilHere(["init", "--data", "data", "--dev", "--origin", "file.test"], { cwd });
    expect(made.exitCode, made.problems).to.equal(0);
    server = await servingHere(["serve", "--data", "data", ...freePorts], { cwd });
  });

  after(async () => {
    await server?.stop();
    await rm(cwd, { recursive: true, force: true });
  });

  it("holds everything, and the second time takes only what is new", async () => {
    await fill(0);
    const first = await back("one.tar");
    expect(await names()).to.deep.equal(["one.tar"]);
    await fill(150);
    const second = await back("one.tar");
    expect(Number(second["added"])).to.equal(Number(second["size"]) - Number(first["size"]));
    expect(Number(second["added"])).to.equal(150);
    expect(await names()).to.deep.equal(["one.tar"]);
    const restored = await restore("one.tar", "data-restored");
    expect(restored.exitCode, restored.problems).to.equal(0);
    expect((JSON.parse(restored.output) as Json)["checkpoint"]).to.equal(second["checkpoint"]);
    await ok(["fsck", "--data", "data-restored"]);
    expect(await names()).to.deep.equal(["one.tar"]);
  });

  it("is the old one or the new one whenever it is killed, and is gone on with", async () => {
    let killed = 0;
    const words = ["backup", "--to", "one.tar", "--segment-kib", "64", ...asRoot];
    await fill(1000);
    for (const seen of ["one.tar.parts.new", "one.tar.new"]) {
      const child = spawn(process.execPath, [mainPath, ...words], {
        cwd,
        env: { ...process.env, ...env() },
        stdio: "ignore",
      });
      const closed = once(child, "close");
      while (child.exitCode === null && !(await isThere(seen)))
        await new Promise((resolve) => setTimeout(resolve, 1));
      child.kill("SIGKILL");
      await closed;
      if (child.signalCode === "SIGKILL") killed += 1;
      const restored = await restore("one.tar", `data-killed-${killed}-${seen.length}`);
      expect(restored.exitCode, restored.problems).to.equal(0);
    }
    expect(killed).to.be.greaterThan(0);
    const done = await back("one.tar");
    expect(await names()).to.deep.equal(["one.tar"]);
    const restored = await restore("one.tar", "data-after-kill");
    expect((JSON.parse(restored.output) as Json)["checkpoint"], restored.problems).to.equal(
      done["checkpoint"],
    );
  });

  it("is refused with a byte changed, cut short, or of another deployment", async () => {
    const whole = await readFile(join(cwd, "one.tar"));
    const middle = Math.floor(whole.length / 2);
    for (const [what, bytes] of [
      ["the first byte", whole.with(0, (whole[0] ?? 0) ^ 1)],
      ["a header's digit", whole.with(126, (whole[126] ?? 0) ^ 1)],
      ["a byte in the middle", whole.with(middle, (whole[middle] ?? 0) ^ 1)],
      ["half of it", whole.subarray(0, middle)],
      ["nothing", new Uint8Array(0)],
    ] as const) {
      await writeFile(join(cwd, "damaged.tar"), bytes);
      const refused = await restore("damaged.tar", "data-damaged");
      expect(refused.exitCode, what + refused.problems).to.equal(1);
      expect(refused.problems, what).to.include("damaged.tar is refused");
      expect(await isThere("data-damaged"), what).to.equal(false);
    }
    await rm(join(cwd, "damaged.tar"));
    await sigilHere(["init", "--data", "stranger", "--dev", "--origin", "file.test"], { cwd });
    await using other = await servingHere(["serve", "--data", "stranger", ...freePorts], { cwd });
    const caller = ["--key", "stranger.keys/root.pem", "--principal", "root", "--server", other.target];
    await cp(join(cwd, "one.tar"), join(cwd, "mixed.tar"));
    const refused = await run(["backup", "--to", "mixed.tar", ...caller]);
    expect(refused.exitCode).to.equal(2);
    expect(await readFile(join(cwd, "mixed.tar"))).to.deep.equal(whole);
  });

  it("puts nothing anywhere but the parts of a backup", async () => {
    await mkdir(join(cwd, "evil", "segments"), { recursive: true });
    await symlink("/etc", join(cwd, "evil", "segments", "1-2.seg"));
    await writeFile(join(cwd, "evil", "letter"), "dear");
    await writeFile(join(cwd, "outside"), "mine");
    const archives = [
      { name: "link.tar", path: "segments/1-2.seg" },
      { name: "letter.tar", path: "letter" },
      { name: "climb.tar", path: "../outside" },
    ];
    for (const { name, path } of archives) {
      await create({ file: join(cwd, name), cwd: join(cwd, "evil"), preservePaths: true }, [path]);
      const refused = await restore(name, "data-evil");
      expect(refused.exitCode, name).to.equal(1);
      expect(refused.problems, name).to.include(`${name} is refused`).and.include("no part of a backup");
      expect((await names()).filter((each) => each.endsWith("unpacked"))).to.deep.equal([]);
    }
    expect(await readFile(join(cwd, "outside"), "utf8")).to.equal("mine");
  });
});
