/**
 * The tour's chapter on the change feed: a relay has written every record to files, and a projection makes tables of
 * them. It believes the genesis hash alone. Dropped and filled anew from the files it is the same to the last bit, and
 * a byte changed in a file stops it.
 */
import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { SigilConnection } from "@sigil/client";
import { toHex, type Hash } from "@sigil/core/bytes";
import { verifyOwn } from "@sigil/core/keys";
import { fileSource } from "../src/cli/project/file-source.ts";
import { formatTable } from "../src/cli/terminal/terminal.ts";
import { columnsDigest, rootDigest, type Digests } from "../src/projections/digest.ts";
import { ProjectionFault } from "../src/projections/fault.ts";
import type { LaneSource } from "../src/projections/message.ts";
import { project } from "../src/projections/project.ts";
import type { Stage } from "./chapter-quorum.ts";
import { EmbeddedProjection } from "./embedded-projection.ts";

export type FeedStage = Pick<Stage, "connection" | "directory" | "say" | "expect"> & {
  /** Where the relay writes. */
  readonly relayed: string;
  readonly genesis: Hash;
};

/** How far the ledger is, as it signed it. */
type Reached = { readonly size: bigint; readonly checkpoint: string };

/** The relay is to have written what was committed before: a bound, not a wait. */
const fillMsMax = 15_000;

const eventsName = "events.jsonl";

const query = `SELECT action, verdict, count(*) AS decisions, max(score) AS highest
  FROM decisions GROUP BY action, verdict ORDER BY decisions DESC, action, verdict LIMIT 5`;

const reached = async ({ audit }: SigilConnection): Promise<Reached> => {
  const { size, checkpoint } = await audit.getCheckpoint({});
  return { size, checkpoint };
};

/** The files, and the server's checkpoint beside them: what was read must come to its root. */
const checkedSource = (relayed: string, { checkpoint }: Reached): LaneSource => ({
  after: async function* (lanes, call) {
    yield { messages: [], checkpoint };
    yield* fileSource(relayed).after(lanes, call);
  },
});

const fill = (
  store: EmbeddedProjection,
  { relayed, genesis }: Pick<FeedStage, "relayed" | "genesis">,
  ledger: Reached,
): Promise<void> =>
  project({
    genesis,
    verify: verifyOwn,
    lanes: "one",
    source: checkedSource(relayed, ledger),
    store,
    size: ledger.size,
    sourceSize: async () => ledger.size,
    onCaughtUp: "end",
    signal: AbortSignal.timeout(fillMsMax),
  });

const textOf = (digests: Digests): string =>
  [rootDigest(digests), digests.places, columnsDigest(digests)].map(toHex).join(" ");

const sayQuery = (store: EmbeddedProjection, say: (text: string) => void): void => {
  const columns = ["action", "verdict", "decisions", "highest score"].map((title) => ({ title }));
  const rows = store.query(query).map(({ action, verdict, decisions, highest }) => {
    const score = typeof highest === "number" ? highest.toFixed(2) : "";
    return [String(action), String(verdict), String(decisions), score];
  });
  say(`\n${query}\n\n${formatTable(columns, rows)}\n`);
};

/** One character of one envelope in a copy of the files. */
const changeOneByte = async (relayed: string, copy: string): Promise<void> => {
  await cp(relayed, copy, { recursive: true });
  const path = join(copy, eventsName);
  const text = await readFile(path, "utf8");
  const line = text.lastIndexOf("\n", text.length >> 1) + 1;
  const marker = '"data_base64":"';
  const begin = text.indexOf(marker, line) + marker.length;
  const middle = (begin + text.indexOf('"', begin)) >> 1;
  const changed = text[middle] === "A" ? "B" : "A";
  await writeFile(path, `${text.slice(0, middle)}${changed}${text.slice(middle + 1)}`);
};

const refusalOf = async (filling: Promise<void>): Promise<string | undefined> => {
  try {
    await filling;
    return undefined;
  } catch (error) {
    if (!(error instanceof ProjectionFault)) throw error;
    return error.message;
  }
};

/** @returns how many records were projected. */
export const showFeed = async (stage: FeedStage): Promise<bigint> => {
  const { connection, directory, expect, genesis, relayed, say } = stage;
  const ledger = await reached(connection);
  const path = join(directory, "projection.sqlite");
  const filled = async (work: (store: EmbeddedProjection) => void = () => {}): Promise<string> => {
    using store = new EmbeddedProjection(path, genesis);
    expect((await store.resume()).progress.next === 0n, "the projection begins empty");
    await fill(store, stage, ledger);
    const digests = store.digests();
    expect(digests.frontier.size === ledger.size, "the projection has every record");
    expect(store.checkpoint === ledger.checkpoint, "the records come to the root that the server signed");
    work(store);
    return textOf(digests);
  };
  const first = await filled((store) => {
    say(
      `${ledger.size} records relayed to ${eventsName}, each verified from the genesis hash, now rows of SQLite.`,
    );
    say("Their Merkle root is the one that the server signed.");
    sayQuery(store, say);
  });
  await rm(path);
  const again = await filled();
  expect(again === first, "a projection that was dropped comes back identical");
  say(`Dropped, and filled again from the files: identical, digest ${first.slice(65, 77)}… both times.`);

  const copy = join(directory, "changed");
  await changeOneByte(relayed, copy);
  using store = new EmbeddedProjection(join(directory, "changed.sqlite"), genesis);
  const refusal = await refusalOf(fill(store, { relayed: copy, genesis }, ledger));
  expect(refusal !== undefined, "a changed byte is refused");
  say(`\nOne byte changed in a copy of the files:\n  ${refusal}`);
  return ledger.size;
};
