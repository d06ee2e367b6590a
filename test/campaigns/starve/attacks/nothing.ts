/** No attack: the warm-up and baseline. */
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
