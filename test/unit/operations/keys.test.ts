/** Who may see to the deployment's keys, and what is told of it. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { toBase64Url } from "../../../src/record/bytes.ts";
import type { Caller } from "../../../src/identity/caller.ts";
import { createKeyService, type KeyChange } from "../../../src/operations/keys.ts";
import { createWorld, faultOf, openWorld } from "../../contract/memory-ledger.ts";

const root: Caller = { principal: "root", tenant: "system", level: "root", credential: "token" };

describe("the service of signing keys", () => {
  it("is for Root of tenant system alone, whoever has got past the levels", async () => {
    const world = await createWorld();
    await using ledger = await openWorld(world);
    const changes: KeyChange[] = [];
    const keys = createKeyService({ ledger, onChange: (change) => changes.push(change) });
    const { thumbprint } = world.options.recordSigner;
    for (const caller of [
      { ...root, tenant: "acme" },
      { ...root, level: "mentor" },
    ] as const) {
      const calls = [
        (async () => keys.list(caller))(),
        keys.rotate(caller, "record", undefined),
        keys.retire(caller, thumbprint, undefined),
      ];
      for (const call of calls) expect(await faultOf(call)).to.include({ kind: "tenantForbidden" });
    }
    expect(ledger.size).to.equal(1n);
    expect(changes).to.deep.equal([]);
    expect(await keys.records()).to.have.length(1);
  });

  it("tells what was done and by whom, and nothing of what failed", async () => {
    const world = await createWorld();
    await using ledger = await openWorld(world);
    const changes: KeyChange[] = [];
    const keys = createKeyService({ ledger, onChange: (change) => changes.push(change) });
    const { thumbprint } = world.options.recordSigner;
    const added = await keys.rotate(root, "record", thumbprint);
    expect(added.state).to.equal("active");
    expect(await faultOf(keys.rotate(root, "record", thumbprint))).to.include({ kind: "keyReplaced" });
    expect((await keys.retire(root, thumbprint, undefined)).state).to.equal("retired");
    expect(changes).to.deep.equal([
      { kind: "rotated", role: "record", thumbprint: toBase64Url(added.thumbprint), principal: "root" },
      { kind: "retired", role: "record", thumbprint: toBase64Url(thumbprint), principal: "root" },
    ]);
    expect(keys.list(root).map(({ role, state }) => `${role} ${state}`)).to.deep.equal([
      "record retired",
      "record active",
      "checkpoint active",
    ]);
    expect(await keys.records()).to.have.length(3);
  });
});
