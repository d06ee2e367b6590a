/** Notices of changed files, and the slow look for those that nobody is told of. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { watchFiles } from "../../../src/rpc/transport/file-watch.ts";

const never = 3_600_000;

describe("watched files", () => {
  let root: string;
  beforeEach(() => (root = mkdtempSync(join(tmpdir(), "sigil-watch-"))));
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const heard = (paths: readonly string[], lookMs: number) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const faults: unknown[] = [];
    const watching = watchFiles({ paths, onChange: resolve, onFault: (cause) => faults.push(cause), lookMs });
    return { promise, faults, watching };
  };

  it("are told of when a link beside them is swapped, without any look", async () => {
    for (const version of ["1", "2"]) mkdirSync(join(root, version));
    symlinkSync("1", join(root, "..data"));
    const { promise, watching } = heard([join(root, "c.pem")], never);
    using _ = watching;
    symlinkSync("2", join(root, "..tmp"));
    renameSync(join(root, "..tmp"), join(root, "..data"));
    await promise;
  });

  it("are looked at though nothing is noticed: what changes behind a link elsewhere", async () => {
    mkdirSync(join(root, "here"));
    mkdirSync(join(root, "there"));
    symlinkSync("../there/c.pem", join(root, "here", "c.pem"));
    const { promise, watching } = heard([join(root, "here", "c.pem")], 20);
    using _ = watching;
    writeFileSync(join(root, "there", "c.pem"), "new");
    await promise;
  });

  it("are looked at where the system cannot watch, which is said", async () => {
    const { promise, faults, watching } = heard([join(root, "nowhere", "c.pem")], 20);
    using _ = watching;
    await promise;
    expect(faults).to.have.lengthOf(1);
  });
});
