/** Who may read a private file: a table over modes, owners and groups. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { accessOf, describeShared, ownHolder } from "../../../src/crypto/files/file-access.ts";

const self = { uid: 1000, gids: [1000, 2000] };

describe("access to a private file", () => {
  const table: readonly (readonly [string, number, number, number, "owner" | "group" | "others"])[] = [
    ["its owner's alone", 0o600, 1000, 1000, "owner"],
    ["read-only", 0o400, 1000, 3000, "owner"],
    ["a file after fsGroup", 0o660, 1000, 2000, "group"],
    ["a directory after fsGroup, setgid", 0o2770, 1000, 2000, "group"],
    ["a mounted Secret", 0o440, 0, 2000, "group"],
    ["of the process's first group", 0o640, 1000, 1000, "group"],
    ["of a group the process is not in", 0o640, 1000, 3000, "others"],
    ["of root, in a group the process is not in", 0o440, 0, 0, "others"],
    ["of somebody else, in a group of ours", 0o440, 1001, 2000, "others"],
    ["readable by everybody", 0o644, 1000, 2000, "others"],
    ["a Secret with the usual mode", 0o444, 0, 2000, "others"],
    ["executable by everybody alone", 0o701, 1000, 2000, "others"],
    ["a directory that everybody may list", 0o2775, 0, 2000, "others"],
    ["writable by everybody, whatever the sticky bit", 0o1772, 1000, 2000, "others"],
  ];
  for (const [what, mode, uid, gid, kind] of table) {
    it(`of ${what} (${mode.toString(8)}) is ${kind}`, () => {
      const expected = kind === "group" ? { kind, gid } : { kind };
      // The kind of file stands above the mode's bits.
      for (const type of [0o100000, 0o040000]) {
        expect(accessOf({ mode: type | mode, uid, gid }, self)).to.deep.equal(expected);
      }
    });
  }

  it("knows the process by its effective user and all its groups", () => {
    const { uid, gids } = ownHolder();
    expect(uid).to.equal(process.geteuid?.());
    expect(gids)
      .to.include(process.getegid?.())
      .and.to.include.members(process.getgroups?.() ?? []);
  });

  it("is said with the path and the group", () => {
    expect(describeShared({ path: "/a", gid: 2000, entries: 1 })).to.equal(
      "/a is open to group 2000, which this process is in",
    );
    expect(describeShared({ path: "/a", gid: 2000, entries: 9 })).to.equal(
      "/a: 9 files and directories are open to group 2000, which this process is in",
    );
  });
});
