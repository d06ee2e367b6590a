/** Who may see to the deployment's keys, and what is told of it. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { toBase64Url } from "../../../src/core/bytes.ts";
import type { Caller } from "../../../src/identity/caller.ts";
import { createKeyService, type KeyChange } from "../../../src/deployment/keys.ts";
import { createWorld, faultOf, openWorld, userBody } from "../../contract/memory-ledger.ts";

const root: Caller = { principal: "root", tenant: "system", level: "root", credential: "token", peer: "" };
const all = { pageSize: 0, pageToken: "" };

describe("the service of keys", () => {
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
        keys.list(caller, all),
        keys.rotate(caller, "record", undefined),
        keys.retire(caller, thumbprint, undefined),
        keys.listData(caller, { tenant: "", pageSize: 0, pageToken: "" }),
        keys.rotateData(caller, "system", undefined),
      ];
      for (const call of calls) expect(await faultOf(call)).to.include({ kind: "tenantForbidden" });
    }
    expect(ledger.reader.size).to.equal(1n);
    expect(changes).to.deep.equal([]);
    expect((await (await keys.records(root))(all)).records).to.have.length(1);
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
    expect((await keys.list(root, all)).keys.map(({ role, state }) => `${role} ${state}`)).to.deep.equal([
      "record retired",
      "record active",
      "checkpoint active",
    ]);
    expect((await (await keys.records(root))(all)).records).to.have.length(3);
  });

  it("lists keys and their records page by page, each once, also while keys are rotated", async () => {
    const world = await createWorld();
    await using ledger = await openWorld(world);
    const keys = createKeyService({ ledger, onChange: () => {} });
    for (const role of ["record", "checkpoint", "record"] as const) await keys.rotate(root, role, undefined);
    const shown = (entries: readonly { readonly role: string; readonly validFrom: bigint }[]) =>
      entries.map(({ role, validFrom }) => `${role} ${validFrom}`);
    const whole = await keys.list(root, all);
    expect(whole.nextPageToken).to.equal("");
    expect(whole.keys).to.have.length(5);
    const first = await keys.list(root, { pageSize: 2, pageToken: "" });
    const added = await keys.rotate(root, "record", undefined);
    const rest = await keys.list(root, { pageSize: 1000, pageToken: first.nextPageToken });
    const expected = [...shown(whole.keys.slice(0, 3)), `record ${added.validFrom}`];
    expect(shown([...first.keys, ...rest.keys])).to.deep.equal([...expected, ...shown(whole.keys.slice(3))]);
    expect(rest.nextPageToken).to.equal("");
    const positions: bigint[] = [];
    for (let pageToken = "", pages = 0; pages < 10; pages += 1) {
      const page = await (await keys.records(root))({ pageSize: 2, pageToken });
      positions.push(...page.records.map(({ position }) => position));
      pageToken = page.nextPageToken;
      if (pageToken === "") break;
    }
    expect(positions).to.deep.equal(
      (await (await keys.records(root))(all)).records.map(({ position }) => position),
    );
    expect(positions).to.have.length(5);
    const { nextPageToken: pageToken } = await (await keys.records(root))({ pageSize: 1, pageToken: "" });
    for (const refused of [
      () => keys.list(root, { pageSize: 1, pageToken }),
      async () => (await keys.records({ ...root, principal: "other" }))({ pageSize: 1, pageToken }),
    ]) {
      expect(await faultOf(refused())).to.include({ kind: "invalidPageToken" });
    }
  });

  it("lists data keys page by page, of one tenant or of all, and rotates them", async () => {
    const world = await createWorld();
    await using ledger = await openWorld(world);
    await ledger.append([userBody("a"), userBody("b", "x", { tenant: "beta" })]);
    const changes: KeyChange[] = [];
    const keys = createKeyService({ ledger, onChange: (change) => changes.push(change) });
    const rotated = await keys.rotateData(root, "acme", 1);
    expect(rotated).to.include({ tenant: "acme", version: 2, state: "sealing" });
    expect(await faultOf(keys.rotateData(root, "acme", 1))).to.include({ kind: "keyReplaced" });
    expect(changes).to.deep.equal([
      { kind: "rotated", role: "data", tenant: "acme", version: 2, principal: "root" },
    ]);
    const names: string[] = [];
    let pageToken = "";
    do {
      const page = await keys.listData(root, { tenant: "", pageSize: 1, pageToken });
      names.push(...page.dataKeys.map((key) => `${key.tenant} ${key.version} ${key.state}`));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(names).to.deep.equal(["acme 1 opening", "acme 2 sealing", "beta 1 sealing", "system 1 sealing"]);
    const first = await keys.listData(root, { tenant: "acme", pageSize: 1, pageToken: "" });
    const rest = { tenant: "acme", pageSize: 5, pageToken: first.nextPageToken };
    expect((await keys.listData(root, rest)).dataKeys.map(({ version }) => version)).to.deep.equal([2]);
    const other = keys.listData(root, { ...rest, tenant: "" });
    expect(await faultOf(other)).to.include({ kind: "invalidPageToken" });
  });
});
