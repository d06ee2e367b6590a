/** The model in force: the newest usable record of the system space, and nobody else's. */
import { expect } from "chai";
import { describe, it } from "mocha";
import type { CborMap } from "../../../src/core/cbor/cbor.ts";
import { toHex } from "../../../src/core/bytes.ts";
import type { Ledger } from "../../../src/ledger/ledger.ts";
import { ActiveModels } from "../../../src/trust/active-model.ts";
import { defaultModelPayload } from "../../../src/trust/default-model.ts";
import { createWorld, faultOf, openWorld, systemBody, userBody } from "../../contract/memory-ledger.ts";

const id = "trust_model/active";
const withBias = (bias: number): CborMap => ({ ...defaultModelPayload, bias });
/** A payload of a `trust_model` record that is no usable model. */
const unusable: CborMap = { ...defaultModelPayload, weights: {} };

const append = async (ledger: Ledger, payload: CborMap): Promise<void> => {
  const before = await ledger.reader.readId("system", "system", id);
  await ledger.append([{ ...systemBody("trust_model", id, payload), prev: before?.hash ?? null }]);
};

const biasOf = ({ state }: ActiveModels): number | "missing" =>
  state.kind === "loaded" ? state.loaded.compiled.bias : "missing";

describe("the active model", () => {
  it("is the newest record's, from its commit on and after a start", async () => {
    await using ledger = await openWorld(await createWorld());
    const models = await ActiveModels.open(ledger);
    expect(biasOf(models), "without a record").to.equal("missing");
    for (const bias of [1, 2]) {
      await append(ledger, withBias(bias));
      expect([biasOf(models), biasOf(await ActiveModels.open(ledger))]).to.deep.equal([bias, bias]);
    }
  });

  it("is missing where the newest record is no usable model, until the next that is", async () => {
    await using ledger = await openWorld(await createWorld());
    await append(ledger, withBias(1));
    const models = await ActiveModels.open(ledger);
    await append(ledger, unusable);
    expect([biasOf(models), biasOf(await ActiveModels.open(ledger))]).to.deep.equal(["missing", "missing"]);
    const error = await faultOf((async () => models.require())());
    expect(error?.kind).to.equal("modelMissing");
    await append(ledger, withBias(3));
    expect(biasOf(models)).to.equal(3);
  });

  it("is no user record's, whatever its id and tenant", async () => {
    await using ledger = await openWorld(await createWorld());
    await append(ledger, withBias(1));
    const models = await ActiveModels.open(ledger);
    for (const tenant of ["acme", "system"]) {
      await ledger.append([userBody(id, withBias(9), { tenant })]);
      expect([biasOf(models), biasOf(await ActiveModels.open(ledger))], tenant).to.deep.equal([1, 1]);
    }
  });

  it("is the newest commit's although a start reads the one before it meanwhile", async () => {
    await using ledger = await openWorld(await createWorld());
    await append(ledger, withBias(1));
    const reader = {
      readHash: ledger.reader.readHash.bind(ledger.reader),
      readId: async (tenant: string, space: string, name: string) => {
        const found = await ledger.reader.readId(tenant, space, name);
        await append(ledger, withBias(2));
        return found;
      },
    };
    expect(biasOf(await ActiveModels.open({ reader, feed: ledger.feed }))).to.equal(2);
  });

  it("is found again by its hash when others followed it", async () => {
    await using ledger = await openWorld(await createWorld());
    const models = await ActiveModels.open(ledger);
    await append(ledger, withBias(1));
    const { hash } = models.require();
    await append(ledger, withBias(2));
    expect((await models.byHash(hash)).bias).to.equal(1);
    expect((await models.byHash(hash)).bias, "from memory").to.equal(1);
    const nobody = hash.map((byte) => byte ^ 1) as typeof hash;
    const error = await faultOf(models.byHash(nobody));
    expect(error).to.deep.equal({ kind: "notFound", what: "trust model", id: toHex(nobody) });
  });
});
