/**
 * Summarizes a CPU profile: self time by function, and by part of the system. Time inside Node or a native function is
 * attributed to its caller. Input is V8's `Profiler.Profile`.
 */
import type { Profiler } from "node:inspector/promises";

export type ProfileSum = {
  /** Without idle time, in milliseconds. */
  readonly busyMs: number;
  readonly idleMs: number;
  /** Largest first. */
  readonly parts: readonly { readonly name: string; readonly selfMs: number }[];
  /** The largest ones, largest first; `name` includes the file. */
  readonly functions: readonly { readonly name: string; readonly selfMs: number }[];
};

const functionsShown = 15;

/** The first pattern that matches a frame's URL gives its part. */
const partsByUrl: readonly (readonly [RegExp, string])[] = [
  [/\/src\/crypto\/signing\//, "signing: the hand-over to its thread"],
  [/\/core\/(merkle|crypto)\/|\/core\/hash\.|\/src\/ledger\/layout\/tree\./, "hashing and the Merkle tree"],
  [/\/src\/crypto\/seal\.|\/src\/ledger\/sealing\//, "sealing (AES-256-GCM)"],
  [/\/core\/(cbor|cose|record)\/|\/core\/bytes\./, "encoding: canonical CBOR, COSE and the schema checks"],
  [/\/src\/storage\/|\/(classic|abstract)-level\/|\/level\//, "the store: handing batches to LevelDB"],
  [/\/src\/ledger\//, "sequencing, planning and indexes"],
  [/\/src\/(trust|audit)\/|\/core\/model\//, "deciding: features, model, frozen chain"],
  [/\/src\/(rpc|identity|gateway)\/|\/src\/wire\//, "identity, deadlines, metrics and the call wrapper"],
  [/\/generated\/|\/@bufbuild\//, "protobuf"],
  [/\/@grpc\//, "gRPC (grpc-js)"],
  [/\/bench\//, "the benchmark itself"],
];

const ownNames: Readonly<Record<string, string>> = {
  "(garbage collector)": "garbage collection",
  "(program)": "native code outside JavaScript",
};

const unclaimed = "HTTP/2, sockets and promises (Node)";
const idle = "(idle)";

type Node = Profiler.ProfileNode;

const partOf = (node: Node): string | undefined => {
  const { functionName, url } = node.callFrame;
  return ownNames[functionName] ?? partsByUrl.find(([pattern]) => pattern.test(url))?.[1];
};

const fileOf = ({ callFrame }: Node): string => callFrame.url.replace(/^.*\/(?:node_modules|main|src)\//, "");

type Claimed = { readonly part: string; readonly name: string };

/** Attributes a node's time to its own part, or to that of the nearest caller that has one. */
const claimAll = (nodes: readonly Node[]): ReadonlyMap<number, Claimed> => {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const claimed = new Map<number, Claimed>();
  const claim = (id: number, inherited: string, callerFile: string): void => {
    const node = byId.get(id);
    if (node === undefined) return;
    const part = partOf(node) ?? inherited;
    const file = fileOf(node);
    const { functionName } = node.callFrame;
    const isNative = file === "" && !functionName.startsWith("(");
    // A native function has no file.
    const place = isNative ? `native, from ${callerFile}` : file;
    claimed.set(id, { part, name: `${functionName || "(anonymous)"} ${place}`.trim() });
    for (const child of node.children ?? []) claim(child, part, file === "" ? callerFile : file);
  };
  const root = nodes[0];
  if (root !== undefined) claim(root.id, unclaimed, "Node");
  return claimed;
};

const add = (sums: Map<string, number>, name: string, ms: number): void => {
  sums.set(name, (sums.get(name) ?? 0) + ms);
};

const sorted = (sums: ReadonlyMap<string, number>) =>
  [...sums].map(([name, selfMs]) => ({ name, selfMs })).sort((a, b) => b.selfMs - a.selfMs);

export const sumProfile = ({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): ProfileSum => {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const claimed = claimAll(nodes);
  const parts = new Map<string, number>();
  const functions = new Map<string, number>();
  let idleMs = 0;
  for (const [index, id] of samples.entries()) {
    const node = byId.get(id);
    // A delta is the time since the previous sample and belongs to that; over thousands it makes no difference.
    const ms = (timeDeltas[index] ?? 0) / 1000;
    const claim = claimed.get(id);
    if (node === undefined || claim === undefined || node.callFrame.url === "node:inspector") continue;
    if (node.callFrame.functionName === idle) {
      idleMs += ms;
      continue;
    }
    add(parts, claim.part, ms);
    add(functions, claim.name, ms);
  }
  const busyMs = [...parts.values()].reduce((sum, ms) => sum + ms, 0);
  return { busyMs, idleMs, parts: sorted(parts), functions: sorted(functions).slice(0, functionsShown) };
};
