/**
 * A thief has the key of one Root, and does with suspensions whatever it likes, in any order. Somebody honest is always
 * left who may propose, the witnesses always have their voice, and the thief is got rid of.
 */
import type { KeyObject } from "node:crypto";
import { expect } from "chai";
import { describe, it } from "mocha";
import fc from "fast-check";
import { LevelOfAccess, ProposalState, SigilError, type SigilConnection } from "@sigil/client";
import { json, newKey, rawKey, tombstone } from "./council.ts";
import { codeOf, refusalOf } from "./refusal.ts";
import { asks, people, SuspendedWorld, type People } from "./suspended-world.ts";

const thief = "eve";

/** What the thief may try to stop: a principal, or one of its keys. */
type Aim = { readonly id: string; readonly at?: number };

const aimsAt = (enrolled: People): readonly Aim[] => [
  ...Object.entries(enrolled).flatMap(([id, { keys }]): readonly Aim[] => [
    { id },
    ...keys.map((_, at) => ({ id, at })),
  ]),
  ...["root", "mentor", "operator", "witness/ann", "witness/ben", "witness/cyd"].map((id) => ({ id })),
];

const revoked = (key: KeyObject) => ({
  public_keys: [Buffer.from(rawKey(key)).toString("base64")],
  loa: "root",
  tenant: "system",
  active: false,
});

/** Everybody honest who is still let in and may propose, by any key. */
const honestProposers = async (world: SuspendedWorld): Promise<readonly SigilConnection[]> => {
  const { council } = world;
  const all = [
    council.as("root"),
    council.as("mentor"),
    ...Object.entries(world.people).flatMap(([id, { keys }]) =>
      id === thief ? [] : keys.map((_, at) => world.by(id, at)),
    ),
  ];
  const levels = await Promise.all(
    all.map((each) =>
      asks(each).then(
        ({ level }) => level,
        () => LevelOfAccess.LEVEL_OF_ACCESS_GUEST,
      ),
    ),
  );
  return all.filter((_, index) => (levels[index] ?? 0) >= LevelOfAccess.LEVEL_OF_ACCESS_MENTOR);
};

/** What the deployment does about it: revoke the thief, then lift everything. */
const recover = async (world: SuspendedWorld, by: SigilConnection): Promise<void> => {
  const { council } = world;
  const content = json(revoked(world.key(thief)));
  const ending = await council.propose({ id: `principal/${thief}`, content }, by);
  expect(await codeOf(world.by(thief).canon.withdrawProposal({ id: ending.id }))).to.not.equal("OK");
  await council.approve(ending, "ann", "ben");
  for (const at of [0, 1]) expect(await codeOf(asks(world.by(thief, at)))).to.equal("UNAUTHENTICATED");
  const { records } = await by.canon.listRecords({
    filter: { space: 2, kind: "suspension" },
    pageSize: 1000,
  });
  for (const { record } of records) {
    const proposal = await council.propose({ id: record?.id ?? "", content: tombstone }, by);
    await council.approve(proposal, "ben", "cyd");
  }
  for (const each of ["hal", "may"]) {
    for (const at of [0, 1]) expect(await codeOf(asks(world.by(each, at))), each).to.equal("OK");
  }
};

const aim = async (world: SuspendedWorld, { id, at }: Aim, by = 0): Promise<string> => {
  const call = world.suspend(world.by(thief, by), id, at === undefined ? undefined : world.key(id, at));
  return call.then(
    () => "OK",
    (error: unknown) => SigilError.from(error).reason,
  );
};

describe("a stolen Root", function () {
  this.slow(20_000);

  it("stops one after the other, and never the last who may propose besides itself", async () => {
    await using world = await SuspendedWorld.open();
    const reasons = [];
    for (const id of ["hal", "root", "mentor", "may", thief]) reasons.push(await aim(world, { id }));
    // Without may nobody could propose but the thief; without the thief no Root would be left.
    expect(reasons).to.deep.equal(["OK", "OK", "OK", "LAST_PROPOSER", "LAST_ROOT"]);
    for (const [at, reason] of [
      [0, "OK"],
      [1, "LAST_PROPOSER"],
    ] as const) {
      expect(await aim(world, { id: "may", at })).to.equal(reason);
    }
    for (const witness of ["ann", "ben", "cyd"]) {
      expect(await aim(world, { id: `witness/${witness}` })).to.equal("WITNESS");
    }
    const [last] = await honestProposers(world);
    if (last === undefined) throw new Error("nobody is left");
    await recover(world, last);
  });

  it("locks nobody out by any order of suspensions", async () => {
    const enrolled = people();
    const aims = aimsAt(enrolled);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom(...aims), fc.boolean()), { minLength: 12, maxLength: 30 }),
        async (tries) => {
          await using world = await SuspendedWorld.open({}, enrolled);
          for (const [each, together] of tries) {
            const call = aim(world, each);
            if (!together) await call;
          }
          for (const each of aims) await aim(world, each, 1);
          const left = await honestProposers(world);
          expect(left.length).to.be.greaterThan(0);
          await recover(world, left[0] as SigilConnection);
        },
      ),
      { numRuns: 3 },
    );
  });

  it("cannot stop itself where it is the last Root, by its keys neither", async () => {
    await using world = await SuspendedWorld.open();
    const root = world.council.as("root");
    for (const id of ["eve", "hal"]) await world.suspend(root, id);
    const own = world.council.deployment.privateKeys.root;
    expect(await refusalOf(world.suspend(root, "root"))).to.include({ reason: "LAST_ROOT" });
    expect(await refusalOf(world.suspend(root, "root", own))).to.include({ reason: "LAST_ROOT" });
    expect(await codeOf(asks(root))).to.equal("OK");
  });

  it("is stopped by another Root, its own other keys and streams with it", async () => {
    await using world = await SuspendedWorld.open();
    await world.suspend(world.by("hal"), thief);
    for (const at of [0, 1]) {
      expect(await refusalOf(asks(world.by(thief, at)))).to.include({ reason: "PRINCIPAL_SUSPENDED" });
    }
    expect(await codeOf(world.suspend(world.by(thief), "hal"))).to.equal("UNAUTHENTICATED");
  });

  it("withdraws no proposal about itself or about a suspension, and others as before", async () => {
    await using world = await SuspendedWorld.open();
    const { council } = world;
    await aim(world, { id: "owen" });
    const own = await council.propose({ id: `principal/${thief}`, content: json(revoked(world.key(thief))) });
    const lift = await council.propose({ id: "suspension/principal/owen", content: tombstone });
    const other = await council.proposeAny();
    for (const { id } of [own, lift]) {
      const refused = await refusalOf(world.by(thief).canon.withdrawProposal({ id }));
      expect(refused).to.include({ codeName: "FAILED_PRECONDITION", reason: "NOT_PROPOSER" });
    }
    const { proposal } = await world.by(thief).canon.withdrawProposal({ id: other.id });
    expect(proposal?.state).to.equal(ProposalState.PROPOSAL_STATE_WITHDRAWN);
    // Whoever proposed may still withdraw, and another Root what is not about it.
    expect(await codeOf(council.as("mentor").canon.withdrawProposal({ id: lift.id }))).to.equal("OK");
    expect(await codeOf(world.by("hal").canon.withdrawProposal({ id: own.id }))).to.equal("OK");
  });

  it("and the Root that it would stop are never both stopped, however they race", async () => {
    await using world = await SuspendedWorld.open();
    // Besides the two Roots only may is left who could propose.
    for (const id of ["root", "mentor"]) await aim(world, { id });
    for (let turn = 0; turn < 6; turn += 1) {
      const outcomes = await Promise.all([
        codeOf(world.suspend(world.by("eve"), "hal")),
        codeOf(world.suspend(world.by("hal"), "eve")),
      ]);
      expect([...outcomes].toSorted()).to.deep.equal(["OK", "UNAUTHENTICATED"]);
      await world.lift(`suspension/principal/${outcomes[0] === "OK" ? "hal" : "eve"}`, world.by("may"));
    }
  });

  it("does not slip past a quorum that is ending somebody else in the same moment", async () => {
    for (let turn = 0; turn < 3; turn += 1) {
      await using world = await SuspendedWorld.open();
      const { council } = world;
      for (const id of ["root", "mentor"]) await aim(world, { id });
      // May is ended by the quorum while the thief stops hal: one of the two must not happen.
      const ending = await council.propose({ id: "principal/may", content: tombstone }, world.by("hal"));
      await council.attest(ending, "ann");
      const [committed, stopped] = await Promise.all([
        codeOf(council.attest(ending, "ben")),
        aim(world, { id: "hal" }),
      ]);
      expect((committed === "OK") !== (stopped === "OK"), `${committed} ${stopped}`).to.equal(true);
      expect((await honestProposers(world)).length).to.be.greaterThan(0);
    }
  });

  it("is not left alone by an honest Root that stops itself", async () => {
    await using world = await SuspendedWorld.open();
    for (const id of ["root", "mentor", "may"]) await aim(world, { id });
    expect(await refusalOf(world.suspend(world.by("hal"), "hal"))).to.include({ reason: "LAST_PROPOSER" });
    await recover(world, world.by("hal"));
  });

  it("counts nobody as left whose proposals too few could approve", async () => {
    // k of k, and may's key is a witness's: whatever may proposes could never be approved.
    const enrolled: People = {
      eve: { level: "root", tenant: "system", keys: [newKey(), newKey()] },
      hal: { level: "root", tenant: "system", keys: [newKey()] },
    };
    await using world = await SuspendedWorld.open({ witnesses: ["ann", "ben"], k: 2 }, enrolled);
    const { council } = world;
    const payload = {
      public_keys: [Buffer.from(rawKey(council.key("ann"))).toString("base64")],
      loa: "mentor",
      tenant: "acme",
      active: true,
    };
    await council.approve(
      await council.propose({ id: "principal/may", content: json(payload) }),
      "ann",
      "ben",
    );
    const reasons = [];
    for (const id of ["root", "mentor", "hal"]) reasons.push(await aim(world, { id }));
    expect(reasons).to.deep.equal(["OK", "OK", "LAST_PROPOSER"]);
  });
});

describe("two who may propose", function () {
  it("do not stop each other, since nobody could tell which of them is the thief", async () => {
    await using world = await SuspendedWorld.open(
      {},
      { hal: { level: "root", tenant: "system", keys: [newKey()] } },
    );
    await world.suspend(world.council.as("root"), "mentor");
    const asRoot = await refusalOf(world.suspend(world.council.as("root"), "hal"));
    const asHal = await refusalOf(world.suspend(world.by("hal"), "root"));
    for (const refused of [asRoot, asHal]) {
      expect(refused).to.include({ codeName: "FAILED_PRECONDITION", reason: "LAST_PROPOSER" });
    }
  });
});
