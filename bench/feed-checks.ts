/**
 * Checks of a server while its relay finds no destination, beside checks of the same server while that relay is paused:
 * short slices that take turns within one process, so that neither memory nor the disk's mood tells them apart.
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
const slicesPerRound = 8;
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
  const drive = (sliceMs: number): Promise<Driven> =>
    client.ask<Driven>("drive", { rpc: "check", inFlight, runMs: sliceMs } satisfies Drive);
  await drive(warmUpMs);
  const socketPath = join(scratch.directory, relaySocket);
  const loads = ["destination down", "relay paused"] as const;
  const slices = rounds * slicesPerRound;
  // A round of `inTurns` is a pair of slices that begins with the other load than the one before.
  const rates = await inTurns(loads, slices, async (load) => {
    await steer(socketPath, load === "relay paused" ? "pause" : "resume");
    const { decisions, elapsedMs } = await drive(runMs / slicesPerRound);
    return (decisions * 1000) / elapsedMs;
  });
  await client.stop();
  await served.stop();
  return describeRates(rates, "checks", loads);
};
