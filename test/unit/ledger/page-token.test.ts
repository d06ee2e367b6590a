/** Page tokens: made by this deployment for one walk, and no other. */
import { createHmac } from "node:crypto";
import { expect } from "chai";
import { describe, it } from "mocha";
import { formatPageToken, parsePageToken } from "../../../src/ledger/layout/page-token.ts";
import { fail } from "../../../src/errors.ts";
import { faultOf } from "../../contract/memory-ledger.ts";

const by =
  (key: string) =>
  async (bytes: Uint8Array): Promise<Uint8Array> =>
    createHmac("sha256", key).update(bytes).digest();
const place = [12n, "notes/b"];
const walk = ["records", "acme", null];

describe("a page token", () => {
  it("gives the place back to the walk that it was made for", async () => {
    const token = await formatPageToken(place, walk, by("k"));
    expect(token).to.match(/^[A-Za-z0-9_-]+$/);
    expect(await parsePageToken(token, walk, by("k"))).to.deep.equal([12, "notes/b"]);
  });

  it("is refused changed anywhere, cut, lengthened, for another walk and by another deployment", async () => {
    const token = await formatPageToken(place, walk, by("k"));
    const changed = [...token].map(
      (letter, at) => token.slice(0, at) + (letter === "A" ? "B" : "A") + token.slice(at + 1),
    );
    const cases = [
      ...[...changed, "", token.slice(0, -4), `${token}AAAA`, "!"].map((each) => [each, walk, "k"] as const),
      [token, ["records", "acme", "note"], "k"] as const,
      [token, walk, "another"] as const,
    ];
    for (const [given, asked, key] of cases) {
      const fault = await faultOf(parsePageToken(given, asked, by(key)));
      expect(fault?.kind, given).to.equal("invalidPageToken");
    }
  });

  it("is not called invalid when it is the store that fails", async () => {
    const token = await formatPageToken(place, walk, by("k"));
    const failing = async (): Promise<never> =>
      fail({ kind: "storeFailed", step: "read", rule: "the disk is away" });
    expect((await faultOf(parsePageToken(token, walk, failing)))?.kind).to.equal("storeFailed");
  });
});
