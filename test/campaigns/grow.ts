/**
 * `npm run campaign:grow -- --count 1000000`: grows a ledger and measures the cost of its listings. Real records,
 * signatures, seals and database; no network. Each filter has about twenty matches, independent of the count. Prints
 * one line of JSON per measurement and exits with 1 if a listing is incomplete. Medians over a few tries, first page of
 * fifty.
 */
import { sha256 } from "@sigil/core/hash";
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ChainQuery } from "../../src/audit/evidence.ts";
import { createAuditService } from "../../src/audit/service.ts";
import { openDeployment } from "../../src/deployment/open.ts";
import type { Caller } from "../../src/identity/caller.ts";
import type { Ledger } from "../../src/ledger/ledger.ts";
import { formatFrozenChain } from "../../src/core/record/kinds.ts";
import { rateRefillEntriesMax } from "../../src/limits.ts";
import type { RecordBody } from "../../src/core/record/record.ts";
import { createDeployment, openOptions } from "./deployment.ts";
import { readOptions } from "./options.ts";

const { values } = readOptions("campaign:grow [--count N] [--tries N]", "--count 1000000", {
  count: { type: "string", default: "20000" },
  tries: { type: "string", default: "5" },
});
const [count, tries] = [Number(values.count), Number(values.tries)];
const hits = 20;
const tenant = "acme";
const noInput = sha256(new Uint8Array(0));
/** As if it committed to an input. */
const committed = sha256(noInput);

const isRare = (index: number): boolean => index % Math.floor(count / hits) === 7;

const bodyOf = (index: number): RecordBody => {
  const rare = isRare(index);
  const who = rare ? "rare-agent" : `agent-${index % 50}`;
  return {
    kind: "frozen_chain",
    schemaVersion: 2,
    id: randomUUID(),
    tenant,
    ts: 1_700_000_000_000 + index * 50,
    space: "user",
    links: [],
    prev: null,
    payload: formatFrozenChain({
      request: {
        action: rare ? "rare.action" : index % 3 === 0 ? "write" : "read",
        target: rare ? `rare/vault/${index}` : `user/notes/${index % 5000}`,
        subject: who,
        caller: who,
        loa: "operator",
        session: rare ? "rare-session" : `session-${index % 1000}`,
        input: committed,
        metadata: {},
      },
      features: {},
      model: "trust_model/active",
      contributions: {},
      verdict: rare ? "review" : "deny",
      reason: rare ? "RARE_REASON" : "SCORE_BELOW_THRESHOLD",
      durationUs: 12,
    }),
  };
};

const say = (line: object): void => console.log(JSON.stringify(line));

const fill = async (ledger: Ledger): Promise<void> => {
  const [batch, together] = [250, 4];
  const began = performance.now();
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < count) {
      const from = next;
      next = Math.min(count, from + batch);
      await ledger.append(Array.from({ length: next - from }, (_, index) => bodyOf(from + index)));
    }
  };
  await Promise.all(Array.from({ length: together }, work));
  say({ filled: count, perSecond: Math.round((count * 1000) / (performance.now() - began)) });
};

const everything: ChainQuery = {
  principal: "",
  action: "",
  targetGlob: "",
  targetPrefix: "",
  reason: "",
  session: "",
  verdict: undefined,
  fromMs: undefined,
  untilMs: undefined,
  fromPosition: 0n,
  order: "newestFirst",
  pageSize: 0,
  pageToken: "",
  tenant,
};

const middleMs = 1_700_000_000_000 + Math.floor(count / 2) * 50;
const queries: Readonly<Record<string, readonly [query: Partial<ChainQuery>, hits: number]>> = {
  newest: [{}, 50],
  principal: [{ principal: "rare-agent" }, hits],
  verdict: [{ verdict: "review" }, hits],
  action: [{ action: "rare.action" }, hits],
  session: [{ session: "rare-session" }, hits],
  reason: [{ reason: "RARE_REASON" }, hits],
  targetPrefix: [{ targetPrefix: "rare/vault" }, hits],
  targetGlob: [{ targetGlob: "rare/**" }, hits],
  time: [{ fromMs: middleMs, untilMs: middleMs + hits * 50 }, hits],
  commonVerdictRareTarget: [{ verdict: "review", targetPrefix: "rare" }, hits],
  commonActionRarePrincipal: [{ principal: "rare-agent", reason: "RARE_REASON", verdict: "review" }, hits],
  nothing: [{ principal: "agent-1", verdict: "review" }, 0],
  twoCommonNothing: [{ action: "write", principal: "agent-1", session: "session-2" }, 0],
};

const caller = { principal: "root", tenant: "system", level: "root" } as unknown as Caller;

const measure = async (ledger: Ledger): Promise<boolean> => {
  const audit = createAuditService({
    ledger: ledger.reader,
    cosigned: undefined,
    compileGlob: (glob: string) => (target: string) => target.startsWith(glob.replace("**", "")),
    recompute: () => ({ holds: true, detail: "" }),
    rowsFor: () => ({ bias: 0, actionGlob: "", targetGlob: "" }),
  });
  const { signal } = new AbortController();
  let isWhole = true;
  for (const order of ["newestFirst", "oldestFirst"] as const) {
    for (const [name, [query, expected]] of Object.entries(queries)) {
      const times: number[] = [];
      let found = 0;
      for (let attempt = 0; attempt < tries; attempt += 1) {
        const began = performance.now();
        const page = await audit.list(caller, { ...everything, ...query, order }, signal);
        times.push(performance.now() - began);
        found = page.chains.length;
      }
      const medianMs = times.toSorted((a, b) => a - b)[tries >> 1] ?? 0;
      if (found !== expected) isWhole = false;
      say({ name, order, found, expected, medianMs: Number(medianMs.toFixed(1)) });
    }
  }
  return isWhole;
};

const root = await mkdtemp(join(tmpdir(), "sigil-grow-"));
try {
  await createDeployment(root);
  {
    await using ledger = await openDeployment(openOptions(root));
    await fill(ledger);
  }
  const began = performance.now();
  await using ledger = await openDeployment(openOptions(root));
  const openedMs = performance.now() - began;
  await ledger.reader.decisionAt(tenant, "nobody");
  say({ openedMs: Math.round(openedMs), firstQuestionMs: Math.round(performance.now() - began - openedMs) });
  const refilling = performance.now();
  let recent = 0;
  const all = { sinceMs: 0, entriesMax: rateRefillEntriesMax };
  const { cut } = await ledger.reader.recentDecisions(all, () => void (recent += 1));
  say({ refilled: recent, refilledMs: Math.round(performance.now() - refilling), cut });
  if (cut.length === 0 && recent !== count) process.exitCode = 1;
  if (!(await measure(ledger))) process.exitCode = 1;
} finally {
  await rm(root, { recursive: true });
}
