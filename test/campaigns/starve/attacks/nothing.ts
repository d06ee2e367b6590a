/** No attack: what the campaign warms up with, and what its bounds are held against. */
import type { Attack } from "../attack.ts";
import { pause } from "../wire.ts";

const holdMs = 1000;

export const nothing: Attack = {
  name: "nothing",
  what: "no attack",
  wave: async () => {
    await pause(holdMs);
    return "nothing done";
  },
};
