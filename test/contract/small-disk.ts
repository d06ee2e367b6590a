/** A real disk of some bytes that tests can fill: a tmpfs. Needs leave to mount. */
import { spawnSync } from "node:child_process";
import { mkdtemp, rm, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export type SmallDisk = AsyncDisposable & {
  readonly path: string;
  /** Why it cannot be mounted here. */
  readonly refused: string | undefined;
  /** Leaves `leftBytes` of it. */
  readonly fill: (leftBytes: number) => Promise<void>;
  readonly makeRoom: () => Promise<void>;
};

export const mountDisk = async (bytes: number): Promise<SmallDisk> => {
  const path = await mkdtemp(join(tmpdir(), "sigil-full-"));
  const options = `size=${bytes},mode=0700`;
  const { status, stderr, error } = spawnSync("mount", ["-t", "tmpfs", "-o", options, "sigil-test", path]);
  const ballast = join(path, "ballast");
  return {
    path,
    refused: status === 0 ? undefined : (error?.message ?? stderr.toString().trim()),
    fill: async (leftBytes) => {
      const { bavail, bsize } = await statfs(path);
      await writeFile(ballast, Buffer.alloc(Math.max(0, bavail * bsize - leftBytes)));
    },
    makeRoom: () => rm(ballast),
    [Symbol.asyncDispose]: async () => {
      if (status === 0) spawnSync("umount", [path]);
      await rm(path, { recursive: true, force: true });
    },
  };
};

/** Says why, and ends the test, where it could not be mounted. */
export const skipWithoutDisk = ({ refused }: SmallDisk, context: Mocha.Context): void => {
  if (refused === undefined) return;
  console.log(`      skipped, a tmpfs cannot be mounted here: ${refused}`);
  context.skip();
};
