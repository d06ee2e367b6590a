/** Changes of the witness registry: what each gives, and what each is refused for. */
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { formatQuorum, formatWitness, parseQuorum, parseWitness } from "../../../src/core/record/kinds.ts";
import { attestationsMax } from "../../../src/core/limits.ts";
import { looksLike } from "../../../src/canon/proposals/look-alikes.ts";
import {
  planRegistryChange,
  voicesMax,
  type Registry,
  type RegistryChange,
} from "../../../src/core/quorum/registry.ts";
import { keyOf, registryOf, twoOfThree, witnessOf } from "./quorum-world.ts";

const newcomer = { publicKey: keyOf(4), owner: "Owner 4", authority: "security", description: "on call" };
const add = (but: Partial<typeof newcomer> = {}, id = "w4", k?: number): RegistryChange => ({
  kind: "add",
  id,
  witness: { ...newcomer, ...but },
  ...(k === undefined ? {} : { k }),
});
const full = registryOf(
  2,
  Array.from({ length: attestationsMax }, (_, index) => witnessOf(index + 100)),
);
const shared = registryOf(1, [witnessOf(1), witnessOf(2, { owner: "owner 1" }), witnessOf(3)]);

const planned: readonly (readonly [string, Registry, RegistryChange, object])[] = [
  ["adds a witness", twoOfThree, add(), { k: 2, witnesses: ["w1", "w2", "w3", "w4"] }],
  ["adds a witness and raises k with it", twoOfThree, add({}, "w4", 4), { k: 4 }],
  ["removes a witness", twoOfThree, { kind: "remove", id: "w2" }, { k: 2, witnesses: ["w1", "w3"] }],
  [
    "removes a witness and lowers k with it",
    { ...twoOfThree, k: 3 },
    { kind: "remove", id: "w2", k: 1 },
    { k: 1, witnesses: ["w1", "w3"] },
  ],
  [
    "replaces a key",
    twoOfThree,
    { kind: "replace", id: "w2", publicKey: keyOf(9) },
    { k: 2, witnesses: ["w1", "w2", "w3"] },
  ],
  ["changes k", twoOfThree, { kind: "quorum", k: 3 }, { k: 3, proposerMayAttest: false }],
  [
    "allows proposers to attest",
    twoOfThree,
    { kind: "quorum", proposerMayAttest: true },
    { k: 2, proposerMayAttest: true },
  ],
  [
    "keeps that allowance in other changes",
    { ...twoOfThree, proposerMayAttest: true },
    add(),
    { proposerMayAttest: true },
  ],
];

const lookAlike = 'looks like the owner of witness "w1"';
const refused: readonly (readonly [string, Registry, RegistryChange, string, string])[] = [
  ["an owner with a no-break space", twoOfThree, add({ owner: "Owner\u{a0}1" }), "owner", lookAlike],
  ["an owner in letters of two scripts", twoOfThree, add({ owner: "\u{41e}wner 1" }), "owner", lookAlike],
  ["an owner with a filler", twoOfThree, add({ owner: "Owner 1\u{3164}" }), "owner", lookAlike],
  ["an owner with an l for a 1", twoOfThree, add({ owner: "owner l" }), "owner", lookAlike],
  ["an empty id", twoOfThree, add({}, ""), "id", "must be 1 to 255 bytes"],
  ["an id of 201 characters", twoOfThree, add({}, "w".repeat(201)), "id", "must be 1 to 200 bytes"],
  ["an id with a slash", twoOfThree, add({}, "a/b"), "id", 'must have no "/"'],
  ["an id of dots", twoOfThree, add({}, ".."), "id", 'must have no "//" and no "." or ".." segment'],
  ["an id with a space", twoOfThree, add({}, "a b"), "id", "may hold only letters, digits and . _ ~ : / @ -"],
  ["an id that is enrolled", twoOfThree, add({}, "w1"), "id", "is enrolled already; replace its key instead"],
  [
    "one witness too many",
    full,
    add(),
    "id",
    `would be one more than the ${attestationsMax} witnesses a registry holds`,
  ],
  ["no owner", twoOfThree, add({ owner: " " }), "owner", "must not be empty"],
  [
    "an owner who has a witness",
    twoOfThree,
    add({ owner: " oWNER 2" }),
    "owner",
    'is the owner of witness "w2" already',
  ],
  [
    "a key that a witness holds",
    twoOfThree,
    add({ publicKey: keyOf(3) }),
    "public_key",
    'is the key of witness "w3" already',
  ],
  ["k above n", twoOfThree, add({}, "w4", 5), "k", "must be an integer from 1 to 4"],
  ["k = 0", twoOfThree, add({}, "w4", 0), "k", "must be an integer from 1 to 4"],
  ["removing nobody", twoOfThree, { kind: "remove", id: "w9" }, "id", "is not enrolled"],
  [
    "removing below k",
    { ...twoOfThree, k: 3 },
    { kind: "remove", id: "w1" },
    "k",
    "must be an integer from 1 to 2",
  ],
  [
    "removing the last witness",
    registryOf(1, [witnessOf(1)]),
    { kind: "remove", id: "w1" },
    "id",
    "is the last witness, and none is not a quorum",
  ],
  [
    "replacing nobody's key",
    twoOfThree,
    { kind: "replace", id: "w9", publicKey: keyOf(9) },
    "id",
    "is not enrolled",
  ],
  [
    "replacing a key by itself",
    twoOfThree,
    { kind: "replace", id: "w1", publicKey: keyOf(1) },
    "public_key",
    'is the key of witness "w1" already',
  ],
  [
    "replacing a key by another witness's",
    twoOfThree,
    { kind: "replace", id: "w1", publicKey: keyOf(2) },
    "public_key",
    'is the key of witness "w2" already',
  ],
  ...[0, -1, 4, 1.5, NaN, Infinity].map(
    (k) =>
      [
        `k = ${k} of three`,
        twoOfThree,
        { kind: "quorum", k },
        "k",
        "must be an integer from 1 to 3",
      ] as const,
  ),
  [
    "a change of nothing",
    twoOfThree,
    { kind: "quorum" },
    "k",
    "and proposer_may_attest are what they would become: nothing changes",
  ],
  [
    "a change to what is",
    twoOfThree,
    { kind: "quorum", k: 2, proposerMayAttest: false },
    "k",
    "and proposer_may_attest are what they would become: nothing changes",
  ],
  [
    "leaving two witnesses of one owner",
    shared,
    { kind: "quorum", k: 2 },
    "id",
    "must leave witnesses of whom no two have one key or one owner",
  ],
  [
    "a registry whose epoch has no successor",
    { ...twoOfThree, epoch: Number.MAX_SAFE_INTEGER },
    add(),
    "epoch",
    "has no successor",
  ],
];

describe("a change of the registry", () => {
  for (const [name, registry, change, quorum] of planned) {
    it(`${name}, in the next epoch`, () => {
      const plan = planRegistryChange(registry, change, looksLike);
      if (plan.kind === "refused") throw new Error(`${plan.field} ${plan.rule}`);
      expect(plan.quorum).to.include({ epoch: 4 });
      for (const [field, value] of Object.entries(quorum)) {
        expect(plan.quorum[field as keyof typeof plan.quorum]).to.deep.equal(value);
      }
      expect(parseQuorum(formatQuorum(plan.quorum)), "is a quorum record").to.deep.equal(plan.quorum);
    });
  }

  it("enrols the new key with what is known of the witness, and nothing otherwise", () => {
    const enrolled = (change: RegistryChange) => {
      const plan = planRegistryChange(twoOfThree, change, looksLike);
      return plan.kind === "planned" ? plan.enrols : plan;
    };
    expect(enrolled(add())).to.deep.equal({ id: "w4", witness: newcomer });
    const replaced = {
      publicKey: keyOf(9),
      owner: "Owner 2",
      authority: "operations",
      description: "",
    };
    expect(enrolled({ kind: "replace", id: "w2", publicKey: keyOf(9) })).to.deep.equal({
      id: "w2",
      witness: replaced,
    });
    expect(parseWitness(formatWitness(replaced))).to.deep.equal(replaced);
    expect(enrolled({ kind: "remove", id: "w2" })).to.equal(null);
    expect(enrolled({ kind: "quorum", k: 1 })).to.equal(null);
  });

  for (const [name, registry, change, field, rule] of refused) {
    it(`is refused: ${name}`, () => {
      expect(planRegistryChange(registry, change, looksLike)).to.deep.equal({ kind: "refused", field, rule });
    });
  }

  it("may remove one of two witnesses with one owner", () => {
    expect(planRegistryChange(shared, { kind: "remove", id: "w2" }, looksLike).kind).to.equal("planned");
  });

  it("never leads to a registry that cannot reach its own k, however many follow each other", () => {
    const name = fc.integer({ min: 1, max: 9 });
    const k = fc.option(fc.integer({ min: -1, max: 9 }), { nil: undefined });
    const change: fc.Arbitrary<RegistryChange> = fc.oneof(
      fc.record({ name, key: name, owner: name, k }).map(({ name, key, owner, k }) => ({
        ...add({ publicKey: keyOf(key), owner: `owner ${owner}` }, `w${name}`, k),
      })),
      fc.record({ name, k }).map(({ name, k }): RegistryChange => {
        const id = `w${name}`;
        return k === undefined ? { kind: "remove", id } : { kind: "remove", id, k };
      }),
      fc.record({ name, key: name }).map(({ name, key }): RegistryChange => ({
        kind: "replace",
        id: `w${name}`,
        publicKey: keyOf(key),
      })),
      k.map((k): RegistryChange => (k === undefined ? { kind: "quorum" } : { kind: "quorum", k })),
    );
    const follow = (registry: Registry, each: RegistryChange): Registry => {
      const plan = planRegistryChange(registry, each, looksLike);
      if (plan.kind === "refused") return registry;
      const { quorum, enrols } = plan;
      const witnesses = quorum.witnesses.map((id) => {
        const before = registry.witnesses.get(id);
        return enrols?.id === id || before === undefined ? witnessOf(0, { id, ...enrols?.witness }) : before;
      });
      return registryOf(quorum.k, witnesses, { epoch: quorum.epoch });
    };
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
        const after = changes.reduce(follow, twoOfThree);
        const all = [...after.witnesses.values()];
        expect(voicesMax(all)).to.equal(all.length);
        expect(after.k).to.be.within(1, all.length);
      }),
      { numRuns: 300 },
    );
  });
});
