/**
 * A golden ledger as a source of messages: as it was at some size, with the tenants erased that were erased by then; in
 * batches of any size; with what a broker may do to them.
 */
import { cborEncode } from "../../src/core/cbor/cbor.ts";
import { formatDisclosures } from "../../src/core/record/commitment.ts";
import type { LaneBatch, LaneMessage, LaneSource } from "../../src/projections/message.ts";
import type { GoldenLedger } from "./golden-ledger.ts";

export type SourceOptions = {
  /** The ledger's size: what is erased is erased by an order below it. */
  readonly size: bigint;
  /** In [0, 1). Given: batches of any size, repeated and late messages. */
  readonly random?: (() => number) | undefined;
  /** Messages a batch at most, where they are random: 300 unless told. */
  readonly batchMax?: number;
  /** Messages a batch, where nothing is random. */
  readonly batchMessages?: number;
  /** By position; one is a single lane. */
  readonly laneOf?: (position: bigint) => string;
  readonly isCheckpointed?: boolean;
  /** With what opens the commitments of records. */
  readonly isDisclosed?: boolean;
  /** Changes messages as a hostile broker would; undefined drops one. */
  readonly tamper?: (message: LaneMessage) => LaneMessage | undefined;
};

/** As one who reads a ledger of that size gets it. */
const isErased = ({ places, erasures }: GoldenLedger, position: bigint, size: bigint): boolean => {
  const tenant = places[Number(position)]?.body.tenant ?? "";
  const order = erasures.get(tenant);
  return order !== undefined && order < size && position < order;
};

/** Every message of a lane after its cursor, linked. */
export const messagesOf = (
  ledger: GoldenLedger,
  { size, laneOf = () => "ledger", tamper = (message) => message, isDisclosed = false }: SourceOptions,
): readonly LaneMessage[] => {
  const last = new Map<string, bigint>();
  return ledger.places.slice(0, Number(size)).flatMap(({ leaf, envelope, disclosures }, at) => {
    const position = BigInt(at);
    const lane = laneOf(position);
    const prev = last.get(lane) ?? null;
    const whole = { lane, position, prev, leaf };
    const disclosed =
      disclosures === undefined || !isDisclosed
        ? {}
        : { disclosures: cborEncode(formatDisclosures(disclosures)) };
    const message = tamper(isErased(ledger, position, size) ? whole : { ...whole, envelope, ...disclosed });
    if (message === undefined) return [];
    last.set(lane, position);
    return [message];
  });
};

export const goldenSource = (ledger: GoldenLedger, options: SourceOptions): LaneSource => ({
  after: async function* (lanes, { signal }): AsyncGenerator<LaneBatch> {
    const { random, batchMessages = 100, batchMax = 300, isCheckpointed = true, size } = options;
    const messages = messagesOf(ledger, options);
    let from = messages.findIndex(({ lane, position }) => position > (lanes.get(lane)?.position ?? -1n));
    if (from < 0) return;
    if (random !== undefined) from = Math.max(0, from - Math.floor(random() * 20));
    while (from < messages.length && !signal.aborted) {
      const length = random === undefined ? batchMessages : 1 + Math.floor(random() * batchMax);
      const batch = messages.slice(from, from + length);
      const end = batch.at(-1)?.position ?? 0n;
      const note = [...ledger.checkpoints].find(([at]) => at > end && at <= size)?.[1];
      yield { messages: batch, ...(note === undefined || !isCheckpointed ? {} : { checkpoint: note }) };
      if (random !== undefined && random() < 0.2) yield { messages: batch };
      from += batch.length;
      if (random !== undefined && random() < 0.2) from = Math.max(0, from - Math.floor(random() * 50));
    }
  },
});
