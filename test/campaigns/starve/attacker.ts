/**
 * The attacker's process, separate so that its own load is not attributed to the server. Controlled by the campaign.
 */
import { connect, createTokenSigner } from "@sigil/client";
import type { EnrolledLevel } from "../../e2e/deployment.ts";
import { attacks } from "./attacks.ts";
import type { World } from "./attack.ts";

export type Order = {
  readonly step: "prepare" | "wave";
  readonly attack: string;
  readonly seed: number;
  readonly target: string;
  readonly operatorUrl: string;
  readonly origin: string;
  /** PEM, by level. */
  readonly privateKeys: Readonly<Record<EnrolledLevel, string>>;
};

export type Report = { readonly kind: "done" | "failed"; readonly text: string };

/** mulberry32, reproducible by seed. */
const randomOf = (seed: number) => (): number => {
  seed = (seed + 0x6d2b79f5) | 0;
  let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
};

const carryOut = async (order: Order): Promise<string> => {
  const { target, operatorUrl, origin, privateKeys } = order;
  const attack = attacks.find(({ name }) => name === order.attack);
  if (attack === undefined) throw new Error(`no attack "${order.attack}"`);
  const signerOf = (level: EnrolledLevel) =>
    createTokenSigner({ principal: level, origin, privateKey: privateKeys[level] });
  const connections: ReturnType<typeof connect>[] = [];
  const world: World = {
    target,
    operatorUrl,
    token: (level) => signerOf(level).token(),
    as: (level) => {
      const signer = level === "guest" ? {} : { signer: signerOf(level) };
      const connection = connect({ target, tls: "insecure", deadlineMs: 60_000, retry: "none", ...signer });
      connections.push(connection);
      return connection;
    },
    random: randomOf(order.seed),
  };
  try {
    if (order.step === "wave") return await attack.wave(world);
    await attack.prepare?.(world);
    return "";
  } finally {
    for (const connection of connections) connection.close();
  }
};

process.on("message", (order: Order) => {
  carryOut(order).then(
    (text) => process.send?.({ kind: "done", text } satisfies Report),
    (error: unknown) => process.send?.({ kind: "failed", text: String(error) } satisfies Report),
  );
});
