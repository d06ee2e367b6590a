/**
 * An in-memory ledger for relays, and relays that stop at any step as if their process had been killed. What a
 * destination holds is compared with the ledger: every record once, in order, linked.
 */
import { setImmediate as turn, setTimeout as delay } from "node:timers/promises";
import { expect } from "chai";
import { toHex } from "../../src/core/bytes.ts";
import { sha256 } from "../../src/core/hash.ts";
import { digestValue, type Disclosures } from "../../src/core/record/commitment.ts";
import type { RecordBody } from "../../src/core/record/record.ts";
import { leafOf } from "../../src/core/verify/record.ts";
import type { Destination, RelayError } from "../../src/relay/destination.ts";
import type { RelayOptions } from "../../src/relay/relay-options.ts";
import { Relay } from "../../src/relay/relay.ts";
import type { RelayState } from "../../src/relay/relay-status.ts";
import type { FeedBatch, FeedItem } from "../../src/core/record/feed.ts";
import type { FeedSource } from "../../src/relay/source.ts";

const relayOrigin = "ledger.test/main";

export const relayBody = (position: number, changes: Partial<RecordBody> = {}): RecordBody => ({
  kind: "user_data",
  schemaVersion: 1,
  id: `note/${position}`,
  tenant: "acme",
  ts: 1_700_000_000_000 + position,
  space: "user",
  payload: { n: position },
  links: [],
  prev: null,
  ...changes,
});

/** Envelopes are made up: relays carry them and look into none. */
export const relayItem = (body: RecordBody, position: number, bytes = 40): FeedItem => {
  const envelope = new Uint8Array(Buffer.alloc(bytes, `${position} ${body.id} `));
  return {
    position: BigInt(position),
    leaf: leafOf(envelope),
    record: { position: BigInt(position), version: 1n, envelope, hash: sha256(envelope), body },
  };
};

/** Looked for in what was published: it stands in nothing but disclosures. */
export const disclosedCanary = "what was asked, word for word";

/** What opens a commitment, and holds the canary. */
export const relayDisclosures = (bytes = 0): Disclosures => {
  const raw = Buffer.alloc(Math.max(bytes, disclosedCanary.length), disclosedCanary);
  const value = digestValue({ digest: sha256(raw), bytes: raw.length });
  return { input: { salt: new Uint8Array(32).fill(7), value, raw: new Uint8Array(raw) } };
};

export type RelayLedger = FeedSource & {
  readonly items: FeedItem[];
  /** From now on a record comes with these, whether the relay is to publish them or not. */
  readonly disclose: (position: number, disclosures: Disclosures) => void;
  readonly add: (count: number, changes?: Partial<RecordBody>, bytes?: number) => void;
  readonly erase: (position: number) => void;
};

const batchItems = 7;

export const createRelayLedger = (): RelayLedger => {
  const items: FeedItem[] = [];
  const wakes: (() => void)[] = [];
  const wake = (): void => {
    for (const one of wakes.splice(0)) one();
  };
  async function* from(
    position: bigint,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncGenerator<FeedBatch> {
    signal.addEventListener("abort", wake, { once: true });
    for (let at = Number(position); !signal.aborted;) {
      const batch = items.slice(at, at + batchItems);
      if (batch.length === 0) {
        await new Promise<void>((resolve) => wakes.push(resolve));
        continue;
      }
      at += batch.length;
      yield { items: batch, next: BigInt(at), checkpoint: `${relayOrigin}\n${at}\n` };
    }
  }
  return {
    origin: relayOrigin,
    size: () => BigInt(items.length),
    from,
    hasLeaf: async (position, leaf) => toHex(items[Number(position)]?.leaf ?? new Uint8Array(0)) === leaf,
    positionOf: async (hash) =>
      items.find(({ record }) => record !== undefined && toHex(record.hash) === toHex(hash))?.position,
    items,
    add: (count, changes, bytes) => {
      for (let one = 0; one < count; one += 1) {
        const position = items.length;
        items.push(relayItem(relayBody(position, changes), position, bytes));
      }
      wake();
    },
    disclose: (position, disclosures) => {
      const { record, ...item } = items[position] ?? expect.fail("not there");
      items[position] = { ...item, record: record && { ...record, disclosures } };
    },
    erase: (position) => {
      const { leaf } = items[position] ?? expect.fail("not there");
      items[position] = { position: BigInt(position), leaf, record: undefined };
    },
  };
};

export type SeenRelay = AsyncDisposable & {
  readonly relay: Relay;
  readonly states: RelayState[];
  readonly errors: RelayError[];
  readonly lost: (readonly [bigint, bigint])[];
};

export type StartOptions = Partial<RelayOptions> &
  Pick<RelayOptions, "source" | "destination" | "cursorPath">;

/** Waits between tries are a moment, whatever they were to be. */
export const startRelay = async (options: StartOptions): Promise<SeenRelay> => {
  const states: RelayState[] = [];
  const errors: RelayError[] = [];
  const lost: (readonly [bigint, bigint])[] = [];
  const relay = await Relay.start({
    name: "test",
    filter: { tenants: undefined, kinds: undefined, spaces: undefined },
    event: { typePrefix: "sigil", data: "full", format: "envelope", disclosures: "withheld" },
    from: 0n,
    observer: {
      onState: (state, error) => {
        states.push(state);
        if (error !== undefined) errors.push(error);
      },
      onFailure: () => {},
      onLost: (from, until) => lost.push([from, until]),
      onPublished: () => {},
    },
    nowMs: Date.now,
    random: () => 0,
    sleep: async (ms, signal) => {
      await delay(Math.min(ms, 2), undefined, { signal }).catch(() => {});
    },
    turn: () => turn(),
    ...options,
  });
  return { relay, states, errors, lost, [Symbol.asyncDispose]: () => relay.close() };
};

export const until = async (
  isTrue: () => boolean | Promise<boolean>,
  what: string,
  triesMax = 5000,
): Promise<void> => {
  for (let tries = 0; tries < triesMax; tries += 1) {
    if (await isTrue()) return;
    await delay(2);
  }
  expect.fail(`never: ${what}`);
};

export const untilCaughtUp = ({ relay }: SeenRelay, { source }: { readonly source: FeedSource }) =>
  until(() => relay.status.next >= source.size() && relay.status.state === "running", "caught up");

/**
 * A relay that is never let go past the n-th step, counted from 1; `died` resolves there. `bury` ends what hangs, so
 * that it closes its files as the system would.
 */
export const killAfter = (steps: number) => {
  let [passed, isDead] = [0, false];
  const died = Promise.withResolvers<string>();
  const grave = Promise.withResolvers<never>();
  grave.promise.catch(() => {});
  const onStep = async (step: string): Promise<void> => {
    passed += 1;
    if (passed >= steps) isDead = true;
    if (!isDead) return;
    died.resolve(step);
    await grave.promise;
  };
  return {
    onStep,
    bury: () => grave.reject(new Error("killed")),
    died: died.promise,
    get isDead() {
      return isDead;
    },
  };
};

/** What one message of a destination says, as a consumer reads it. */
export type SeenMessage = Readonly<Record<string, unknown>>;

/** The data of a message in binary mode, or in structured mode where it is not JSON. */
export const dataOf = ({ data, data_base64: base64 }: SeenMessage): Uint8Array =>
  data instanceof Uint8Array ? data : Buffer.from(typeof base64 === "string" ? base64 : "", "base64");

/** Whether a message holds the canary, in whichever form it has its data. */
export const holdsCanary = (message: SeenMessage): boolean =>
  [
    Buffer.from(dataOf(message)),
    Buffer.from(JSON.stringify(message["data"] ?? null)),
    ...[...JSON.stringify(message).matchAll(/[A-Za-z0-9+/]{40,}={0,2}/g)].map(([text]) =>
      Buffer.from(text, "base64"),
    ),
  ].some((bytes) => bytes.includes(disclosedCanary));

/**
 * Every record of the ledger, each once, and no other. In each lane (a message names its own as `lane`, where there are
 * several) in ledger order, with the link to the one before it.
 */
export const expectWhole = (
  messages: readonly SeenMessage[],
  items: readonly FeedItem[],
  generation = 1,
): void => {
  const own = messages.filter(({ sigilgeneration }) => sigilgeneration === String(generation));
  const wanted = items.map(({ position }) => String(position));
  const found = own.map(({ sigilposition }) => String(sigilposition));
  for (const lane of new Set(own.map((message) => message["lane"]))) {
    let prev: unknown;
    for (const { sigilposition, sigilprev } of own.filter((message) => message["lane"] === lane)) {
      expect(sigilprev, `the link of ${String(sigilposition)}`).to.equal(prev);
      expect(Number(sigilposition), "order").to.be.above(prev === undefined ? -1 : Number(prev));
      prev = sigilposition;
    }
  }
  expect(found.toSorted((one, other) => Number(one) - Number(other))).to.deep.equal(wanted);
};

/** A destination as a test sees it: what it holds, and its bad days. */
export type DestinationPlace = AsyncDisposable & {
  readonly destination: (onStep?: (step: string) => Promise<void>) => Destination;
  readonly cursorPath: string;
  readonly messages: () => Promise<readonly SeenMessage[]>;
  /** Everything is gone, as from a new one. */
  readonly wipe: () => Promise<void>;
};
