/** A suspension is asked of the trust model, and no model keeps a stolen key in use. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { Verdict, type SigilConnection } from "@sigil/client";
import { defaultModelPayload } from "../../src/trust/default-model.ts";
import { json } from "./council.ts";
import { codeOf, refusalOf } from "./refusal.ts";
import { asks, SuspendedWorld } from "./suspended-world.ts";

const suspended = { codeName: "UNAUTHENTICATED", reason: "PRINCIPAL_SUSPENDED" };

describe("a trust model", function () {
  this.slow(5000);
  const { actions, targets } = defaultModelPayload;
  const { "canon.suspend": _row, ...before } = actions;
  const { "canon/suspension": _target, ...targetsBefore } = targets;
  const actionOf = async (auditId: string, by: SigilConnection) =>
    (await by.audit.getFrozenChain({ auditId })).chain?.action;

  const olds = [
    [
      "that was there before suspensions",
      { ...defaultModelPayload, actions: before, targets: targetsBefore },
    ],
    [
      "that is as hard as can be on what it has no row for",
      {
        ...defaultModelPayload,
        actions: { ...before, "canon.*": { risk: 1, min_loa: "root" }, "*": { risk: 1, min_loa: "root" } },
        targets: { ...targetsBefore, "canon/**": 1 },
      },
    ],
  ] as const;
  for (const [name, model] of olds) {
    it(`${name} lets Root and Mentors suspend, as it lets them commit`, async () => {
      await using world = await SuspendedWorld.open({ model });
      const byRoot = await world.suspend(world.council.as("root"), "olga");
      expect(await actionOf(byRoot.auditId, world.council.as("root"))).to.equal("canon.commit");
      const byMentor = await world.suspend(world.by("may"), "owen");
      expect(await actionOf(byMentor.auditId, world.by("may"))).to.equal("canon.commit");
      expect(await refusalOf(asks(world.by("owen")))).to.include(suspended);
    });
  }

  it("that keeps Mentors from suspending is obeyed, and the decision is recorded", async () => {
    const model = {
      ...defaultModelPayload,
      actions: { ...actions, "canon.suspend": { risk: 0.3, min_loa: "root" } },
    } as const;
    await using world = await SuspendedWorld.open({ model });
    const refused = await refusalOf(world.suspend(world.by("may"), "owen"));
    expect(refused).to.include({ codeName: "PERMISSION_DENIED", reason: "DENIED" });
    expect(refused.facts).to.include({ action: "canon.suspend", decision_reason: "LEVEL_TOO_LOW" });
    expect(
      (await world.by("may").audit.getFrozenChain({ auditId: refused.facts["audit_id"] ?? "" })).chain
        ?.verdict,
    ).to.equal(Verdict.VERDICT_DENY);
    expect(await codeOf(asks(world.by("owen")))).to.equal("OK");
  });

  it("that would keep Root from it is never put to witnesses", async () => {
    await using world = await SuspendedWorld.open();
    const content = json({
      ...defaultModelPayload,
      actions: { ...actions, "canon.suspend": { risk: 1, min_loa: "root" } },
      targets: { ...targets, "canon/suspension": 1 },
    });
    const refused = await refusalOf(world.council.propose({ id: "trust_model/active", content }));
    expect(refused).to.include({ codeName: "INVALID_ARGUMENT", reason: "MALFORMED_MODEL" });
    expect(refused.message).to.contain("stop a stolen key");
  });
});
