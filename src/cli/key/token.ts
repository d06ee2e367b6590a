/** `sigil token`: an EdDSA token for tools without a Sigil client, such as grpcurl. Source: docs/spec/tokens.md. */
import { exitCodes, wholeNumber, type Command } from "../terminal/command.ts";
import { connectionFlags, signToken } from "../call/connection.ts";

const lifetimeSecondsMax = 600;

export const token: Command = {
  name: "token",
  about: "Sign a token with your key and print it. It is valid for at most ten minutes, for one deployment.",
  flags: {
    ...connectionFlags,
    lifetime: { value: "SECONDS", about: `Its lifetime, 1 to ${lifetimeSecondsMax}.` },
  },
  examples: [
    "sigil token --key .sigil/keys/operator.pem --principal operator",
    "sigil token --key alice.pem --principal alice --origin sigil.example --lifetime 60",
    'grpcurl -H "authorization: Bearer $(sigil token --key alice.pem --principal alice)" …',
  ],
  run: async (given, terminal) => {
    const lifetime = wholeNumber(given.text("lifetime") ?? String(lifetimeSecondsMax), "lifetime", [
      1,
      lifetimeSecondsMax,
    ]);
    terminal.print(await signToken(given, terminal, lifetime));
    return exitCodes.ok;
  },
};
