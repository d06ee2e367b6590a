/** Payloads of the golden ledger: runs of modules, and flip reports. */
import type { CborMap, CborValue } from "../../src/core/cbor/cbor.ts";
import type { Hash } from "../../src/core/bytes.ts";
import { modelDigest } from "../../src/core/record/flip-report.ts";
import { formatFlipReport, type Flip } from "../../src/core/record/kinds.ts";
import type { RecordedRun } from "../../src/core/record/kinds/module-run.ts";
import type { RecordBody } from "../../src/core/record/record.ts";

/** Out of a seed. */
type Chance = {
  readonly random: () => number;
  readonly below: (bound: number) => number;
  readonly pick: <Item>(items: readonly Item[]) => Item;
  readonly bytes: (name: string | number) => Hash;
};

export const goldenRun = ({ random, below, pick, bytes }: Chance): RecordedRun => {
  const end = pick(["denied", "refused", "exited", "trapped", "killed", "crashed"] as const);
  const hasRun = end !== "denied" && end !== "refused";
  return {
    module: "module/redact",
    version: 1 + below(3),
    digest: bytes("code"),
    otherDigest: random() < 0.1 ? bytes("other code") : null,
    caller: pick(["svc", ""]),
    inputDigest: bytes("input"),
    inputBytes: below(1 << 20),
    outputDigest: hasRun ? bytes("output") : null,
    limits: {
      wallMs: 1000,
      memoryPages: 64,
      outputBytes: 1 << 20,
      logBytes: 1 << 16,
      inputBytes: 1 << 20,
      hostCalls: 1000,
    },
    usage: hasRun
      ? {
          wallUs: below(1e6),
          cpuUs: below(1e6),
          memoryBytesPeak: 9_007_199_254_740_991,
          inputBytes: below(100),
          outputBytes: below(100),
          logBytes: 0,
          hostCalls: below(10),
        }
      : null,
    end,
    exitCode: end === "exited" ? pick([0, 1, 4_294_967_295]) : null,
    reason: end === "exited" ? "" : "WHY\0NOT",
  };
};

type Places = readonly { readonly body: RecordBody; readonly hash: Hash }[];

/** Of a model that would deny the newest decisions. */
export const goldenFlips = (places: Places, proposal: string, model: CborValue): CborMap => {
  const first = Math.max(0, places.length - 50);
  const flips = places
    .slice(first)
    .flatMap(({ body, hash }, index): Flip[] =>
      body.kind === "frozen_chain"
        ? [{ position: BigInt(first + index), record: hash, from: "allow", to: "deny" }]
        : [],
    )
    .toReversed();
  const scores = { size: BigInt(places.length), scored: flips.length, erased: 0, flips };
  return formatFlipReport({ ...scores, proposal, model: modelDigest(model) });
};
