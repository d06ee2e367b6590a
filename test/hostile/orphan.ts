/**
 * A server that is about to be killed: one sandbox process idle, one in an endless loop. Prints their process ids once
 * both are so. Started by orphans.test.ts.
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { assembleFile } from "./assemble.ts";
import { openSandbox, requestOf } from "./runs.ts";

const sandbox = await openSandbox({ processes: 2, launch: { cpuSecondsMax: 2 } });
while (sandbox.gauge.warm < 2) await sleep(20);
void sandbox.run(requestOf(await assembleFile("endless-loop"), { limits: { wallMs: 60_000 } }));
await sleep(200);
console.log(readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, "utf8").trim());
await sleep(60_000);
