/**
 * Checks of a server while its relay finds no destination, beside checks of the same server while that relay is paused:
 * legs that take turns within one process, so that neither memory nor the disk's mood tells them apart. What steering
 * costs (a synced cursor, a try at once) is over before a leg is measured.
 */
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { relaySocket } from "../src/relay/control.ts";
import { startActor } from "./actor.ts";
import type { Drive, DriveInput, Driven } from "./drive-calls.ts";
import { describeRates, inTurns, type FeedScale } from "./feed-scale.ts";
import { makeScratch } from "./scratch.ts";
import type { ServeInput } from "./serve-sigil.ts";

const inFlight = 64;
/** Until the compiler has settled. */
const warmUpMs = 5000;
/** After steering, and before a leg. */
const settleMs = 500;
/** Nothing listens there. */
const nowhere = [{ name: "bus", to: "nats", servers: ["nats://127.0.0.1:1"], stream: "NOWHERE" }];

const steer = async (socketPath: string, verb: "pause" | "resume"): Promise<void> => {
  const [response] = await once(
    request({ socketPath, method: "POST", path: `/relays/bus/${verb}` }).end(),
    "response",
  );
  response.resume();
  await once(response, "end");
};

export const measureOutage = async ({ directory, rounds, runMs }: FeedScale): Promise<readonly string[]> => {
  const parent = join(directory, "checks");
  await mkdir(parent);
  const scratch = await makeScratch(parent, "served");
  const relays = JSON.stringify(nowhere);
  const served = startActor("serve-sigil.ts", { ...scratch, relays } satisfies ServeInput);
  const target = await served.ask<string>("target");
  const client = startActor("drive-calls.ts", { scratch, target } satisfies DriveInput);
  const drive = (legMs: number): Promise<Driven> =>
    client.ask<Driven>("drive", { rpc: "check", inFlight, runMs: legMs } satisfies Drive);
  await drive(warmUpMs);
  const socketPath = join(scratch.directory, relaySocket);
  const loads = ["destination down", "relay paused"] as const;
  const rates = await inTurns(loads, rounds, async (load) => {
    await steer(socketPath, load === "relay paused" ? "pause" : "resume");
    await drive(settleMs);
    const { decisions, elapsedMs } = await drive(runMs);
    return (decisions * 1000) / elapsedMs;
  });
  await client.stop();
  await served.stop();
  return describeRates(rates, "checks", loads);
};
