/**
 * A real disk that fills up, under the real store: a small tmpfs. The ledger acknowledges, the disk is full, space is
 * freed, the same process acknowledges again, is killed, and has lost nothing. Needs leave to mount.
 */
import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { describeDeployment } from "../../src/deployment/open.ts";
import { runFsck } from "../../src/ledger/fsck/fsck.ts";
import { createDeployment, openOptions } from "../campaigns/deployment.ts";
import { Oracle } from "../campaigns/oracle.ts";

const mib = 1 << 20;
const diskBytes = 104 * mib;
/** Given back when the disk is full: room to reopen the database, which rewrites its log, and to go on. */
const ballastBytes = 40 * mib;
/** Given back after the kill: the load may have filled the disk once more, and then nothing could open. */
const reserveBytes = 24 * mib;

const mount = (path: string): string | undefined => {
  const options = `size=${diskBytes},mode=0700`;
  const { status, stderr, error } = spawnSync("mount", ["-t", "tmpfs", "-o", options, "sigil-test", path]);
  return status === 0 ? undefined : (error?.message ?? stderr.toString().trim());
};

const fill = async (path: string, bytes: number): Promise<void> => {
  const file = await open(path, "w", 0o600);
  try {
    for (let written = 0; written < bytes; written += mib) await file.write(new Uint8Array(mib));
  } finally {
    await file.close();
  }
};

describe("a disk that is full (a small tmpfs)", () => {
  let disk = "";
  let refusedToMount: string | undefined;
  before(async () => {
    disk = await mkdtemp(join(tmpdir(), "sigil-disk-full-"));
    refusedToMount = mount(disk);
  });
  after(async () => {
    if (refusedToMount === undefined) spawnSync("umount", [disk]);
    await rm(disk, { recursive: true, force: true });
  });

  it("costs nothing that was acknowledged: before, while it was full, after it was freed, and after a kill", async function () {
    if (refusedToMount !== undefined) {
      console.log(`      skipped, a tmpfs cannot be mounted here: ${refusedToMount}`);
      return this.skip();
    }
    const root = join(disk, "root");
    await mkdir(root, { mode: 0o700 });
    const ballast = join(disk, "ballast");
    const reserve = join(disk, "reserve");
    await fill(ballast, ballastBytes);
    await fill(reserve, reserveBytes);
    await createDeployment(root);
    const oracle = new Oracle(root);
    const worker = oracle.start({ appenders: 8, payloadBytes: 64 << 10, earlier: "all" });

    expect(await worker.said("ack")).to.be.a("string");
    // A batch, the anchor or a new tenant's key: one of them is the first that finds no room.
    expect([await worker.said("fault "), ...oracle.wrongs].join("; ")).to.match(
      /^fault (indeterminate|notServing|storeFailed)$/,
    );
    const whileFull = oracle.acknowledged;
    expect(whileFull).to.be.greaterThan(100);

    await rm(ballast);
    // The same process, by itself: reopened, checked, serving.
    for (let count = 0; count < 40; count += 1) expect(await worker.said("ack")).to.be.a("string");
    expect(oracle.acknowledged).to.be.greaterThan(whileFull);
    worker.process.kill("SIGKILL");
    await worker.ended;
    await rm(reserve);

    const checker = oracle.start({ appenders: 0, payloadBytes: 0, earlier: "all" });
    const checked = checker.said("checked");
    await checker.ended;
    expect(oracle.wrongs).to.deep.equal([]);
    expect(await checked).to.equal(`checked ${oracle.acknowledged}`);
    const report = await runFsck(await describeDeployment(openOptions(root)));
    expect(report.problems).to.deep.equal([]);
  });
});
