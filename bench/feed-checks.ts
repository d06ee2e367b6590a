/** Checks of a server whose relay finds no destination, beside checks of one without a relay. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { startActor } from "./actor.ts";
import type { Drive, DriveInput, Driven } from "./drive-calls.ts";
import { describeRates, inTurns, type FeedScale } from "./feed-scale.ts";
import { makeScratch } from "./scratch.ts";
import type { ServeInput } from "./serve-sigil.ts";

const inFlight = 64;
/** Until the compiler has settled. */
const warmUpMs = 5000;
/** Nothing listens there. */
const nowhere = [{ name: "bus", to: "nats", servers: ["nats://127.0.0.1:1"], stream: "NOWHERE" }];

const startAsked = async (directory: string, relays: readonly object[]) => {
  await mkdir(directory);
  const scratch = await makeScratch(directory, "served");
  const served = startActor("serve-sigil.ts", {
    ...scratch,
    relays: JSON.stringify(relays),
  } satisfies ServeInput);
  const target = await served.ask<string>("target");
  const client = startActor("drive-calls.ts", { scratch, target } satisfies DriveInput);
  const drive = async (runMs: number): Promise<number> => {
    const driven = await client.ask<Driven>("drive", { rpc: "check", inFlight, runMs } satisfies Drive);
    return (driven.decisions * 1000) / driven.elapsedMs;
  };
  await drive(warmUpMs);
  return {
    drive,
    [Symbol.asyncDispose]: async () => {
      await client.stop();
      await served.stop();
    },
  };
};

export const measureOutage = async ({ directory, rounds, runMs }: FeedScale): Promise<readonly string[]> => {
  await using down = await startAsked(join(directory, "down"), nowhere);
  await using none = await startAsked(join(directory, "none"), []);
  const loads = ["destination down", "no relay"] as const;
  const rates = await inTurns(loads, rounds, (load) => (load === "no relay" ? none : down).drive(runMs));
  return describeRates(rates, "checks", loads);
};
