/**
 * Random schedules of proposing, attesting, withdrawing, expiring and changing the registry, under every k of n for n ≤
 * 7 and every subset of misbehaving witnesses: 1,538 settings, used round-robin. Reproducible by seed.
 */
import { createRandom } from "./oracle.ts";
import { origin, World, type Change, type Seat, type Submission } from "./quorum-world.ts";

const witnessesMax = 7;

const settings = Array.from({ length: witnessesMax }, (_, index) => index + 1).flatMap((n) =>
  Array.from({ length: n }, (_, index) => index + 1).flatMap((k) =>
    Array.from({ length: 1 << n }, (_, misbehaving) => ({ n, k, misbehaving })),
  ),
);
export const settingsCount = settings.length;

/** Misbehaviours by enrolment; the others are by action. */
const standings = ["late", "ownerClone", "keyClone", "proposers"] as const;
const deeds = [
  "duplicate",
  "replay",
  "contrary",
  "otherEpoch",
  "otherBody",
  "otherProposal",
  "otherOrigin",
  "forged",
  "weakKey",
] as const;
type Misbehaviour = (typeof standings)[number] | (typeof deeds)[number];

type Random = () => number;
const below = (random: Random, limit: number): number => Math.floor(random() * limit);
const pick = <Item>(random: Random, items: readonly Item[]): Item =>
  items[below(random, items.length)] as Item;

const shuffle = <Item>(random: Random, items: Item[]): Item[] => {
  for (let index = items.length - 1; index > 0; index -= 1) {
    const other = below(random, index + 1);
    [items[index], items[other]] = [items[other] as Item, items[index] as Item];
  }
  return items;
};

const firstPosition = 100;

const seatOf = (index: number, n: number, misbehaviour: Misbehaviour | null, random: Random): Seat => {
  const other = n === 1 ? 0 : (index + 1 + below(random, n - 1)) % n;
  const seat = { id: `w${index}`, key: index, owner: `Owner ${index}`, enrolledAt: 1 };
  // At the first proposal's position: too late for it, early enough for the next.
  if (misbehaviour === "late") return { ...seat, enrolledAt: firstPosition };
  if (misbehaviour === "ownerClone") return { ...seat, owner: ` OWNER ${other} ` };
  if (misbehaviour === "keyClone") return { ...seat, key: other };
  return seat;
};

/** The witness name of the proposer, if it is a witness. */
const proposerOf = (seat: Seat | undefined, random: Random) => {
  const alice = { proposer: "alice", proposerKeys: [40] };
  if (seat === undefined) return alice;
  return pick(random, [
    { proposer: "alice", proposerKeys: [40, seat.key] },
    { ...alice, proposer: seat.id.toUpperCase() },
    { ...alice, proposer: `${seat.owner} ` },
    { ...alice, proposer: `witness/${seat.id}` },
  ]);
};

/** The submissions of a witness for a proposal. */
const submissionsOf = (
  key: number,
  misbehaviour: Misbehaviour | null,
  statement: number,
  random: Random,
): readonly Submission[] => {
  const honest: Submission = {
    key,
    statement,
    verdict: random() < 0.85 ? "approve" : "reject",
    signature: "holds",
  };
  switch (misbehaviour) {
    case "duplicate":
      return [honest, { ...honest, statement: statement + 1 }];
    case "replay":
      return [honest, honest];
    case "contrary":
      return [honest, { ...honest, verdict: "reject", statement: statement + 1 }];
    case "otherEpoch":
      return [{ ...honest, epochOffset: random() < 0.7 ? -1 : 1 }];
    case "otherBody":
      return [{ ...honest, otherBody: true }];
    case "otherProposal":
      return [{ ...honest, about: random() < 0.5 ? "proposal/0" : "proposal/elsewhere" }];
    case "otherOrigin":
      return [{ ...honest, origin: `${origin}/other` }];
    case "forged":
      return [{ ...honest, signature: "fails" }];
    case "weakKey":
      return [{ ...honest, signature: "weakKey" }];
    case "late":
    case "ownerClone":
    case "keyClone":
    case "proposers":
    case null:
      return [honest];
  }
};

const maybeK = (random: Random, n: number) =>
  random() < 0.4 ? { k: below(random, n + 3) - 1 } : ({} as { readonly k?: number });

const changeOf = (world: World, random: Random, freshKey: () => number): Change => {
  const { seats } = world;
  const { id } = pick(random, seats);
  const kind = pick(random, ["add", "remove", "replace", "quorum"] as const);
  // One key in four is a duplicate, which the plan must refuse.
  const key = random() < 0.75 ? freshKey() : pick(random, seats).key;
  switch (kind) {
    case "add":
      return { kind, id: `n${key}`, key, owner: `Owner ${key}`, ...maybeK(random, seats.length) };
    case "remove":
      return { kind, id, ...maybeK(random, seats.length) };
    case "replace":
      return { kind, id, key };
    case "quorum":
      return { kind, ...maybeK(random, seats.length), proposerMayAttest: random() < 0.3 };
  }
};

type Step = (world: World) => void;

const attestations = (
  id: string,
  roster: readonly (readonly [Seat, Misbehaviour | null])[],
  random: Random,
): Step[] =>
  roster.flatMap(([seat, misbehaviour], index) => {
    const rounds = random() < 0.4 ? 2 : 1;
    return Array.from({ length: rounds }, (_, round) => {
      const deed = round === 0 || random() < 0.5 ? misbehaviour : null;
      return submissionsOf(0, deed, 10 * index + 3 * round, random).map((said): Step => {
        // A witness signs with its current key; a removed one with its last.
        return (world) => {
          const key = world.seats.find(({ id: each }) => each === seat.id)?.key ?? seat.key;
          world.attest(id, { ...said, key });
        };
      });
    }).flat();
  });

const runSchedule = (index: number, random: Random): World => {
  const { n, k: fairK, misbehaving } = settings[index % settings.length] ?? { n: 1, k: 1, misbehaving: 0 };
  const k = random() < 0.98 ? fairK : pick(random, [0, n + 1, NaN, 0.5, fairK + 0.5]);
  const roster = Array.from({ length: n }, (_, index) => {
    const misbehaviour = (misbehaving >> index) & 1 ? pick(random, [...standings, ...deeds]) : null;
    return [seatOf(index, n, misbehaviour, random), misbehaviour] as const;
  });
  const world = new World({
    seats: roster.map(([seat]) => seat),
    k,
    epoch: 1,
    proposerMayAttest: random() < 0.15,
  });
  let lastKey = 40;
  const freshKey = () => (lastKey += 1);
  const { proposer, proposerKeys } = proposerOf(
    roster.find(([, misbehaviour]) => misbehaviour === "proposers")?.[0],
    random,
  );
  const propose =
    (id: string, isRegistryChange: boolean): Step =>
    (world) =>
      world.propose(id, {
        commit: random() < 0.7 ? "auto" : "separate",
        expiresMs: world.nowMs + 100,
        proposer,
        proposerKeys,
        change: isRegistryChange ? changeOf(world, random, freshKey) : null,
      });
  const possess =
    (id: string): Step =>
    (world) => {
      const key = world.enrolledBy(id);
      if (key === null) return;
      const verdict = random() < 0.9 ? "approve" : "reject";
      const signature = random() < 0.9 ? "holds" : "fails";
      world.attest(id, { key, verdict, signature, statement: 900 + below(random, 2) });
    };

  const ids = random() < 0.5 ? ["proposal/0"] : ["proposal/0", "proposal/1"];
  const steps: Step[] = ids.flatMap((id, index) => [
    ...(index === 0 ? [] : [propose(id, random() < 0.5)]),
    ...attestations(id, roster, random),
    possess(id),
    possess(id),
    (world: World) => world.commit(id),
    (world: World) => world.commit(id),
  ]);
  const sometimes = (share: number, step: Step) => {
    if (random() < share) steps.push(step);
  };
  sometimes(0.1, (world) => world.withdraw(pick(random, ids)));
  sometimes(0.25, (world) => (world.nowMs += pick(random, [50, 99, 100, 200])));
  sometimes(0.1, (world) => world.moveHead(random() < 0.7 ? "model" : "registry"));
  sometimes(0.35, (world) => world.changeRegistry(changeOf(world, random, freshKey)));

  propose("proposal/0", random() < 0.4)(world);
  for (const step of shuffle(random, steps)) {
    step(world);
    world.compare();
    if (world.wrongs.length > 0) break;
  }
  return world;
};

export type SchedulesResult = {
  readonly schedules: number;
  readonly commits: number;
  /** Number of refusals by reason. */
  readonly reasons: ReadonlyMap<string, number>;
  /** Each prefixed with the number of its schedule. */
  readonly wrongs: readonly string[];
};

/** Runs `count` schedules, or up to the first failure. */
export const runSchedules = (options: {
  readonly count: number;
  readonly seed: number;
  readonly onSchedule?: (done: number) => void;
}): SchedulesResult => {
  const { count, seed, onSchedule } = options;
  const seeds = createRandom(seed);
  const reasons = new Map<string, number>();
  let commits = 0;
  for (let index = 0; index < count; index += 1) {
    const world = runSchedule(index, createRandom(Math.floor(seeds() * 2 ** 32)));
    commits += world.commits;
    for (const [reason, times] of world.reasons) reasons.set(reason, (reasons.get(reason) ?? 0) + times);
    if (world.wrongs.length > 0) {
      const wrongs = world.wrongs.map((wrong) => `schedule ${index} of seed ${seed}: ${wrong}`);
      const log = world.log.map((entry) => JSON.stringify(entry));
      return { schedules: index + 1, commits, reasons, wrongs: [...wrongs, ...log] };
    }
    onSchedule?.(index + 1);
  }
  return { schedules: count, commits, reasons, wrongs: [] };
};
