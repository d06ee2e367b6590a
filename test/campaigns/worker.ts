/**
 * The process that gets killed: opens the deployment, checks the acknowledgements of its predecessors, then appends
 * under load until it is killed. Reports each event on one line, written before the next step begins: `open SIZE`,
 * `checked COUNT`, `ack POSITION HASH ID`, `fault KIND`, `wrong WHAT`.
 */
import { readFileSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { toHex, utf8Encode } from "../../src/core/bytes.ts";
import { SigilFault } from "../../src/errors.ts";
import type { RecordBody } from "../../src/core/record/record.ts";
import { openDeployment } from "../../src/deployment/open.ts";
import type { Ledger } from "../../src/ledger/ledger.ts";
import { firstPosition, keptAnswer } from "../contract/keyed.ts";
import { openOptions } from "./deployment.ts";
import { parseAcknowledged, type Acknowledged, type WorkerTask } from "./oracle.ts";

const say = (line: string): void => {
  writeSync(1, `${line}\n`);
};

const bodyOf = (id: string, tenant: string, payloadBytes: number): RecordBody => ({
  kind: "user_data",
  schemaVersion: 1,
  id,
  tenant,
  ts: Date.now(),
  space: "user",
  payload: { id, filler: new Uint8Array(payloadBytes) },
  links: [],
  prev: null,
});

const scopeOf = (id: string, tenant: string) => ({ tenant, caller: "campaign", rpc: "Append", key: id });

/** The tenant in an id: `TENANT/…`. */
const tenantOf = (id: string): string => id.slice(0, id.indexOf("/"));

/** One append with an idempotency key, as a caller would retry it. */
const append = async (ledger: Ledger, id: string, payloadBytes: number): Promise<Acknowledged> => {
  const tenant = tenantOf(id);
  return ledger.once(
    scopeOf(id, tenant),
    () => utf8Encode(id),
    async (appendOnce) => {
      const bodies = [bodyOf(id, tenant, payloadBytes)];
      const [appended] = await appendOnce(bodies, { outcome: firstPosition });
      if (appended === undefined) throw new Error("an append gave no position");
      return { position: appended.position, hash: toHex(appended.hash), id };
    },
    async (outcome) => {
      const { position, hash } = await ledger.reader.readAt(BigInt(outcome as number));
      return { position, hash: toHex(hash), id };
    },
  );
};

const checkOne = async (ledger: Ledger, { position, hash, id }: Acknowledged): Promise<void> => {
  const record = await ledger.reader.readAt(position);
  if (toHex(record.hash) !== hash) say(`wrong hash at position ${position}`);
  if (record.body.id !== id) say(`wrong id at position ${position}`);
  if ((await ledger.reader.readId(record.body.tenant, "user", id))?.position !== position)
    say(`wrong place of ${id}`);
  const kept = await keptAnswer(ledger, scopeOf(id, record.body.tenant), utf8Encode(id));
  if (kept === undefined) say(`wrong idempotency entry of ${id}`);
  else if (BigInt(kept as number) !== position) say(`wrong replay of ${id}`);
};

const check = async (ledger: Ledger, acknowledged: readonly Acknowledged[]): Promise<void> => {
  const together = 32;
  for (let from = 0; from < acknowledged.length; from += together) {
    await Promise.all(acknowledged.slice(from, from + together).map((each) => checkOne(ledger, each)));
  }
  say(`checked ${acknowledged.length}`);
};

/** Appends sequentially, retrying each until it is answered. */
const load = async (ledger: Ledger, appender: number, task: WorkerTask): Promise<never> => {
  for (let count = 0; ; count += 1) {
    // Sometimes uses a new tenant, so that data keys are created under load, and kills may interrupt that.
    const tenant = count % 16 === 3 ? `t${task.round}-${appender}-${count}` : "acme";
    const id = `${tenant}/r${task.round}-a${appender}-${count}`;
    for (let answered = false; !answered;) {
      try {
        const { position, hash } = await append(ledger, id, task.payloadBytes);
        say(`ack ${position} ${hash} ${id}`);
        answered = true;
      } catch (error) {
        if (!(error instanceof SigilFault)) throw error;
        say(`fault ${error.error.kind}`);
        await sleep(20);
      }
    }
  }
};

const task = JSON.parse(process.argv[2] ?? "") as WorkerTask;
const ledger = await openDeployment(openOptions(task.root));
say(`open ${ledger.reader.size}`);
await check(ledger, parseAcknowledged(readFileSync(task.acknowledgedPath, "utf8")));
if (task.appenders === 0) await ledger.close();
else {
  await Promise.all(Array.from({ length: task.appenders }, (_, appender) => load(ledger, appender, task)));
}
