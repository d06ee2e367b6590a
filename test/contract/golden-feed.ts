/** A golden ledger as a relay reads it: whole, in batches with the checkpoint that covers them. */
import { parseHash, toHex } from "../../src/core/bytes.ts";
import type { FeedBatch, FeedItem } from "../../src/core/record/feed.ts";
import type { FeedSource } from "../../src/relay/source.ts";
import type { GoldenLedger } from "./golden-ledger.ts";
import { messagesOf } from "./golden-source.ts";

const batchItems = 100;

const itemsOf = (ledger: GoldenLedger): readonly FeedItem[] =>
  messagesOf(ledger, { size: BigInt(ledger.places.length) }).map(({ position, leaf, envelope }) => {
    const place = ledger.places[Number(position)];
    const isHeld = place !== undefined && envelope !== undefined;
    const record = isHeld
      ? { position, version: 1n, hash: place.hash, body: place.body, envelope }
      : undefined;
    return { position, leaf: parseHash(leaf), record };
  });

export const feedOf = (ledger: GoldenLedger): FeedSource => {
  const items = itemsOf(ledger);
  async function* from(
    position: bigint,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncGenerator<FeedBatch> {
    for (let at = Number(position); at < items.length && !signal.aborted; at += batchItems) {
      const batch = items.slice(at, at + batchItems);
      const next = BigInt(at + batch.length);
      const checkpoint = [...ledger.checkpoints].find(([size]) => size >= next)?.[1] ?? "";
      yield { items: batch, next, checkpoint };
    }
    const ended = Promise.withResolvers<void>();
    if (signal.aborted) return;
    signal.addEventListener("abort", () => ended.resolve(), { once: true });
    await ended.promise;
  }
  return {
    origin: ledger.origin,
    size: () => BigInt(items.length),
    from,
    hasLeaf: async (position, leaf) => toHex(items[Number(position)]?.leaf ?? new Uint8Array(0)) === leaf,
    positionOf: async (hash) =>
      items.find(({ record }) => record !== undefined && toHex(record.hash) === toHex(hash))?.position,
  };
};
